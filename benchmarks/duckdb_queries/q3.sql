WITH events AS MATERIALIZED (
  SELECT event_type, auction, person
  FROM read_json(getvariable('files'), format = 'newline_delimited', columns = {
    event_type: 'INTEGER',
    auction: 'STRUCT(id BIGINT, seller BIGINT, category BIGINT)',
    person: 'STRUCT(id BIGINT, name VARCHAR, city VARCHAR, state VARCHAR)'
  })
), auction AS (
  SELECT auction.id, auction.seller, auction.category FROM events WHERE event_type = 1
), person AS (
  SELECT person.id, person.name, person.city, person.state FROM events WHERE event_type = 0
)
SELECT p.name, p.city, p.state, a.id
FROM auction a JOIN person p ON a.seller = p.id
WHERE a.category = 10 AND p.state IN ('OR', 'ID', 'CA');
