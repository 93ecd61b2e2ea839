-- The first one: ten made-up orders go from a source that invents rows to a sink that prints them.
--   sqlstream run queries/getting-started/hello.sql

CREATE TABLE orders (
  id       BIGINT,
  customer INT,
  amount   INT
) WITH (
  'connector' = 'datagen',
  'number-of-rows' = '10',
  'fields.id.kind' = 'sequence',
  'fields.id.start' = '1',
  'fields.id.end' = '10',
  'fields.customer.min' = '1',
  'fields.customer.max' = '3',
  'fields.amount.min' = '5',
  'fields.amount.max' = '100'
);

CREATE TABLE printed (
  id       BIGINT,
  customer INT,
  amount   INT
) WITH ('connector' = 'print');

INSERT INTO printed
SELECT id, customer, amount FROM orders;
