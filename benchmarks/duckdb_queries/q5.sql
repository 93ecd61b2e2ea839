WITH bid AS (
  SELECT bid.auction, bid.dateTime
  FROM read_json(getvariable('files'), format = 'newline_delimited', columns = {
    event_type: 'INTEGER',
    bid: 'STRUCT(auction BIGINT, dateTime TIMESTAMP)'
  })
  WHERE event_type = 2
), slices AS (
  SELECT auction, time_bucket(INTERVAL 2 SECONDS, dateTime) AS slice, count(*) AS num FROM bid GROUP BY ALL
), counts AS (
  SELECT auction, slice + k * INTERVAL 2 SECONDS AS window_end, sum(num)::BIGINT AS num
  FROM slices, range(1, 6) AS steps(k)
  GROUP BY ALL
), tops AS (
  SELECT window_end, max(num) AS top FROM counts GROUP BY window_end
)
SELECT c.auction, c.num, c.window_end
FROM counts c JOIN tops t ON c.window_end = t.window_end AND c.num >= t.top;
