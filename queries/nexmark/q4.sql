-- Nexmark q4: average price for a category.
-- The average of the winning prices, by category. Shows: an aggregate over an aggregate over a join: a higher bid
-- retracts the price before it, and no sum of old and new is ever seen.

CREATE TABLE events WITH ('connector' = 'nexmark', 'events.num' = '100000');

CREATE VIEW auction AS
SELECT auction.id, auction.itemName, auction.description, auction.initialBid, auction.reserve, `dateTime`,
       auction.expires, auction.seller, auction.category, auction.extra
FROM events WHERE event_type = 1;

CREATE VIEW bid AS
SELECT bid.auction, bid.bidder, bid.price, bid.channel, bid.url, `dateTime`, bid.extra
FROM events WHERE event_type = 2;

SELECT category, AVG(final_price) AS avg_final
FROM (
  SELECT a.id, a.category, MAX(b.price) AS final_price
  FROM auction a
  JOIN bid b ON a.id = b.auction
  WHERE b.`dateTime` BETWEEN a.`dateTime` AND a.expires
  GROUP BY a.id, a.category
)
GROUP BY category;
