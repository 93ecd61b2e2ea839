WITH bid AS (
  SELECT bid.auction, bid.bidder, bid.price, bid.dateTime
  FROM read_json(getvariable('files'), format = 'newline_delimited', columns = {
    event_type: 'INTEGER',
    bid: 'STRUCT(auction BIGINT, bidder BIGINT, price BIGINT, dateTime TIMESTAMP)'
  })
  WHERE event_type = 2
)
SELECT auction, bidder, 0.908 * CAST(price AS DECIMAL(20, 0)) AS price_eur, dateTime FROM bid;
