-- The seller's own last bid at the time of each of his auctions: an event-time temporal join to a versioned view.
CREATE VIEW last_bid AS
SELECT bidder, price, auction, `dateTime`
FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY bidder ORDER BY `dateTime` DESC) AS rn FROM bid)
WHERE rn = 1;

SELECT a.id, a.seller, a.`dateTime`, l.`dateTime` AS bid_time
FROM auction a
LEFT JOIN last_bid FOR SYSTEM_TIME AS OF a.`dateTime` AS l ON a.seller = l.bidder;
