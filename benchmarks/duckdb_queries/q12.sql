WITH bid AS (
  SELECT bid.bidder
  FROM read_json(getvariable('files'), format = 'newline_delimited', columns = {
    event_type: 'INTEGER',
    bid: 'STRUCT(bidder BIGINT)'
  })
  WHERE event_type = 2
), clock AS (
  SELECT time_bucket(INTERVAL 10 SECONDS, CAST(now() AS TIMESTAMP)) AS starttime
)
-- Batch has one clock, so there is one window.
SELECT bidder, count(*) AS bid_count, starttime, starttime + INTERVAL 10 SECONDS AS endtime
FROM bid, clock
GROUP BY bidder, starttime;
