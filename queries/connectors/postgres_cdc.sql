-- Changes of a PostgreSQL table, into another table of it: totals that follow each INSERT, UPDATE and DELETE.
-- Needs POSTGRES_URL and the parts of it POSTGRES_HOST, POSTGRES_PORT, POSTGRES_USER, POSTGRES_DATABASE, of a server with
-- wal_level = logical, and in that database
--   CREATE TABLE orders (id BIGINT PRIMARY KEY, customer TEXT, amount NUMERIC(10, 2));
--   INSERT INTO orders VALUES (1, 'ann', 5.00), (2, 'bob', 2.50), (3, 'ann', 0.25);
--   CREATE TABLE totals (customer TEXT PRIMARY KEY, orders BIGINT, amount NUMERIC(38, 2));
-- The job does not end: look at the table totals while orders change, and end it by Ctrl-C.

SET 'pipeline.name' = 'totals';
SET 'execution.checkpointing.interval' = '1 s';

CREATE TABLE orders (
  id BIGINT, customer STRING, amount DECIMAL(10, 2), PRIMARY KEY (id) NOT ENFORCED
) WITH (
  'connector' = 'postgres-cdc', 'hostname' = '${env:POSTGRES_HOST}', 'port' = '${env:POSTGRES_PORT}',
  'username' = '${env:POSTGRES_USER}', 'password' = '${env:POSTGRES_PASSWORD}', 'database-name' = '${env:POSTGRES_DATABASE}',
  'schema-name' = 'public', 'table-name' = 'orders', 'slot.name' = 'totals_of_orders'
);

CREATE TABLE totals (
  customer STRING, orders BIGINT, amount DECIMAL(38, 2), PRIMARY KEY (customer) NOT ENFORCED
) WITH ('connector' = 'jdbc', 'url' = '${env:POSTGRES_URL}', 'table-name' = 'totals',
        'sink.delivery-guarantee' = 'exactly-once');

INSERT INTO totals SELECT customer, COUNT(*), SUM(amount) FROM orders GROUP BY customer;
