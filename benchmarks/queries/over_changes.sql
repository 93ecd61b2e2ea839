-- Each bidder's auctions by the number of his bids on them so far: OVER on counts that change. Flink cannot run it.
SELECT bidder, auction, n, SUM(n) OVER (PARTITION BY bidder ORDER BY n, auction) AS up_to
FROM (SELECT bidder, auction, COUNT(*) AS n FROM bid WHERE MOD(auction, 10) = 0 GROUP BY bidder, auction);
