WITH RECURSIVE events AS MATERIALIZED (
  SELECT event_type, auction, bid
  FROM read_json(getvariable('files'), format = 'newline_delimited', columns = {
    event_type: 'INTEGER',
    auction: 'STRUCT(id BIGINT, seller BIGINT, category BIGINT)',
    bid: 'STRUCT(auction BIGINT, bidder BIGINT)'
  })
), auction AS (
  SELECT auction.id, auction.seller, auction.category FROM events WHERE event_type = 1
), bid AS (
  SELECT bid.auction, bid.bidder FROM events WHERE event_type = 2
), sold AS MATERIALIZED (
  SELECT a.seller, b.bidder FROM auction a JOIN bid b ON a.id = b.auction WHERE a.category = 10
), reached (person) AS (
  SELECT DISTINCT seller FROM auction WHERE seller < 1010
  UNION
  SELECT s.bidder FROM reached r JOIN sold s ON r.person = s.seller
)
SELECT person FROM reached;
