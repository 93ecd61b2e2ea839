CREATE TABLE orders (id BIGINT, user_id BIGINT, price DECIMAL(10, 2), quantity INT, status STRING, ordered_at TIMESTAMP(3), items ARRAY<STRING>, address ROW<city STRING, zip STRING>, tags MAP<STRING, STRING>, WATERMARK FOR ordered_at AS ordered_at - INTERVAL '5' SECOND) WITH ('connector' = 'filesystem', 'format' = 'json', 'path' = 'orders.json');
CREATE TABLE users (id BIGINT, name STRING, city STRING, PRIMARY KEY (id) NOT ENFORCED) WITH ('connector' = 'filesystem', 'format' = 'json', 'path' = 'users.json');
CREATE TABLE plain (id BIGINT, name STRING, at_time TIMESTAMP(6)) WITH ('connector' = 'filesystem', 'format' = 'json', 'path' = 'users.json');
CREATE TABLE output (id BIGINT, name STRING) WITH ('connector' = 'blackhole');
CREATE VIEW cheap AS SELECT id, price FROM orders WHERE price < 10;
CREATE TABLE keyed (id BIGINT, n BIGINT, PRIMARY KEY (id) NOT ENFORCED) WITH ('connector' = 'blackhole');
