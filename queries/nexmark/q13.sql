-- Nexmark q13: bounded side input join.
-- Every bid with the name of its shelf, looked up in a file. Shows: a lookup join, FOR SYSTEM_TIME AS OF the clock.
-- Few events, as every bid is a row of the result. The file's path is relative to the directory in which you run it.

CREATE TABLE events WITH ('connector' = 'nexmark', 'events.num' = '5000');

CREATE VIEW bid AS
SELECT bid.auction, bid.bidder, bid.price, bid.channel, bid.url, `dateTime`, bid.extra
FROM events WHERE event_type = 2;

CREATE VIEW timed_bid AS SELECT *, PROCTIME() AS p FROM bid;

CREATE TABLE side_input (
  id    BIGINT,
  shelf STRING
) WITH ('connector' = 'filesystem', 'path' = 'queries/nexmark/data/side_input.csv', 'format' = 'csv');

SELECT b.auction, b.bidder, b.price, b.`dateTime`, s.shelf
FROM timed_bid b
JOIN side_input FOR SYSTEM_TIME AS OF b.p AS s ON MOD(b.auction, 100) = s.id;
