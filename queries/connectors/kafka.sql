-- Kafka: clicks of a topic, counted a minute, into another topic.
-- Needs topics `clicks` and `clicks_a_minute` on the brokers KAFKA_SERVERS (localhost:9092).
-- Shows: a key and the message's own time as METADATA, bounded reading (without it the job follows the topic).

CREATE TABLE clicks (
  who STRING, page STRING, ts TIMESTAMP(3), `partition` INT METADATA VIRTUAL,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH (
  'connector' = 'kafka', 'topic' = 'clicks', 'properties.bootstrap.servers' = '${env:KAFKA_SERVERS}',
  'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset',
  'key.format' = 'raw', 'key.fields' = 'who', 'value.format' = 'json'
);

CREATE TABLE clicks_a_minute (
  page STRING, minute_end TIMESTAMP(3), clicks BIGINT
) WITH (
  'connector' = 'kafka', 'topic' = 'clicks_a_minute', 'properties.bootstrap.servers' = '${env:KAFKA_SERVERS}',
  'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset', 'format' = 'json'
);

INSERT INTO clicks VALUES
  ('ann', '/home', TIMESTAMP '2026-01-01 10:00:01'), ('bob', '/home', TIMESTAMP '2026-01-01 10:00:02'),
  ('ann', '/tea', TIMESTAMP '2026-01-01 10:00:40'), ('ann', '/home', TIMESTAMP '2026-01-01 10:01:05');

INSERT INTO clicks_a_minute
SELECT page, window_end, COUNT(*)
FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '1' MINUTE))
GROUP BY page, window_start, window_end;

SELECT * FROM clicks_a_minute ORDER BY minute_end, page;

-- prints
-- +-------+-------------------------+--------+
-- | page  | minute_end              | clicks |
-- +-------+-------------------------+--------+
-- | /home | 2026-01-01 10:01:00.000 |      2 |
-- | /tea  | 2026-01-01 10:01:00.000 |      1 |
-- | /home | 2026-01-01 10:02:00.000 |      1 |
-- +-------+-------------------------+--------+
