WITH bid AS (
  SELECT bid.auction, bid.bidder, bid.price, bid.channel, bid.dateTime
  FROM read_json(getvariable('files'), format = 'newline_delimited', columns = {
    event_type: 'INTEGER',
    bid: 'STRUCT(auction BIGINT, bidder BIGINT, price BIGINT, channel VARCHAR, dateTime TIMESTAMP)'
  })
  WHERE event_type = 2
)
SELECT channel, strftime(dateTime, '%Y-%m-%d') AS dt,
       max(strftime(dateTime, '%H:%M')) AS last_minute,
       count(*) AS total_bids,
       count(*) FILTER (WHERE price < 10000) AS rank1_bids,
       count(*) FILTER (WHERE price >= 1000000) AS rank3_bids,
       count(DISTINCT bidder) AS total_bidders,
       count(DISTINCT bidder) FILTER (WHERE price >= 1000000) AS rank3_bidders,
       count(DISTINCT auction) AS total_auctions
FROM bid
GROUP BY ALL;
