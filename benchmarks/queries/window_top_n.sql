-- The ten highest bids of each ten seconds, told once, when they are over.
SELECT window_start, auction, bidder, price, rn
FROM (
  SELECT window_start, auction, bidder, price,
         ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY price DESC, auction, bidder) AS rn
  FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(`dateTime`), INTERVAL '10' SECOND))
)
WHERE rn <= 10;
