-- Nexmark q16: channel statistics.
-- The same by channel. Shows: distinct counts under many keys, and MAX over text.

CREATE TABLE events WITH ('connector' = 'nexmark', 'events.num' = '2000');

CREATE VIEW bid AS
SELECT bid.auction, bid.bidder, bid.price, bid.channel, bid.url, `dateTime`, bid.extra
FROM events WHERE event_type = 2;

SELECT channel, DATE_FORMAT(`dateTime`, 'yyyy-MM-dd') AS dt,
       MAX(DATE_FORMAT(`dateTime`, 'HH:mm')) AS last_minute,
       COUNT(*) AS total_bids,
       COUNT(*) FILTER (WHERE price < 10000) AS rank1_bids,
       COUNT(*) FILTER (WHERE price >= 1000000) AS rank3_bids,
       COUNT(DISTINCT bidder) AS total_bidders,
       COUNT(DISTINCT bidder) FILTER (WHERE price >= 1000000) AS rank3_bidders,
       COUNT(DISTINCT auction) AS total_auctions
FROM bid
GROUP BY channel, DATE_FORMAT(`dateTime`, 'yyyy-MM-dd');
