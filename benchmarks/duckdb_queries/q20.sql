WITH events AS MATERIALIZED (
  SELECT event_type, bid, auction
  FROM read_json(getvariable('files'), format = 'newline_delimited', columns = {
    event_type: 'INTEGER',
    bid: 'STRUCT(auction BIGINT, bidder BIGINT, price BIGINT, channel VARCHAR)',
    auction: 'STRUCT(id BIGINT, seller BIGINT, category BIGINT, expires TIMESTAMP)'
  })
), bid AS (
  SELECT bid.auction, bid.bidder, bid.price, bid.channel FROM events WHERE event_type = 2
), auction AS (
  SELECT auction.id, auction.seller, auction.category, auction.expires FROM events WHERE event_type = 1
)
SELECT b.auction, b.bidder, b.price, b.channel, a.seller, a.category, a.expires
FROM bid b JOIN auction a ON b.auction = a.id
WHERE a.category = 10;
