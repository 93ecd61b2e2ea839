-- Nexmark q18: last bid.
-- A bidder's last bid on every auction. Shows: deduplication, keeping the last row by event time.

CREATE TABLE events WITH ('connector' = 'nexmark', 'events.num' = '5000');

CREATE VIEW bid AS
SELECT bid.auction, bid.bidder, bid.price, bid.channel, bid.url, `dateTime`, bid.extra
FROM events WHERE event_type = 2;

SELECT auction, bidder, price, channel, `dateTime`
FROM (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY bidder, auction ORDER BY `dateTime` DESC) AS rn
  FROM bid
)
WHERE rn <= 1;
