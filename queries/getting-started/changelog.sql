-- How a result changes while its input does. The file holds changes of a table of accounts, as Debezium writes them:
-- created, updated and deleted rows. The job takes them one at a time and prints each change of the sum by city:
-- +I a new row, -U and +U the old and the new form of one, -D a row that is gone.
--   sqlstream run queries/getting-started/changelog.sql

SET 'execution.runtime-mode' = 'streaming';
SET 'execution.epoch.max-rows' = '1';

CREATE TABLE accounts (
  id      BIGINT,
  city    STRING,
  balance BIGINT,
  PRIMARY KEY (id) NOT ENFORCED
) WITH (
  'connector' = 'filesystem',
  'path' = 'queries/getting-started/data/accounts.json',
  'format' = 'debezium-json'
);

CREATE TABLE balances (
  city    STRING,
  people  BIGINT,
  balance BIGINT
) WITH ('connector' = 'print');

INSERT INTO balances
SELECT city, COUNT(*), SUM(balance) FROM accounts GROUP BY city;
