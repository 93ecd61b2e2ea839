-- The tables of all plan files. Nothing is read: their paths do not exist.
CREATE TABLE bid (
  auction BIGINT, bidder BIGINT, price BIGINT, channel STRING, at TIMESTAMP(3),
  origin ROW<country STRING, device ROW<os STRING, version INT>>, tags ARRAY<STRING>,
  seen AS PROCTIME(), WATERMARK FOR at AS at - INTERVAL '4' SECOND
) WITH ('connector' = 'filesystem', 'path' = 'bid', 'format' = 'json');

CREATE TABLE auction (
  id BIGINT, seller BIGINT, category INT, title STRING, opens TIMESTAMP(3),
  WATERMARK FOR opens AS opens - INTERVAL '4' SECOND
) WITH ('connector' = 'filesystem', 'path' = 'auction', 'format' = 'json');

-- records of several kinds in one file
CREATE TABLE event (
  kind INT, person ROW<id BIGINT, name STRING>, sale ROW<id BIGINT, price BIGINT>
) WITH ('connector' = 'filesystem', 'path' = 'event', 'format' = 'json');
CREATE VIEW person AS SELECT person.id AS id, person.name AS name,
  CASE WHEN kind = 0 THEN person.name WHEN kind = 1 THEN CAST(sale.id AS STRING) END AS label
  FROM event WHERE kind = 0;
CREATE VIEW sale AS SELECT sale.id AS id, sale.price AS price FROM event WHERE kind = 1;

CREATE TABLE category (id INT, name STRING, parent INT)
  WITH ('connector' = 'filesystem', 'path' = 'category.csv', 'format' = 'csv');

-- rows that change
CREATE TABLE account (id BIGINT, owner STRING, balance DECIMAL(10, 2))
  WITH ('connector' = 'filesystem', 'path' = 'account', 'format' = 'debezium-json');

-- rows that change, told by a key
CREATE TABLE customer (
  name STRING, id BIGINT, home ROW<country STRING, city STRING>, credit BIGINT, PRIMARY KEY (id) NOT ENFORCED
) WITH ('connector' = 'filesystem', 'path' = 'customer', 'format' = 'debezium-json');

-- sinks: inserts only; changes; changes without the row before an update
CREATE TABLE appended (k BIGINT, n BIGINT) WITH ('connector' = 'filesystem', 'path' = 'appended', 'format' = 'json');
CREATE TABLE changed (k BIGINT, n BIGINT) WITH ('connector' = 'filesystem', 'path' = 'changed', 'format' = 'debezium-json');
CREATE TABLE counted (k BIGINT, n BIGINT) WITH ('connector' = 'blackhole');
-- a sink that knows rows by a key
CREATE TABLE keyed (k BIGINT, n BIGINT, PRIMARY KEY (k) NOT ENFORCED) WITH ('connector' = 'blackhole');

CREATE FUNCTION running AS 'harness.process_functions.Running' LANGUAGE PYTHON;

CREATE FUNCTION sessions AS 'harness.process_functions.Sessions' LANGUAGE PYTHON;

CREATE FUNCTION greeting AS 'harness.process_functions.Greeting' LANGUAGE PYTHON;

CREATE FUNCTION passing AS 'harness.process_functions.Passing' LANGUAGE PYTHON;

CREATE FUNCTION split AS 'harness.table_functions.split' LANGUAGE PYTHON;
