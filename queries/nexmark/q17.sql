-- Nexmark q17: auction statistics.
-- Bids and prices of every auction, by day. Shows: an aggregate with many keys; AVG of integers is an integer.

CREATE TABLE events WITH ('connector' = 'nexmark', 'events.num' = '5000');

CREATE VIEW bid AS
SELECT bid.auction, bid.bidder, bid.price, bid.channel, bid.url, `dateTime`, bid.extra
FROM events WHERE event_type = 2;

SELECT auction, DATE_FORMAT(`dateTime`, 'yyyy-MM-dd') AS dt,
       COUNT(*) AS total_bids,
       COUNT(*) FILTER (WHERE price < 10000) AS rank1_bids,
       MIN(price) AS min_price,
       MAX(price) AS max_price,
       AVG(price) AS avg_price,
       SUM(price) AS sum_price
FROM bid
GROUP BY auction, DATE_FORMAT(`dateTime`, 'yyyy-MM-dd');
