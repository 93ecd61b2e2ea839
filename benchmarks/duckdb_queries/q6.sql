WITH events AS MATERIALIZED (
  SELECT event_type, auction, bid
  FROM read_json(getvariable('files'), format = 'newline_delimited', columns = {
    event_type: 'INTEGER',
    auction: 'STRUCT(id BIGINT, seller BIGINT, category BIGINT, dateTime TIMESTAMP, expires TIMESTAMP)',
    bid: 'STRUCT(auction BIGINT, bidder BIGINT, price BIGINT, dateTime TIMESTAMP)'
  })
), auction AS (
  SELECT auction.id, auction.seller, auction.category, auction.dateTime, auction.expires FROM events WHERE event_type = 1
), bid AS (
  SELECT bid.auction, bid.bidder, bid.price, bid.dateTime FROM events WHERE event_type = 2
), winning AS (
  SELECT a.id, a.seller, a.category, b.bidder, b.price, b.dateTime AS bid_time
  FROM auction a JOIN bid b ON a.id = b.auction
  WHERE b.dateTime BETWEEN a.dateTime AND a.expires
  QUALIFY row_number() OVER (PARTITION BY a.id ORDER BY b.price DESC, b.dateTime, b.bidder) = 1
)
SELECT seller, id AS auction, CAST(sum(price) OVER last_ten // count(*) OVER last_ten AS BIGINT) AS avg_price
FROM winning
WINDOW last_ten AS (PARTITION BY seller ORDER BY bid_time, id ROWS BETWEEN 9 PRECEDING AND CURRENT ROW);
