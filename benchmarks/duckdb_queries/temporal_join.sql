WITH events AS MATERIALIZED (
  SELECT event_type, auction, bid
  FROM read_json(getvariable('files'), format = 'newline_delimited', columns = {
    event_type: 'INTEGER',
    auction: 'STRUCT(id BIGINT, seller BIGINT, dateTime TIMESTAMP)',
    bid: 'STRUCT(bidder BIGINT, dateTime TIMESTAMP)'
  })
), auction AS (
  SELECT auction.id, auction.seller, auction.dateTime FROM events WHERE event_type = 1
), bid AS (
  SELECT bid.bidder, bid.dateTime FROM events WHERE event_type = 2
)
SELECT a.id, a.seller, a.dateTime, b.dateTime AS bid_time
FROM auction a ASOF LEFT JOIN bid b ON a.seller = b.bidder AND a.dateTime >= b.dateTime;
