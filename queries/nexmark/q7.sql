-- Nexmark q7: highest bid.
-- The highest bids of every 10 seconds. Shows: a tumbling window joined back to its stream.

CREATE TABLE events WITH ('connector' = 'nexmark', 'events.num' = '1000000');

CREATE VIEW bid AS
SELECT bid.auction, bid.bidder, bid.price, bid.channel, bid.url, `dateTime`, bid.extra
FROM events WHERE event_type = 2;

SELECT b.auction, b.price, b.bidder, b.`dateTime`
FROM bid b
JOIN (
  SELECT MAX(price) AS top_price, window_end
  FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(`dateTime`), INTERVAL '10' SECOND))
  GROUP BY window_start, window_end
) w ON b.price = w.top_price
WHERE b.`dateTime` BETWEEN w.window_end - INTERVAL '10' SECOND AND w.window_end;
