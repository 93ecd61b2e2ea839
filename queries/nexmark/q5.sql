-- Nexmark q5: hot items.
-- Every 2 seconds, the auctions with the most bids of the last 10 seconds. Shows: hopping windows that share their
-- slices, and a window join of two aggregates of one stream.

CREATE TABLE events WITH ('connector' = 'nexmark', 'events.num' = '1000000');

CREATE VIEW bid AS
SELECT bid.auction, bid.bidder, bid.price, bid.channel, bid.url, `dateTime`, bid.extra
FROM events WHERE event_type = 2;

WITH counts AS (
  SELECT auction, window_start, window_end, COUNT(*) AS num
  FROM TABLE(HOP(TABLE bid, DESCRIPTOR(`dateTime`), INTERVAL '2' SECOND, INTERVAL '10' SECOND))
  GROUP BY auction, window_start, window_end
), tops AS (
  SELECT window_start, window_end, MAX(num) AS top
  FROM counts
  GROUP BY window_start, window_end
)
SELECT c.auction, c.num, c.window_end
FROM counts c
JOIN tops t ON c.window_start = t.window_start AND c.window_end = t.window_end AND c.num >= t.top;
