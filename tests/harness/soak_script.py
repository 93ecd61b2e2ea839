"""The SQL of the soak: statements with every kind of state that rows leave again."""

from __future__ import annotations

from dataclasses import dataclass

SETTINGS = """
SET 'pipeline.name' = 'soak';
SET 'execution.checkpointing.interval' = '1 s';
SET 'state.changelog.periodic-materialize.interval' = '2 s';
SET 'taskmanager.memory.managed.size' = '16mb';
SET 'state.backend.hot-rows' = '{hot}';
SET 'table.exec.state.ttl' = '{ttl} s';
"""
BATCH = "SET 'execution.runtime-mode' = 'batch';\n"
SOURCES = """
CREATE TABLE bids (id BIGINT, auction BIGINT, bidder INT, price INT, at TIMESTAMP(3),
  WATERMARK FOR at AS at - INTERVAL '1' SECOND)
  WITH ('connector' = 'filesystem', 'path' = '../in/bids', 'format' = 'json'{monitor});
CREATE TABLE asks (id BIGINT, auction BIGINT, at TIMESTAMP(3), WATERMARK FOR at AS at - INTERVAL '1' SECOND)
  WITH ('connector' = 'filesystem', 'path' = '../in/asks', 'format' = 'json'{monitor});
"""
GROWING = ", 'source.monitor-interval' = '200 ms', 'source.idle-when-superseded' = 'false'"


@dataclass(frozen=True)
class Statement:
    """One INSERT: its table's columns, its query; whether rows are taken back; more of CREATE TABLE."""

    name: str
    columns: str
    query: str
    changelog: bool = True
    partitions: str = ""
    options: str = ""

    def table(self) -> str:
        form = "debezium-json" if self.changelog else "json"
        return (
            f"CREATE TABLE {self.name} ({self.columns}) {self.partitions} WITH ('connector' = 'filesystem', "
            f"'path' = 'out/{self.name}', 'format' = '{form}'{self.options});\n"
        )


STATEMENTS = (
    Statement("counted", "id BIGINT, n BIGINT, total BIGINT",
              "SELECT id, COUNT(*), SUM(CAST(price AS BIGINT)) FROM bids GROUP BY id"),
    Statement("bidders", "auction BIGINT, n BIGINT, bidders BIGINT",
              "SELECT auction, COUNT(*), COUNT(DISTINCT bidder) FROM bids GROUP BY auction"),
    Statement("firsts", "id BIGINT, auction BIGINT, price INT",
              "SELECT id, auction, price FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY id ORDER BY at) AS r FROM bids) "
              "WHERE r = 1"),
    Statement("best", "auction BIGINT, id BIGINT, price INT, r BIGINT",
              "SELECT auction, id, price, r FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY auction ORDER BY price DESC, id, "
              "at) AS r FROM bids) WHERE r <= 2"),
    Statement("tumbled", "auction BIGINT, w_end TIMESTAMP(3), n BIGINT, bidders BIGINT",
              "SELECT auction, window_end, COUNT(*), COUNT(DISTINCT bidder) FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(at), "
              "INTERVAL '2' SECOND)) GROUP BY auction, window_start, window_end", False),
    Statement("sessions", "auction BIGINT, w_start TIMESTAMP(3), w_end TIMESTAMP(3), n BIGINT",
              "SELECT auction, window_start, window_end, COUNT(*) FROM TABLE(SESSION(TABLE bids PARTITION BY auction, "
              "DESCRIPTOR(at), INTERVAL '1' SECOND)) GROUP BY auction, window_start, window_end", False),
    Statement("running", "auction BIGINT, at TIMESTAMP(3), total BIGINT",
              "SELECT auction, at, SUM(CAST(price AS BIGINT)) OVER (PARTITION BY auction ORDER BY at RANGE BETWEEN INTERVAL '1' "
              "SECOND PRECEDING AND CURRENT ROW) FROM bids", False),
    Statement("joined", "id BIGINT, price INT, opened TIMESTAMP(3)",
              "SELECT a.id, b.price, a.at FROM asks a JOIN bids b ON a.id = b.id AND b.at BETWEEN a.at - INTERVAL '2' SECOND "
              "AND a.at + INTERVAL '2' SECOND", False),
    Statement("matched", "id BIGINT, price INT",
              "SELECT a.id, b.price FROM asks a JOIN bids b ON a.auction = b.auction AND a.id = b.id", False),
    Statement("all_bids", "id BIGINT, price INT, opened TIMESTAMP(3)",
              "SELECT b.id, b.price, a.at FROM bids b LEFT JOIN asks a ON a.id = b.id"),
    Statement("minutes", "id BIGINT, price INT, `minute` STRING",
              "SELECT id, price, DATE_FORMAT(at, 'yyyy-MM-dd HH:mm') FROM bids", False, "PARTITIONED BY (`minute`)",
              ", 'sink.partition-commit.policy.kind' = 'success-file', 'sink.partition-commit.trigger' = 'partition-time', "
              "'sink.partition-commit.delay' = '1 min', 'partition.time-extractor.timestamp-pattern' = '$minute:00'"),
)  # fmt: skip


def added(n: int) -> Statement:
    """The statement that the job's n-th form has, and no other."""
    if n % 2:
        query = "SELECT MOD(bidder, 50), COUNT(*), SUM(CAST(price AS BIGINT)) FROM bids GROUP BY MOD(bidder, 50)"
        return Statement(f"added_{n}", "k INT, n BIGINT, total BIGINT", query)
    query = (
        "SELECT MOD(bidder, 5), COUNT(*), MAX(at) FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(at), INTERVAL '5' SECOND)) "
        "GROUP BY MOD(bidder, 5), window_start, window_end"
    )
    return Statement(f"added_{n}", "k INT, n BIGINT, latest TIMESTAMP(3)", query, False)


def script(settings: str, statements: tuple[Statement, ...], monitor: str) -> str:
    """`monitor`: more options of the tables that are read."""
    inserts = "".join(f"INSERT INTO {s.name} {s.query};\n" for s in statements)
    tables = "".join(s.table() for s in statements)
    return f"{settings}{SOURCES.format(monitor=monitor)}{tables}EXECUTE STATEMENT SET BEGIN\n{inserts}END;\n"
