-- NATS JetStream: readings of sensors, and those that are too hot in a stream of their own.
-- Needs streams `readings` (subjects readings.*) and `hot` (hot.*) on the server NATS_URL (nats://localhost:4222).
-- Shows: the subject as METADATA, read and written.

CREATE TABLE readings (
  subject STRING METADATA, sensor INT, celsius DOUBLE
) WITH ('connector' = 'nats', 'url' = '${env:NATS_URL}', 'stream' = 'readings', 'subject' = 'readings.*',
        'scan.bounded.mode' = 'latest', 'format' = 'json');

CREATE TABLE hot (
  subject STRING METADATA, sensor INT, celsius DOUBLE
) WITH ('connector' = 'nats', 'url' = '${env:NATS_URL}', 'subject' = 'hot.*', 'scan.bounded.mode' = 'latest',
        'sink.delivery-guarantee' = 'exactly-once', 'format' = 'json');

INSERT INTO readings VALUES ('readings.cellar', 1, 12.5), ('readings.kitchen', 2, 71.0), ('readings.attic', 3, 33.0);

INSERT INTO hot
SELECT 'hot.' || SPLIT_INDEX(subject, '.', 1), sensor, celsius FROM readings WHERE celsius > 60;

SELECT * FROM hot ORDER BY sensor;

-- prints
-- +-------------+--------+---------+
-- | subject     | sensor | celsius |
-- +-------------+--------+---------+
-- | hot.kitchen |      2 |    71.0 |
-- +-------------+--------+---------+
