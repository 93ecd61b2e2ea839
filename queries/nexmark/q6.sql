-- Nexmark q6: average selling price by seller.
-- The average price of a seller's last ten closed auctions. Shows: OVER on an input that changes: a higher bid
-- replaces the winning one, and the averages after it are corrected. Flink cannot run it. (The public suite has
-- 10 PRECEDING, which are eleven auctions with the current row; ties are broken by the auction here.)

CREATE TABLE events WITH ('connector' = 'nexmark', 'events.num' = '20000');

CREATE VIEW auction AS
SELECT auction.id, auction.itemName, auction.description, auction.initialBid, auction.reserve, `dateTime`,
       auction.expires, auction.seller, auction.category, auction.extra
FROM events WHERE event_type = 1;

CREATE VIEW bid AS
SELECT bid.auction, bid.bidder, bid.price, bid.channel, bid.url, `dateTime`, bid.extra
FROM events WHERE event_type = 2;

SELECT seller, id AS auction,
       AVG(price) OVER (
         PARTITION BY seller ORDER BY bid_time, id ROWS BETWEEN 9 PRECEDING AND CURRENT ROW
       ) AS avg_price
FROM (
  SELECT a.id, a.seller, b.price, b.`dateTime` AS bid_time,
         ROW_NUMBER() OVER (PARTITION BY a.id ORDER BY b.price DESC, b.`dateTime` ASC, b.bidder ASC) AS rn
  FROM auction a
  JOIN bid b ON a.id = b.auction
  WHERE b.`dateTime` BETWEEN a.`dateTime` AND a.expires
)
WHERE rn <= 1;
