-- The hottest reading of each sensor in each minute, as soon as the minute is over: reads data/readings, also the files that
-- come later, and writes data/per_minute.
--   sqlstream submit queries/per_minute.sql

INSERT INTO per_minute
SELECT window_start, sensor, COUNT(*), MAX(temperature)
FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(measured_at), INTERVAL '1' MINUTE))
GROUP BY window_start, window_end, sensor;
