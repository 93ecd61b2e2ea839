-- Nexmark q10: log to a file system.
-- Every bid with its day and minute, as one would partition files by them. Shows: DATE_FORMAT with Java's patterns.
-- Few events, as every bid is a row of the result.

CREATE TABLE events WITH ('connector' = 'nexmark', 'events.num' = '5000');

CREATE VIEW bid AS
SELECT bid.auction, bid.bidder, bid.price, bid.channel, bid.url, `dateTime`, bid.extra
FROM events WHERE event_type = 2;

SELECT auction, bidder, price, DATE_FORMAT(`dateTime`, 'yyyy-MM-dd') AS dt, DATE_FORMAT(`dateTime`, 'HH:mm') AS hm
FROM bid;
