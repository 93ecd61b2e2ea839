WITH events AS MATERIALIZED (
  SELECT event_type, person, auction
  FROM read_json(getvariable('files'), format = 'newline_delimited', columns = {
    event_type: 'INTEGER',
    person: 'STRUCT(id BIGINT, name VARCHAR, dateTime TIMESTAMP)',
    auction: 'STRUCT(seller BIGINT, dateTime TIMESTAMP)'
  })
), person AS (
  SELECT person.id, person.name, person.dateTime FROM events WHERE event_type = 0
), auction AS (
  SELECT auction.seller, auction.dateTime FROM events WHERE event_type = 1
), sellers AS (
  SELECT DISTINCT seller, time_bucket(INTERVAL 10 SECONDS, dateTime) AS window_start FROM auction
), people AS (
  SELECT DISTINCT id, name, time_bucket(INTERVAL 10 SECONDS, dateTime) AS window_start FROM person
)
SELECT p.id, p.name, p.window_start
FROM people p JOIN sellers s ON p.id = s.seller AND p.window_start = s.window_start;
