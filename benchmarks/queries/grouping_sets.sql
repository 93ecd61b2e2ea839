-- Bids by channel, by auction and over all: each row goes into three groups.
SELECT channel, auction, COUNT(*) AS bids, SUM(price) AS total, MAX(price) AS highest, GROUPING_ID(channel, auction) AS g
FROM bid
GROUP BY GROUPING SETS ((channel), (auction), ());
