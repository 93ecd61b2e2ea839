WITH bid AS (
  SELECT bid.auction, bid.bidder, bid.price, time_bucket(INTERVAL 10 SECONDS, bid.dateTime) AS window_start
  FROM read_json(getvariable('files'), format = 'newline_delimited', columns = {
    event_type: 'INTEGER',
    bid: 'STRUCT(auction BIGINT, bidder BIGINT, price BIGINT, dateTime TIMESTAMP)'
  })
  WHERE event_type = 2
)
SELECT window_start, auction, bidder, price,
       row_number() OVER (PARTITION BY window_start ORDER BY price DESC, auction, bidder) AS rn
FROM bid
QUALIFY rn <= 10;
