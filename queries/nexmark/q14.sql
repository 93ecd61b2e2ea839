-- Nexmark q14: calculation.
-- Bids in a range of prices with the time of day and a count of the letter c. Shows: a Python scalar function, from
-- nexmark_functions.py in this directory.

CREATE TABLE events WITH ('connector' = 'nexmark', 'events.num' = '5000');

CREATE VIEW bid AS
SELECT bid.auction, bid.bidder, bid.price, bid.channel, bid.url, `dateTime`, bid.extra
FROM events WHERE event_type = 2;

CREATE TEMPORARY FUNCTION count_char AS 'nexmark_functions.count_char' LANGUAGE PYTHON;

SELECT auction, bidder, 0.908 * price AS price_eur,
       CASE WHEN HOUR(`dateTime`) BETWEEN 8 AND 18 THEN 'dayTime'
            WHEN HOUR(`dateTime`) <= 6 OR HOUR(`dateTime`) >= 20 THEN 'nightTime'
            ELSE 'otherTime' END AS bid_time_type,
       count_char(extra, 'c') AS c_count
FROM bid
WHERE 0.908 * price > 1000000 AND 0.908 * price < 50000000;
