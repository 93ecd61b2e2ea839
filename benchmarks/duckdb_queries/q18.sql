WITH bid AS (
  SELECT bid.auction, bid.bidder, bid.price, bid.channel, bid.dateTime
  FROM read_json(getvariable('files'), format = 'newline_delimited', columns = {
    event_type: 'INTEGER',
    bid: 'STRUCT(auction BIGINT, bidder BIGINT, price BIGINT, channel VARCHAR, dateTime TIMESTAMP)'
  })
  WHERE event_type = 2
)
SELECT auction, bidder, price, channel, dateTime
FROM bid
QUALIFY row_number() OVER (PARTITION BY bidder, auction ORDER BY dateTime DESC) <= 1;
