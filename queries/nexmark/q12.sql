-- Nexmark q12: processing time windows.
-- How many bids a bidder makes within 10 seconds of the wall clock. Shows: PROCTIME() in a view; the counts depend
-- on when you run it, so no two runs need to agree.

CREATE TABLE events WITH ('connector' = 'nexmark', 'events.num' = '20000');

CREATE VIEW bid AS
SELECT bid.auction, bid.bidder, bid.price, bid.channel, bid.url, `dateTime`, bid.extra
FROM events WHERE event_type = 2;

CREATE VIEW timed_bid AS SELECT *, PROCTIME() AS p FROM bid;

SELECT bidder, COUNT(*) AS bid_count, window_start AS starttime, window_end AS endtime
FROM TABLE(TUMBLE(TABLE timed_bid, DESCRIPTOR(p), INTERVAL '10' SECOND))
GROUP BY bidder, window_start, window_end;
