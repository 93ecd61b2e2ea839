-- Nexmark q9: winning bids.
-- The winning bid of every auction. Shows: a join and a top-1 over it, kept as one row an auction.

CREATE TABLE events WITH ('connector' = 'nexmark', 'events.num' = '20000');

CREATE VIEW auction AS
SELECT auction.id, auction.itemName, auction.description, auction.initialBid, auction.reserve, `dateTime`,
       auction.expires, auction.seller, auction.category, auction.extra
FROM events WHERE event_type = 1;

CREATE VIEW bid AS
SELECT bid.auction, bid.bidder, bid.price, bid.channel, bid.url, `dateTime`, bid.extra
FROM events WHERE event_type = 2;

SELECT id, seller, category, bidder, price, bid_time
FROM (
  SELECT a.id, a.seller, a.category, b.bidder, b.price, b.`dateTime` AS bid_time,
         ROW_NUMBER() OVER (PARTITION BY a.id ORDER BY b.price DESC, b.`dateTime` ASC) AS rn
  FROM auction a
  JOIN bid b ON a.id = b.auction
  WHERE b.`dateTime` BETWEEN a.`dateTime` AND a.expires
)
WHERE rn <= 1;
