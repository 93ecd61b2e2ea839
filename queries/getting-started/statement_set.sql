-- Two results from one reading of a table: the statements of a set are one job and always stand at the same row.
--   sqlstream run queries/getting-started/statement_set.sql

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

CREATE TABLE large_sales (
  id     BIGINT,
  amount DECIMAL(10, 2)
) WITH ('connector' = 'print', 'print-identifier' = 'large');

CREATE TABLE totals (
  category STRING,
  total    DECIMAL(38, 2)
) WITH ('connector' = 'print', 'print-identifier' = 'total');

EXECUTE STATEMENT SET BEGIN
  INSERT INTO large_sales SELECT id, amount FROM sales WHERE amount >= 50;
  INSERT INTO totals SELECT category, SUM(amount) FROM sales GROUP BY category;
END;
