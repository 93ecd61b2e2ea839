WITH bid AS (
  SELECT bid.auction, bid.price
  FROM read_json(getvariable('files'), format = 'newline_delimited', columns = {
    event_type: 'INTEGER',
    bid: 'STRUCT(auction BIGINT, price BIGINT)'
  })
  WHERE event_type = 2
)
SELECT auction, price FROM bid WHERE auction % 123 = 0;
