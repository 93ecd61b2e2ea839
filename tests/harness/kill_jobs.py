"""The jobs that are killed: their inputs and their SQL."""

from __future__ import annotations

import json
import random
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.nexmark_sql import generated  # noqa: E402

TABLES = """
CREATE TABLE bids (auction INT, bidder INT, price INT, at TIMESTAMP(3), WATERMARK FOR at AS at - INTERVAL '2' SECOND)
  WITH ('connector' = 'filesystem', 'path' = '../bids', 'format' = 'json', 'source.bad-records' = 'rejected');
CREATE TABLE late (auction INT, price INT, at TIMESTAMP(3), late_operator STRING, late_watermark TIMESTAMP(3))
  WITH ('connector' = 'filesystem', 'path' = 'out/late', 'format' = 'json');
CREATE TABLE rejected (bad_line BIGINT, bad_reason STRING, bad_record STRING)
  WITH ('connector' = 'filesystem', 'path' = 'out/rejected', 'format' = 'json');
CREATE TABLE auctions (id INT, seller INT, category INT, opened TIMESTAMP(3),
  WATERMARK FOR opened AS opened - INTERVAL '2' SECOND)
  WITH ('connector' = 'filesystem', 'path' = '../auctions', 'format' = 'csv');
CREATE TABLE sellers (id INT, grade INT, sales INT, PRIMARY KEY (id) NOT ENFORCED)
  WITH ('connector' = 'filesystem', 'path' = '../sellers', 'format' = 'debezium-json');
CREATE FUNCTION bidding AS 'kill_functions.Bidding' LANGUAGE PYTHON;
"""


FUNCTIONS = """
from datetime import timedelta
from sqlstream import ListStateDescriptor, MapStateDescriptor, ProcessTableFunction, ValueStateDescriptor


class Bidding(ProcessTableFunction):
    # Each bid with its number, and what came of a pause in the bids of an auction.
    result_type = "ROW<what STRING, n BIGINT, prices ARRAY<INT>, bidders MAP<STRING, BIGINT>>"
    count = ValueStateDescriptor("count", "BIGINT")
    prices = ListStateDescriptor("prices", "INT")
    bidders = MapStateDescriptor("bidders", "STRING", "BIGINT")

    def eval(self, ctx, input):
        self.count.update((self.count.value() or 0) + 1)
        self.prices.add(input.price)
        bidder = str(input.bidder)
        self.bidders.put(bidder, (self.bidders.get(bidder) or 0) + 1)
        timers = ctx.timer_service()
        timers.register_event_time_timer(ctx.time() + timedelta(milliseconds=300), "pause")
        if input.price % 10 == 0:
            timers.register_event_time_timer(ctx.time() + timedelta(seconds=3))
        yield "bid", self.count.value(), None, None

    def on_timer(self, ctx):
        yield ctx.current_timer() or "round", self.count.value(), self.prices.get(), self.bidders.entries()
        if ctx.current_timer():
            self.prices.clear()
            self.bidders.clear()
"""


# Of a partition of ten seconds all rows are there when the watermark is 20 s past its beginning: none is 8 s late.
SUCCESS = """, 'sink.partition-commit.policy.kind' = 'success-file', 'sink.partition-commit.trigger' = 'partition-time',
  'sink.partition-commit.delay' = '20 s', 'partition.time-extractor.timestamp-pattern' = '$ten'"""


@dataclass(frozen=True)
class Sink:
    """One INSERT of a script: its table's columns, its query, and whether rows are taken back. `partitions`: by which
    columns, if any; such a sink has success files. Without a query: a table of `TABLES` that the job writes besides."""

    name: str
    columns: str = ""
    query: str = ""
    changelog: bool = False
    partitions: str = ""

    @property
    def table(self) -> str:
        """Its DDL."""
        form = "debezium-json" if self.changelog else "json"
        by, more = (f" PARTITIONED BY ({self.partitions})", SUCCESS) if self.partitions else ("", "")
        return (
            f"CREATE TABLE {self.name} ({self.columns}){by} WITH ('connector' = 'filesystem', 'path' = 'out/{self.name}', "
            f"'format' = '{form}'{more});"
        )


APPEND = (
    Sink(
        "filtered",
        "auction INT, price INT, at TIMESTAMP(3), price2 BIGINT",
        "SELECT auction, price, at, CAST(price AS BIGINT) * 2 FROM bids WHERE MOD(auction, 3) <> 1",
    ),
    Sink(
        "tumbled",
        "auction INT, w_end TIMESTAMP(3), n BIGINT, total BIGINT, lowest INT, bidders BIGINT",
        "SELECT auction, window_end, COUNT(*), SUM(price), MIN(price), COUNT(DISTINCT bidder) "
        "FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(at), INTERVAL '3' SECOND)) GROUP BY auction, window_start, window_end",
    ),
    Sink(
        "joined",
        "id INT, seller INT, price INT, opened TIMESTAMP(3), at TIMESTAMP(3)",
        "SELECT a.id, a.seller, b.price, a.opened, b.at FROM auctions a JOIN bids b ON a.id = b.auction "
        "AND b.at BETWEEN a.opened AND a.opened + INTERVAL '4' SECOND",
    ),
    Sink(
        "told",
        "auction INT, what STRING, n BIGINT, prices ARRAY<INT>, bidders MAP<STRING, BIGINT>, at TIMESTAMP(3)",
        "SELECT * FROM bidding(TABLE bids PARTITION BY auction, on_time => DESCRIPTOR(at))",
    ),
    Sink(
        "parted",
        "auction INT, bidder INT, price INT, ten STRING",
        "SELECT auction, bidder, price, CONCAT(SUBSTRING(DATE_FORMAT(at, 'yyyy-MM-dd HH:mm:ss'), 1, 18), '0') FROM bids",
        partitions="ten",
    ),
    Sink(
        "summed",
        "auction INT, total BIGINT",
        "SELECT auction, SUM(CAST(price AS BIGINT)) OVER (PARTITION BY auction ORDER BY at ROWS BETWEEN 2 PRECEDING AND "
        "CURRENT ROW) FROM bids",
    ),
    Sink("late"),
    Sink("rejected"),
)
CHANGES = (
    Sink(
        "grouped",
        "auction INT, n BIGINT, total BIGINT, highest INT",
        "SELECT auction, COUNT(*), SUM(price), MAX(price) FROM bids GROUP BY auction",
        True,
    ),
    Sink(
        "top",
        "auction INT, bidder INT, price INT, at TIMESTAMP(3), r BIGINT",
        "SELECT auction, bidder, price, at, r FROM (SELECT *, ROW_NUMBER() OVER "
        "(PARTITION BY auction ORDER BY price DESC, at, bidder) AS r FROM bids) WHERE r <= 3",
        True,
    ),
    Sink(
        "outer_joined",
        "id INT, seller INT, total BIGINT",
        "SELECT a.id, a.seller, b.total FROM auctions a LEFT JOIN "
        "(SELECT auction, SUM(price) AS total FROM bids WHERE price > 300 GROUP BY auction) b ON a.id = b.auction",
        True,
    ),
    Sink(
        "two_levels",
        "category INT, best_avg BIGINT, n BIGINT",
        "SELECT category, AVG(final), COUNT(*) FROM (SELECT a.id, a.category, MAX(CAST(b.price AS BIGINT)) AS final "
        "FROM auctions a JOIN bids b ON a.id = b.auction AND b.at BETWEEN a.opened AND a.opened + INTERVAL '6' SECOND "
        "GROUP BY a.id, a.category) GROUP BY category",
        True,
    ),
    Sink(
        "by_key",
        "grade INT, n BIGINT, total BIGINT, highest INT",
        "SELECT grade, COUNT(*), SUM(sales), MAX(sales) FROM sellers WHERE sales > 100 GROUP BY grade",
        True,
    ),
    Sink("rejected"),
)


@dataclass(frozen=True)
class Work:
    """A job: its script, and its sinks. `rows`: how many it reads, where its script says that and not its inputs."""

    sinks: tuple[Sink, ...]
    sql: str
    rows: int = 0


def _set(sinks: tuple[Sink, ...]) -> Work:
    written = [s for s in sinks if s.query]
    inserts = [f"INSERT INTO {s.name} {s.query};" for s in written]
    head = [TABLES, *(s.table for s in written), "SET 'table.exec.late-rows.sink' = 'late';"]
    return Work(sinks, "\n".join([*head, "EXECUTE STATEMENT SET BEGIN", *inserts, "END;"]))


def _nexmark(query: str, events: int) -> Work:
    script = generated(query, events)
    table = (
        f"CREATE TABLE {query} WITH ('connector' = 'filesystem', 'path' = 'out/{query}', 'format' = 'debezium-json')"
    )
    return Work((Sink(query, "", "", True),), ";\n".join((*script.setup, f"{table} AS {script.select};\n")), events)


SETS = {"append": _set(APPEND), "changes": _set(CHANGES)}
# Those with state. What q12 counts depends on the clock, so that no two runs need to agree.
NEXMARK = {
    q: _nexmark(q, 30_000)
    for q in ("q3", "q4", "q5", "q6", "q7", "q8", "q9", "q11", "q15", "q16", "q17", "q18", "q19", "q20", "q23")
}
WORK = {**SETS, **NEXMARK}


PLACES = {"bids": 3, "auctions": 2, "sellers": 2}  # and how many files


def write_inputs(directory: Path, rows: int, seed: int) -> None:
    """Bids in three files and auctions in two; times out of order, some late, some lines of bids cut short. Sellers that
    come, change and go."""
    r = random.Random(seed)
    start = 1_700_000_000_000

    def stamp(i: int) -> str:
        late = r.choice((0, 0, 0, 400, 1500, 1500, 6000 if r.random() < 0.1 else 100))
        ms = start + i * 40_000 // rows - r.randrange(late + 1)
        return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(ms // 1000)) + f".{ms % 1000:03d}"

    files = {}
    for name, n in PLACES.items():
        (directory / name).mkdir(parents=True)
        suffix = "csv" if name == "auctions" else "json"
        files[name] = [(directory / name / f"{k}.{suffix}").open("w") for k in range(n)]
    keys = 300
    for i in range(rows):
        bid = {
            "auction": min(r.randrange(keys), r.randrange(keys)),
            "bidder": r.randrange(60),
            "price": r.randrange(1000),
        }
        line = json.dumps({**bid, "at": stamp(i)})
        r.choice(files["bids"]).write((line if r.random() < 0.98 else line[: r.randrange(1, 9)]) + "\n")
        if i % (max(rows // keys, 1)) == 0:
            auction = f'{i * keys // rows},{r.randrange(9)},{r.randrange(5)},"{stamp(i)}"'
            r.choice(files["auctions"]).write(auction + "\n")
        if i % 3 == 0:
            key = {"id": r.randrange(200)}
            row = {**key, "grade": r.randrange(6), "sales": r.randrange(1000)}
            op = r.choice("cuuud")
            change = {"before": None if op == "c" else key, "after": None if op == "d" else row, "op": op}
            r.choice(files["sellers"]).write(json.dumps(change) + "\n")
    for group in files.values():
        for f in group:
            f.close()


def cut_inputs(source: Path, target: Path, read: dict[str, int]) -> None:
    """Of each file of the inputs its first lines: as many as `read` says, by `<folder>/<file>`."""
    for path in sorted(p for name in PLACES for p in (source / name).glob("*.*")):
        name = f"{path.parent.name}/{path.name}"
        copy = target / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text("".join(path.read_text().splitlines(keepends=True)[: read.get(name, 0)]))
