-- Iceberg: orders appended to a table of a catalog, one snapshot a checkpoint, and read again.
-- Needs LAKE, a directory that is there: for a catalog in SQLite, and for the files. The table is made.
-- Shows: a catalog of SQL, partitions.

CREATE TABLE orders (
  id BIGINT NOT NULL, item STRING, price DECIMAL(10, 2), `day` DATE
) PARTITIONED BY (`day`) WITH (
  'connector' = 'iceberg', 'catalog-name' = 'lake', 'catalog-type' = 'sql', 'uri' = 'sqlite:///${env:LAKE}/catalog.db',
  'warehouse' = '${env:LAKE}/warehouse', 'catalog-database' = 'shop'
);

INSERT INTO orders VALUES
  (1, 'tea', 3.50, DATE '2026-01-01'), (2, 'milk', 1.20, DATE '2026-01-01'), (3, 'tea', 4.00, DATE '2026-01-02');

INSERT INTO orders VALUES (4, 'rice', 2.00, DATE '2026-01-02');

SELECT `day`, COUNT(*) AS orders, SUM(price) AS total FROM orders GROUP BY `day` ORDER BY `day`;

-- prints
-- +------------+--------+-------+
-- | day        | orders | total |
-- +------------+--------+-------+
-- | 2026-01-01 |      2 |  4.70 |
-- | 2026-01-02 |      2 |  6.00 |
-- +------------+--------+-------+
