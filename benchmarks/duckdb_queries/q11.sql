WITH bid AS (
  SELECT bid.bidder, bid.dateTime
  FROM read_json(getvariable('files'), format = 'newline_delimited', columns = {
    event_type: 'INTEGER',
    bid: 'STRUCT(bidder BIGINT, dateTime TIMESTAMP)'
  })
  WHERE event_type = 2
), marked AS (
  SELECT bidder, dateTime,
         dateTime - lag(dateTime) OVER (PARTITION BY bidder ORDER BY dateTime) > INTERVAL 10 SECONDS AS begins
  FROM bid
), numbered AS (
  SELECT bidder, dateTime,
         count(*) FILTER (WHERE begins) OVER (
           PARTITION BY bidder ORDER BY dateTime ROWS UNBOUNDED PRECEDING
         ) AS session
  FROM marked
)
SELECT bidder, count(*) AS bid_count, min(dateTime) AS starttime, max(dateTime) + INTERVAL 10 SECONDS AS endtime
FROM numbered
GROUP BY bidder, session;
