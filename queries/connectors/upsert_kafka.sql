-- upsert-kafka: the latest place of each parcel, in a topic in which the last message of a key is its row.
-- Needs topic `places` (compacted) on the brokers KAFKA_SERVERS (localhost:9092).
-- Shows: rows that change, a NULL value (a tombstone) where a row goes.

CREATE TABLE scans (
  parcel INT, place STRING, at TIMESTAMP(3), WATERMARK FOR at AS at
) WITH ('connector' = 'filesystem', 'path' = 'queries/connectors/data/scans.csv', 'format' = 'csv');

CREATE TABLE places (
  parcel INT, place STRING, PRIMARY KEY (parcel) NOT ENFORCED
) WITH (
  'connector' = 'upsert-kafka', 'topic' = 'places', 'properties.bootstrap.servers' = '${env:KAFKA_SERVERS}',
  'scan.bounded.mode' = 'latest-offset', 'key.format' = 'json', 'value.format' = 'json'
);

INSERT INTO places
SELECT parcel, place FROM (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY parcel ORDER BY at DESC) AS n FROM scans
) WHERE n = 1 AND place <> 'delivered';

SELECT * FROM places ORDER BY parcel;

-- prints
-- +--------+-------+
-- | parcel | place |
-- +--------+-------+
-- |      1 | Ghent |
-- |      3 | Lyon  |
-- +--------+-------+
