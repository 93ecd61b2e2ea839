CREATE TABLE `ticks` (
  `n` BIGINT
) WITH (
  'connector' = 'datagen',
  'rows-per-second' = '20',
  'fields.n.kind' = 'sequence',
  'fields.n.start' = '0',
  'fields.n.end' = '1000000000'
);

CREATE TABLE `readings` (
  `sensor` STRING,
  `temperature` DECIMAL(4, 1),
  `measured_at` TIMESTAMP(3),
  WATERMARK FOR `measured_at` AS `measured_at` - INTERVAL '5' SECOND
) WITH (
  'connector' = 'filesystem',
  'path' = 'data/readings',
  'format' = 'json',
  'source.monitor-interval' = '1 s'
);

CREATE TABLE `per_minute` (
  `window_start` TIMESTAMP(3),
  `sensor` STRING,
  `readings` BIGINT,
  `hottest` DECIMAL(4, 1)
) WITH (
  'connector' = 'filesystem',
  'path' = 'data/per_minute',
  'format' = 'json'
);

