-- MySQL or MariaDB: orders with their customers' names, and a table of totals that is always right.
-- Needs MYSQL_URL (mysql://ann:secret@localhost:3306/shop), and in that database
--   CREATE TABLE customers (id BIGINT PRIMARY KEY, name VARCHAR(100));
--   CREATE TABLE totals (customer VARCHAR(100) PRIMARY KEY, orders BIGINT, amount DECIMAL(38, 2));
-- Shows: a table as a sink with upserts, in transactions of checkpoints, and a lookup join.

CREATE TABLE customers (
  id BIGINT, name STRING, PRIMARY KEY (id) NOT ENFORCED
) WITH ('connector' = 'jdbc', 'url' = '${env:MYSQL_URL}', 'table-name' = 'customers', 'lookup.cache' = 'PARTIAL',
        'lookup.partial-cache.max-rows' = '10000', 'lookup.partial-cache.expire-after-write' = '10 min');

CREATE TABLE totals (
  customer STRING, orders BIGINT, amount DECIMAL(38, 2), PRIMARY KEY (customer) NOT ENFORCED
) WITH ('connector' = 'jdbc', 'url' = '${env:MYSQL_URL}', 'table-name' = 'totals',
        'sink.delivery-guarantee' = 'exactly-once');

CREATE TABLE orders (
  id BIGINT, customer BIGINT, amount DECIMAL(10, 2), at AS PROCTIME()
) WITH ('connector' = 'filesystem', 'path' = 'queries/connectors/data/orders.csv', 'format' = 'csv');

INSERT INTO customers VALUES (1, 'ann'), (2, 'bob');

INSERT INTO totals
SELECT c.name, COUNT(*), SUM(o.amount)
FROM orders AS o JOIN customers FOR SYSTEM_TIME AS OF o.at AS c ON o.customer = c.id
GROUP BY c.name;

SELECT * FROM totals ORDER BY customer;

-- prints
-- +----------+--------+--------+
-- | customer | orders | amount |
-- +----------+--------+--------+
-- | ann      |      2 |   5.25 |
-- | bob      |      1 |   2.50 |
-- +----------+--------+--------+
