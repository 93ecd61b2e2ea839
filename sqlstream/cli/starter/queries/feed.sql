-- Stands for the sensors: writes readings into data/readings, a new file every two seconds, until it is stopped.
--   sqlstream submit queries/feed.sql

INSERT INTO readings
SELECT
  CASE MOD(n, 3) WHEN 0 THEN 'attic' WHEN 1 THEN 'cellar' ELSE 'kitchen' END,
  CAST(18 + MOD(n, 3) * 2 + MOD(n * 7, 50) / 10.0 AS DECIMAL(4, 1)),
  TIMESTAMPADD(SECOND, CAST(5 * n AS INT), TIMESTAMP '2026-01-01 08:00:00')
FROM ticks;
