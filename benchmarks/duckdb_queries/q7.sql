WITH bid AS (
  SELECT bid.auction, bid.bidder, bid.price, bid.dateTime
  FROM read_json(getvariable('files'), format = 'newline_delimited', columns = {
    event_type: 'INTEGER',
    bid: 'STRUCT(auction BIGINT, bidder BIGINT, price BIGINT, dateTime TIMESTAMP)'
  })
  WHERE event_type = 2
), tops AS (
  SELECT time_bucket(INTERVAL 10 SECONDS, dateTime) + INTERVAL 10 SECONDS AS window_end, max(price) AS top_price
  FROM bid GROUP BY ALL
)
SELECT b.auction, b.price, b.bidder, b.dateTime
FROM bid b JOIN tops t ON b.price = t.top_price
WHERE b.dateTime BETWEEN t.window_end - INTERVAL 10 SECONDS AND t.window_end;
