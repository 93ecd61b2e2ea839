-- Nexmark q23: bids of sellers.
-- Bids of people who sell something themselves, with what they sell. Shows: a join of three streams.
-- Few events, as everybody bids and sells here.

CREATE TABLE events WITH ('connector' = 'nexmark', 'events.num' = '2000');

CREATE VIEW person AS
SELECT person.id, person.name, person.emailAddress, person.creditCard, person.city, person.state, `dateTime`,
       person.extra
FROM events WHERE event_type = 0;

CREATE VIEW auction AS
SELECT auction.id, auction.itemName, auction.description, auction.initialBid, auction.reserve, `dateTime`,
       auction.expires, auction.seller, auction.category, auction.extra
FROM events WHERE event_type = 1;

CREATE VIEW bid AS
SELECT bid.auction, bid.bidder, bid.price, bid.channel, bid.url, `dateTime`, bid.extra
FROM events WHERE event_type = 2;

SELECT b.bidder, b.price, b.channel, p.name, p.city, a.id, a.category, a.reserve
FROM bid b
JOIN person p ON p.id = b.bidder
JOIN auction a ON a.seller = b.bidder;
