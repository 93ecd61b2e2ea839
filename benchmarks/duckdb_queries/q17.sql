WITH bid AS (
  SELECT bid.auction, bid.price, bid.dateTime
  FROM read_json(getvariable('files'), format = 'newline_delimited', columns = {
    event_type: 'INTEGER',
    bid: 'STRUCT(auction BIGINT, price BIGINT, dateTime TIMESTAMP)'
  })
  WHERE event_type = 2
)
SELECT auction, strftime(dateTime, '%Y-%m-%d') AS dt,
       count(*) AS total_bids,
       count(*) FILTER (WHERE price < 10000) AS rank1_bids,
       min(price) AS min_price,
       max(price) AS max_price,
       CAST(sum(price) // count(*) AS BIGINT) AS avg_price,
       CAST(sum(price) AS BIGINT) AS sum_price
FROM bid
GROUP BY ALL;
