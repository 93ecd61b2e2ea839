WITH bid AS (
  SELECT bid.auction, bid.bidder, bid.price, bid.channel, bid.url
  FROM read_json(getvariable('files'), format = 'newline_delimited', columns = {
    event_type: 'INTEGER',
    bid: 'STRUCT(auction BIGINT, bidder BIGINT, price BIGINT, channel VARCHAR, url VARCHAR)'
  })
  WHERE event_type = 2
), numbered AS (
  SELECT *, CASE lower(channel)
              WHEN 'apple' THEN '0'
              WHEN 'google' THEN '1'
              WHEN 'facebook' THEN '2'
              WHEN 'baidu' THEN '3'
              ELSE nullif(regexp_extract(url, '(&|^)channel_id=([^&]*)', 2), '')
            END AS channel_id
  FROM bid
)
SELECT auction, bidder, price, channel, channel_id
FROM numbered
WHERE channel_id IS NOT NULL;
