WITH bid AS (
  SELECT bid.auction, bid.price, bid.channel
  FROM read_json(getvariable('files'), format = 'newline_delimited', columns = {
    event_type: 'INTEGER',
    bid: 'STRUCT(auction BIGINT, price BIGINT, channel VARCHAR)'
  })
  WHERE event_type = 2
)
SELECT channel, auction, count(*) AS bids, sum(price)::BIGINT AS total, max(price) AS highest,
       grouping(channel, auction) AS g
FROM bid
GROUP BY GROUPING SETS ((channel), (auction), ());
