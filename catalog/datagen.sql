-- Random tables, for trying things out. The same seed gives the same rows.

-- A hundred orders at once.
CREATE TABLE orders (
  order_id BIGINT,
  customer INT,
  amount   DOUBLE
) WITH (
  'connector' = 'datagen',
  'number-of-rows' = '100',
  'fields.order_id.kind' = 'sequence',
  'fields.order_id.start' = '1',
  'fields.order_id.end' = '100',
  'fields.customer.min' = '1',
  'fields.customer.max' = '10',
  'fields.amount.min' = '1',
  'fields.amount.max' = '500'
);

-- Clicks without an end, ten a second, with the clock as their time.
CREATE TABLE clicks (
  user_id    INT,
  page       STRING,
  clicked_at AS LOCALTIMESTAMP,
  WATERMARK FOR clicked_at AS clicked_at
) WITH (
  'connector' = 'datagen',
  'rows-per-second' = '10',
  'fields.user_id.min' = '1',
  'fields.user_id.max' = '5',
  'fields.page.length' = '3'
);
