WITH counts AS (
  SELECT bid.bidder, bid.auction, count(*) AS n
  FROM read_json(getvariable('files'), format = 'newline_delimited', columns = {
    event_type: 'INTEGER',
    bid: 'STRUCT(auction BIGINT, bidder BIGINT)'
  })
  WHERE event_type = 2 AND bid.auction % 10 = 0
  GROUP BY ALL
)
SELECT bidder, auction, n, sum(n) OVER (PARTITION BY bidder ORDER BY n, auction)::BIGINT AS up_to FROM counts;
