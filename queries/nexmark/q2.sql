-- Nexmark q2: selection.
-- Bids on one auction in 123. Shows: a filter on a field that is decoded for it alone.

CREATE TABLE events WITH ('connector' = 'nexmark', 'events.num' = '100000');

CREATE VIEW bid AS
SELECT bid.auction, bid.bidder, bid.price, bid.channel, bid.url, `dateTime`, bid.extra
FROM events WHERE event_type = 2;

SELECT auction, price
FROM bid
WHERE MOD(auction, 123) = 0;
