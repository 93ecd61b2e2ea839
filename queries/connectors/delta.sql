-- Delta Lake: orders appended to a table of files, one commit a checkpoint, and read again as they were.
-- Needs LAKE, a directory or a URL (s3://bucket/lake). The table is made.
-- Shows: partitions, time travel by OPTIONS.

CREATE TABLE orders (
  id BIGINT NOT NULL, item STRING, price DECIMAL(10, 2), `day` DATE
) PARTITIONED BY (`day`) WITH ('connector' = 'delta', 'table-path' = '${env:LAKE}/orders');

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
