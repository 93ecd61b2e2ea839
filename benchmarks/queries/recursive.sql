-- Whom the first sellers' goods reach: from a seller to all who bid for what he sells, and on. Flink cannot run it.
WITH RECURSIVE sold AS (
  SELECT a.seller, b.bidder FROM auction a JOIN bid b ON a.id = b.auction WHERE a.category = 10
), reached (person) AS (
  SELECT DISTINCT seller FROM auction WHERE seller < 1010
  UNION
  SELECT s.bidder FROM reached r JOIN sold s ON r.person = s.seller
)
SELECT person FROM reached;
