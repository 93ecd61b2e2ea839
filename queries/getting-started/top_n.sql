-- The two products of each category that sold best. Over an endless input the ranking is kept up to date.
--   sqlstream run queries/getting-started/top_n.sql

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

SELECT category, place, product, total
FROM (
  SELECT category, product, total, ROW_NUMBER() OVER (PARTITION BY category ORDER BY total DESC, product) AS place
  FROM (SELECT category, product, SUM(amount) AS total FROM sales GROUP BY category, product)
)
WHERE place <= 2;
