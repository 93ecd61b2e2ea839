WITH bid AS (
  SELECT bid.auction, bid.bidder, bid.price, bid.dateTime, bid.extra
  FROM read_json(getvariable('files'), format = 'newline_delimited', columns = {
    event_type: 'INTEGER',
    bid: 'STRUCT(auction BIGINT, bidder BIGINT, price BIGINT, dateTime TIMESTAMP, extra VARCHAR)'
  })
  WHERE event_type = 2
)
SELECT auction, bidder, 0.908 * CAST(price AS DECIMAL(20, 0)) AS price_eur,
       CASE WHEN hour(dateTime) BETWEEN 8 AND 18 THEN 'dayTime'
            WHEN hour(dateTime) <= 6 OR hour(dateTime) >= 20 THEN 'nightTime'
            ELSE 'otherTime' END AS bid_time_type,
       length(extra) - length(replace(extra, 'c', '')) AS c_count
FROM bid
WHERE 0.908 * CAST(price AS DECIMAL(20, 0)) > 1000000 AND 0.908 * CAST(price AS DECIMAL(20, 0)) < 50000000;
