-- The three highest bids of each auction of category 10: a subquery for each row.
SELECT a.id, b.bidder, b.price
FROM auction a,
LATERAL (
  SELECT bidder, price FROM bid WHERE bid.auction = a.id ORDER BY price DESC, bidder LIMIT 3
) AS b
WHERE a.category = 10;
