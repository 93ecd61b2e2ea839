-- Nexmark q23: bids of sellers.
-- Bids of people who sell something themselves, with what they sell. Shows: a join of three streams.
-- (Bidders are numbered from 2000 on and people from 1000: the first match needs about 50,000 events.)

CREATE TABLE events WITH ('connector' = 'nexmark', 'events.num' = '100000');

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
