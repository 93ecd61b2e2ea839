WITH bid AS (
  SELECT bid.auction, bid.bidder, bid.price, bid.dateTime
  FROM read_json(getvariable('files'), format = 'newline_delimited', columns = {
    event_type: 'INTEGER',
    bid: 'STRUCT(auction BIGINT, bidder BIGINT, price BIGINT, dateTime TIMESTAMP)'
  })
  WHERE event_type = 2
)
SELECT auction, bidder, price, dateTime FROM bid;
