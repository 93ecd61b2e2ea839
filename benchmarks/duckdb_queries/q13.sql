WITH bid AS (
  SELECT bid.auction, bid.bidder, bid.price, bid.dateTime
  FROM read_json(getvariable('files'), format = 'newline_delimited', columns = {
    event_type: 'INTEGER',
    bid: 'STRUCT(auction BIGINT, bidder BIGINT, price BIGINT, dateTime TIMESTAMP)'
  })
  WHERE event_type = 2
), side_input AS (
  SELECT * FROM read_csv(getvariable('side_input'), header = false, columns = {id: 'BIGINT', shelf: 'VARCHAR'})
)
SELECT b.auction, b.bidder, b.price, b.dateTime, s.shelf
FROM bid b JOIN side_input s ON b.auction % 100 = s.id;
