-- The average temperature of each sensor by minute, from a file of JSON lines. The watermark says how late a reading
-- may come: a minute is complete, and its row shown, once a reading 10 seconds past its end was seen.
--   sqlstream run queries/getting-started/windows.sql

CREATE TABLE readings (
  sensor      STRING,
  temperature DOUBLE,
  measured_at TIMESTAMP(3),
  WATERMARK FOR measured_at AS measured_at - INTERVAL '10' SECOND
) WITH (
  'connector' = 'filesystem',
  'path' = 'queries/getting-started/data/readings.json',
  'format' = 'json'
);

SELECT window_start, sensor, COUNT(*) AS readings, AVG(temperature) AS average, MAX(temperature) AS hottest
FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(measured_at), INTERVAL '1' MINUTE))
GROUP BY window_start, window_end, sensor;
