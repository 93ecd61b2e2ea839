-- Nexmark q19: auction top 10.
-- The ten highest bids of every auction, with their rank. Shows: top-N whose ranks move.

CREATE TABLE events WITH ('connector' = 'nexmark', 'events.num' = '5000');

CREATE VIEW bid AS
SELECT bid.auction, bid.bidder, bid.price, bid.channel, bid.url, `dateTime`, bid.extra
FROM events WHERE event_type = 2;

SELECT auction, bidder, price, rn
FROM (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY auction ORDER BY price DESC, bidder ASC, `dateTime` ASC) AS rn
  FROM bid
)
WHERE rn <= 10;
