WITH events AS MATERIALIZED (
  SELECT event_type, auction, bid
  FROM read_json(getvariable('files'), format = 'newline_delimited', columns = {
    event_type: 'INTEGER',
    auction: 'STRUCT(id BIGINT, category BIGINT)',
    bid: 'STRUCT(auction BIGINT, bidder BIGINT, price BIGINT)'
  })
), auction AS (
  SELECT auction.id, auction.category FROM events WHERE event_type = 1
), bid AS (
  SELECT bid.auction, bid.bidder, bid.price FROM events WHERE event_type = 2
)
SELECT a.id, b.bidder, b.price
FROM auction a JOIN bid b ON a.id = b.auction
WHERE a.category = 10
QUALIFY row_number() OVER (PARTITION BY a.id ORDER BY b.price DESC, b.bidder) <= 3;
