-- Nexmark q1: currency conversion.
-- The price of every bid in euro. Shows: decimal arithmetic by Flink's rules (the result is DECIMAL(23, 3)).
-- Few events, as every bid is a row of the result.

CREATE TABLE events WITH ('connector' = 'nexmark', 'events.num' = '5000');

CREATE VIEW bid AS
SELECT bid.auction, bid.bidder, bid.price, bid.channel, bid.url, `dateTime`, bid.extra
FROM events WHERE event_type = 2;

SELECT auction, bidder, 0.908 * price AS price_eur, `dateTime`
FROM bid;
