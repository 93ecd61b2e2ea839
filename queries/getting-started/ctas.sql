-- CREATE TABLE … AS SELECT makes the table from the query's columns and fills it. With 'connector' = 'filesystem',
-- a 'path' and a 'format' in place of 'print', the rows would go to files.
--   sqlstream run queries/getting-started/ctas.sql

CREATE TABLE sales (
  id       BIGINT,
  category STRING,
  product  STRING,
  amount   DECIMAL(10, 2)
) WITH (
  'connector' = 'filesystem',
  'path' = 'queries/getting-started/data/sales.csv',
  'format' = 'csv'
);

CREATE TABLE large_sales WITH ('connector' = 'print') AS
SELECT id, UPPER(product) AS product, amount, CAST(amount * 0.19 AS DECIMAL(10, 2)) AS tax
FROM sales
WHERE amount >= 50;
