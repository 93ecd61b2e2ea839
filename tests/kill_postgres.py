"""Kills a job that writes to a database exactly once, and its server, at random moments until the job is done.

    python tests/kill_postgres.py --kills 200 --seed 7 [--server mariadb]

The job appends rows to one table and counts them by key in another, which it also deletes from. Its process is killed after
a random time or at a random fault point, at random parallelism; now and then the server is killed or restarted under it.
Meanwhile a reader looks at both tables in one query again and again: they must always belong together, since whole checkpoints
are seen and nothing else. In the end each row is there once, each count is right, and nothing is left staged.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from harness.lives import NEVER, start
from harness.servers import MariaDB, PostgreSQL, ServerError

from sqlstream import faults

ROWS = 6000
SCRIPT = """
SET 'pipeline.name' = 'killed';
SET 'execution.checkpointing.interval' = '{interval} ms';
SET 'execution.epoch.max-rows' = '{rows}';
SET 'restart-strategy.type' = 'fixed-delay';
SET 'restart-strategy.fixed-delay.attempts' = '100';
SET 'restart-strategy.fixed-delay.delay' = '200 ms';
CREATE TABLE bids (id INT, auction INT, price INT)
  WITH ('connector' = 'filesystem', 'path' = 'bids', 'format' = 'json');
CREATE TABLE dear (id INT, auction INT, price INT) WITH (
  'connector' = 'jdbc', 'url' = '{url}', 'table-name' = 'dear', 'sink.delivery-guarantee' = 'exactly-once');
CREATE TABLE best (auction INT, n BIGINT, highest INT, tag STRING, PRIMARY KEY (auction) NOT ENFORCED) WITH (
  'connector' = 'jdbc', 'url' = '{url}', 'table-name' = 'best', 'sink.delivery-guarantee' = 'exactly-once');
CREATE TABLE counts (auction INT, n BIGINT, PRIMARY KEY (auction) NOT ENFORCED) WITH (
  'connector' = 'jdbc', 'url' = '{url}', 'table-name' = 'counts', 'sink.delivery-guarantee' = 'exactly-once');
EXECUTE STATEMENT SET BEGIN
  INSERT INTO dear SELECT id, auction, price FROM bids WHERE price > 500;
  INSERT INTO counts SELECT auction, COUNT(*) FROM bids WHERE price > 500 GROUP BY auction;
  INSERT INTO best SELECT auction, COUNT(*), MAX(price), '{{"a": 1}}' FROM bids GROUP BY auction
    HAVING MOD(COUNT(*), 5) <> 0;
END;
"""
TABLES = """
CREATE TABLE dear (id int, auction int, price int);
CREATE TABLE counts (auction int PRIMARY KEY, n int);
CREATE TABLE best (auction int PRIMARY KEY, n bigint, highest int, tag jsonb);
"""
APART = """
SELECT count(*) FROM (SELECT auction, count(*) AS n FROM dear GROUP BY auction) d
FULL JOIN counts c ON c.auction = d.auction WHERE c.n IS DISTINCT FROM d.n
"""

TABLES_OF_MARIADB = """
CREATE TABLE dear (id int, auction int, price int);
CREATE TABLE counts (auction int PRIMARY KEY, n int);
CREATE TABLE best (auction int PRIMARY KEY, n bigint, highest int, tag json);
"""
# without FULL JOIN: sums of what both sides have
APART_OF_MARIADB = """
SELECT count(*) FROM (SELECT auction, sum(n) AS n FROM (
  SELECT auction, count(*) AS n FROM dear GROUP BY auction UNION ALL SELECT auction, -n FROM counts) both_sides GROUP BY auction) d WHERE n <> 0
"""
Server = PostgreSQL | MariaDB


def asked(server: Server, sql: str, database: str) -> str:
    """What SQL prints: rows by lines, values parted by |."""
    return (
        server.psql(sql, database) if isinstance(server, PostgreSQL) else server.sql(sql, database).replace("\t", "|")
    )


def apart_of(server: Server) -> str:
    return APART if isinstance(server, PostgreSQL) else APART_OF_MARIADB


def url_of(server: Server, database: str) -> str:
    return (
        server.url(database)
        if isinstance(server, PostgreSQL)
        else f"mysql://root:{server.password}@{server.address}/{database}"
    )


@dataclass
class Outcome:
    """What happened so far."""

    kills: int = 0
    servers: int = 0
    jobs: int = 0
    looks: int = 0
    changes: int = 0  # of what the reader saw


@dataclass
class Reader:
    """Looks at the tables until it is told to end."""

    server: Server
    database: str
    outcome: Outcome
    wrong: list[str] = field(default_factory=list)
    _end: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        last = ""
        while not self._end.is_set():
            with contextlib.suppress(ServerError):  # it is being killed
                apart, seen = asked(
                    self.server, f"{apart_of(self.server)}; SELECT count(*) FROM dear", self.database
                ).split()
                self.outcome.looks += 1
                self.outcome.changes += seen != last
                last = seen
                if apart != "0":
                    self.wrong.append(f"{apart} auctions have not the count of their rows")
            time.sleep(0.02)

    def end(self) -> None:
        self._end.set()


def one_job(
    server: Server, directory: Path, seed: int, outcome: Outcome, most: int, servers: bool, size: int = ROWS
) -> None:
    """A job from its start to its end, killed at most so often. AssertionError when its tables are not right."""
    r = random.Random(seed)
    directory.mkdir(parents=True)
    bids = [{"id": i, "auction": r.randrange(60), "price": r.randrange(1000)} for i in range(size)]
    (directory / "bids").mkdir()
    for n in range(4):
        lines = "".join(json.dumps(b) + "\n" for b in bids[n::4])
        (directory / f"bids/{n}.json").write_text(lines)
    database = server.database()
    asked(server, TABLES if isinstance(server, PostgreSQL) else TABLES_OF_MARIADB, database)
    script = SCRIPT.format(interval=r.choice((20, 50, 100)), rows=r.choice((100, 250)), url=url_of(server, database))
    (directory / "job.sql").write_text(script)
    reader = Reader(server, database, outcome)
    thread = threading.Thread(target=reader.run)
    thread.start()
    try:
        lives = 0
        while True:
            lives += 1
            fault = None
            if lives <= most and r.random() < 0.5:
                fault = f"{r.choice(POINTS)}:{r.randrange(1, 6)}"
            tasks = r.choice((1, 2, 3))
            run = start(directory, ["run", "job.sql", "-D", f"parallelism.default={tasks}"], fault)
            touched = False
            if lives <= most and fault is None:
                run.process.join(r.uniform(0.3, 1.2))
                if servers and r.random() < 0.4:
                    (server.kill if r.random() < 0.7 else server.stop)()
                    touched = True
                    outcome.servers += 1
                    time.sleep(r.uniform(0, 0.5))
                    server.start()
                    run.process.join(r.uniform(0, 1.0))
                run.process.kill()
            status = run.wait()
            said = run.text()
            assert not any(n in said for n in NEVER), said
            if status == 0:
                break
            # a job that has not begun yet when the server goes says so and ends
            assert status == -9 or touched, f"ended with {status}:\n{said}"
            outcome.kills += status == -9
    finally:
        reader.end()
        thread.join()
    assert not reader.wrong, reader.wrong
    prices: dict[int, list[int]] = {}
    for b in bids:
        prices.setdefault(b["auction"], []).append(b["price"])
    dear = sorted((b["id"], b["auction"], b["price"]) for b in bids if b["price"] > 500)
    assert rows(server, database, "SELECT id, auction, price FROM dear ORDER BY id") == dear
    best = sorted((a, len(p), max(p)) for a, p in prices.items() if len(p) % 5)
    assert rows(server, database, "SELECT auction, n, highest FROM best ORDER BY auction") == best
    assert rows(server, database, apart_of(server)) == [(0,)]
    assert rows(server, database, "SELECT count(*) FROM sqlstream_staged") == [(0,)]
    outcome.jobs += 1


def rows(server: Server, database: str, sql: str) -> list[tuple[int, ...]]:
    return [tuple(map(int, line.split("|"))) for line in asked(server, sql, database).splitlines()]


POINTS = sorted(set(faults.POINTS) & {
    "after-prepare", "before-manifest", "after-manifest", "before-publish", "mid-publish", "after-publish", "republished",
})  # fmt: skip


def main() -> None:
    """The long form."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(3)))
    parser.add_argument("--server", choices=("postgresql", "mariadb"), default="postgresql")
    given = parser.parse_args()
    outcome, begun = Outcome(), time.monotonic()
    with (
        (PostgreSQL if given.server == "postgresql" else MariaDB)() as server,
        tempfile.TemporaryDirectory() as directory,
    ):
        n = 0
        while outcome.kills < given.kills:
            one_job(server, Path(directory) / str(n), given.seed + n, outcome, 12, servers=True)
            n += 1
            print(f"seed {given.seed}, {time.monotonic() - begun:.0f} s: {outcome}", flush=True)


if __name__ == "__main__":
    main()
