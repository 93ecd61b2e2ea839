WITH bid AS (
  SELECT bid.auction, bid.bidder, bid.price, bid.channel
  FROM read_json(getvariable('files'), format = 'newline_delimited', columns = {
    event_type: 'INTEGER',
    bid: 'STRUCT(auction BIGINT, bidder BIGINT, price BIGINT, channel VARCHAR)'
  })
  WHERE event_type = 2
), auction AS (
  SELECT auction.id, auction.seller, auction.category, auction.expires
  FROM read_json(getvariable('files'), format = 'newline_delimited', columns = {
    event_type: 'INTEGER',
    auction: 'STRUCT(id BIGINT, seller BIGINT, category BIGINT, expires TIMESTAMP)'
  })
  WHERE event_type = 1
)
SELECT b.auction, b.bidder, b.price, b.channel, a.seller, a.category, a.expires
FROM bid b JOIN auction a ON b.auction = a.id
WHERE a.category = 10;
