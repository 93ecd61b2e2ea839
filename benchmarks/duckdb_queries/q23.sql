WITH events AS MATERIALIZED (
  SELECT event_type, bid, person, auction
  FROM read_json(getvariable('files'), format = 'newline_delimited', columns = {
    event_type: 'INTEGER',
    bid: 'STRUCT(bidder BIGINT, price BIGINT, channel VARCHAR)',
    person: 'STRUCT(id BIGINT, name VARCHAR, city VARCHAR)',
    auction: 'STRUCT(id BIGINT, seller BIGINT, category BIGINT, reserve BIGINT)'
  })
), bid AS (
  SELECT bid.bidder, bid.price, bid.channel FROM events WHERE event_type = 2
), person AS (
  SELECT person.id, person.name, person.city FROM events WHERE event_type = 0
), auction AS (
  SELECT auction.id, auction.seller, auction.category, auction.reserve FROM events WHERE event_type = 1
)
SELECT b.bidder, b.price, b.channel, p.name, p.city, a.id, a.category, a.reserve
FROM bid b JOIN person p ON p.id = b.bidder JOIN auction a ON a.seller = b.bidder;
