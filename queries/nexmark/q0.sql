-- Nexmark q0: pass through.
-- Every bid, unchanged. Shows: what reading, decoding and a projection cost.
-- Few events, as every bid is a row of the result.

CREATE TABLE events WITH ('connector' = 'nexmark', 'events.num' = '5000');

CREATE VIEW bid AS
SELECT bid.auction, bid.bidder, bid.price, bid.channel, bid.url, `dateTime`, bid.extra
FROM events WHERE event_type = 2;

SELECT auction, bidder, price, `dateTime`
FROM bid;
