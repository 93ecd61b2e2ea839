WITH bid AS (
  SELECT bid.auction, bid.bidder, bid.price, bid.dateTime
  FROM read_json(getvariable('files'), format = 'newline_delimited', columns = {
    event_type: 'INTEGER',
    bid: 'STRUCT(auction BIGINT, bidder BIGINT, price BIGINT, dateTime TIMESTAMP)'
  })
  WHERE event_type = 2
)
SELECT auction, bidder, price, row_number() OVER (PARTITION BY auction ORDER BY price DESC, bidder, dateTime) AS rn
FROM bid
QUALIFY rn <= 10;
