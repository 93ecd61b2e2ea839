-- Nexmark q20: bids with their auction.
-- Bids on auctions of category 10, with the auction. Shows: a join whose large side streams past a small one.

CREATE TABLE events WITH ('connector' = 'nexmark', 'events.num' = '5000');

CREATE VIEW auction AS
SELECT auction.id, auction.itemName, auction.description, auction.initialBid, auction.reserve, `dateTime`,
       auction.expires, auction.seller, auction.category, auction.extra
FROM events WHERE event_type = 1;

CREATE VIEW bid AS
SELECT bid.auction, bid.bidder, bid.price, bid.channel, bid.url, `dateTime`, bid.extra
FROM events WHERE event_type = 2;

SELECT b.auction, b.bidder, b.price, b.channel, a.seller, a.category, a.expires
FROM bid b
JOIN auction a ON b.auction = a.id
WHERE a.category = 10;
