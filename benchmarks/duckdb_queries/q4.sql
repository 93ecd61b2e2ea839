WITH events AS MATERIALIZED (
  SELECT event_type, auction, bid
  FROM read_json(getvariable('files'), format = 'newline_delimited', columns = {
    event_type: 'INTEGER',
    auction: 'STRUCT(id BIGINT, category BIGINT, dateTime TIMESTAMP, expires TIMESTAMP)',
    bid: 'STRUCT(auction BIGINT, price BIGINT, dateTime TIMESTAMP)'
  })
), auction AS (
  SELECT auction.id, auction.category, auction.dateTime, auction.expires FROM events WHERE event_type = 1
), bid AS (
  SELECT bid.auction, bid.price, bid.dateTime FROM events WHERE event_type = 2
)
SELECT category, CAST(sum(final_price) // count(*) AS BIGINT) AS avg_final
FROM (
  SELECT a.id, a.category, max(b.price) AS final_price
  FROM auction a JOIN bid b ON a.id = b.auction
  WHERE b.dateTime BETWEEN a.dateTime AND a.expires
  GROUP BY a.id, a.category
)
GROUP BY category;
