-- The last minutes that are there: data/per_minute as it is now.
--   sqlstream run queries/look.sql

SELECT window_start, sensor, readings, hottest
FROM per_minute
ORDER BY window_start DESC, sensor
LIMIT 6;
