"""Kills jobs that write into tables of a lake, from files and from another table of the lake that they follow, at random moments.

    python tests/kill_lakes.py --kills 60 --seed 7 --lake delta

The first job appends dear bids to a partitioned table, counts of windows to another, and keeps the number and the highest price of each auction
in a third, by its key. Its process is killed after a random time or at a random fault point, at random parallelism. Somebody else writes into
the first table all the while, and a reader looks at it again and again: no bid may be there twice. In the end each row is
there once, and those of the other writer are, too. Who looks is the lake's own library.

The second job follows a table that grows by versions of several files, and copies it: it is killed and started until the copy has
each row once.
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
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
from harness.lives import NEVER, start

from sqlstream import faults

ROWS = 4000
SCRIPT = """
SET 'pipeline.name' = 'killed';
SET 'execution.checkpointing.interval' = '{interval} ms';
SET 'execution.epoch.max-rows' = '{rows}';
CREATE TABLE bids (id INT, auction INT, price INT, at TIMESTAMP(3), WATERMARK FOR at AS at)
  WITH ('connector' = 'filesystem', 'path' = 'bids', 'format' = 'json');
CREATE TABLE dear (id INT, auction INT, price INT) PARTITIONED BY (auction) WITH ({dear});
CREATE TABLE windows (auction INT, w_end TIMESTAMP(3), n BIGINT) WITH ({windows});
CREATE TABLE best (auction INT, n BIGINT, highest INT, PRIMARY KEY (auction) NOT ENFORCED) WITH ({best});
EXECUTE STATEMENT SET BEGIN
  INSERT INTO dear SELECT id, MOD(auction, 3), price FROM bids WHERE price > 500;
  INSERT INTO windows SELECT auction, window_end, COUNT(*)
    FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(at), INTERVAL '10' SECOND)) GROUP BY auction, window_start, window_end;
  INSERT INTO best SELECT auction, COUNT(*), MAX(price) FROM bids GROUP BY auction HAVING MOD(COUNT(*), 5) <> 0;
END;
"""


class Delta:
    """Tables by deltalake."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def options(self, table: str) -> str:
        return f"'connector' = 'delta', 'table-path' = '{table}'"

    def table(self, name: str) -> pa.Table:
        from deltalake import DeltaTable

        return pa.table(DeltaTable(str(self.directory / name)).to_pyarrow_table())

    def followed(self, table: str) -> str:
        return f"{self.options(table)}, 'mode' = 'streaming', 'updateCheckIntervalMillis' = '20'"

    def make(self, name: str, rows: pa.Table) -> None:
        self.put(name, rows)

    def close(self) -> None:
        """It has nothing open."""

    def put(self, name: str, rows: pa.Table) -> None:
        from deltalake import write_deltalake

        write_deltalake(str(self.directory / name), rows, mode="append")


class Iceberg:
    """Tables by pyiceberg, in a catalog of SQLite."""

    def __init__(self, directory: Path) -> None:
        from pyiceberg.catalog.sql import SqlCatalog

        self.uri, self.warehouse = f"sqlite:///{directory}/catalog.db", str(directory / "warehouse")
        self.catalog = SqlCatalog("lake", uri=self.uri, warehouse=self.warehouse)

    def options(self, table: str) -> str:
        return (
            f"'connector' = 'iceberg', 'catalog-name' = 'lake', 'catalog-type' = 'sql', 'uri' = '{self.uri}', "
            f"'warehouse' = '{self.warehouse}', 'catalog-database' = 'db'"
        )

    def table(self, name: str) -> pa.Table:
        return self.catalog.load_table(("db", name)).scan().to_arrow()

    def followed(self, table: str) -> str:
        more = "'streaming' = 'true', 'monitor-interval' = '20 ms', 'starting-strategy' = 'TABLE_SCAN_THEN_INCREMENTAL'"
        return f"{self.options(table)}, {more}"

    def make(self, name: str, rows: pa.Table) -> None:
        self.catalog.create_namespace_if_not_exists("db")
        self.catalog.create_table(("db", name), rows.schema)
        self.put(name, rows)

    def close(self) -> None:
        self.catalog.close()

    def put(self, name: str, rows: pa.Table) -> None:
        self.catalog.load_table(("db", name)).append(rows)


LAKES: Mapping[str, Any] = {"delta": Delta, "iceberg": Iceberg}


@dataclass
class Outcome:
    """What happened so far."""

    kills: int = 0
    jobs: int = 0
    looks: int = 0
    theirs: int = 0  # versions that somebody else has written
    followed: int = 0  # tables that were copied while they grew


@dataclass
class Others:
    """Who reads the first table, and writes to it, until told to end."""

    lake: Any
    outcome: Outcome
    wrong: list[str] = field(default_factory=list)
    written: int = 0
    _end: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        while not self._end.is_set():
            try:
                ids = self.lake.table("dear").column("id").to_pylist()
            except Exception:  # it is not there yet
                time.sleep(0.02)
                continue
            self.outcome.looks += 1
            if len(set(ids)) != len(ids):
                self.wrong.append("a bid is there twice")
            if self.outcome.looks % 5 == 0:
                rows = {"id": [-1 - self.written], "auction": [0], "price": [0]}
                with contextlib.suppress(Exception):  # the job was faster
                    self.lake.put("dear", pa.table({k: pa.array(v, pa.int32()) for k, v in rows.items()}))
                    self.written += 1
                    self.outcome.theirs += 1
            time.sleep(0.02)

    def end(self) -> None:
        self._end.set()


def one_job(kind: str, directory: Path, seed: int, outcome: Outcome, most: int, size: int = ROWS) -> None:
    """A job from its start to its end, killed at most so often. AssertionError when its tables are not right."""
    r = random.Random(seed)
    (directory / "bids").mkdir(parents=True)
    bids = [
        {
            "id": i,
            "auction": r.randrange(40),
            "price": r.randrange(1000),
            "at": f"2026-01-01 00:{i // 600:02}:{i // 10 % 60:02}",
        }
        for i in range(size)
    ]
    for n in range(4):
        lines = "".join(json.dumps(b) + "\n" for b in bids[n::4])
        (directory / f"bids/{n}.json").write_text(lines)
    lake = LAKES[kind](directory)
    tables = {t: lake.options(t) for t in ("dear", "windows", "best")}
    script = SCRIPT.format(interval=r.choice((20, 50, 100)), rows=r.choice((100, 250)), **tables)
    (directory / "job.sql").write_text(script)
    others = Others(lake, outcome)
    thread = threading.Thread(target=others.run)
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
            if lives <= most and fault is None:
                run.process.join(r.uniform(0.2, 0.9))
                run.process.kill()
            status = run.wait()
            said = run.text()
            assert not any(n in said for n in NEVER), said
            if status == 0:
                break
            assert status == -9, f"ended with {status}:\n{said}"
            outcome.kills += 1
    finally:
        others.end()
        thread.join()
    assert not others.wrong, others.wrong
    found = lake.table("dear").to_pylist()
    dear = sorted((b["id"], b["auction"] % 3, b["price"]) for b in bids if b["price"] > 500)
    theirs = [(-1 - n, 0, 0) for n in reversed(range(others.written))]
    assert sorted((f["id"], f["auction"], f["price"]) for f in found) == [*theirs, *dear]
    counts: dict[tuple[int, str], int] = {}
    prices: dict[int, list[int]] = {}
    for b in bids:
        minute, second = int(b["at"][14:16]), int(b["at"][17:19])
        end = minute * 60 + second // 10 * 10 + 10
        key = (b["auction"], f"2026-01-01 00:{end // 60:02}:{end % 60:02}")
        counts[key] = counts.get(key, 0) + 1
        prices.setdefault(b["auction"], []).append(b["price"])
    windows = [(f["auction"], str(f["w_end"]), f["n"]) for f in lake.table("windows").to_pylist()]
    assert sorted(windows) == sorted((*k, n) for k, n in counts.items())
    best = sorted((a, len(p), max(p)) for a, p in prices.items() if len(p) % 5)
    assert sorted((f["auction"], f["n"], f["highest"]) for f in lake.table("best").to_pylist()) == best
    lake.close()
    outcome.jobs += 1


FOLLOW = """
SET 'pipeline.name' = 'followed';
SET 'execution.checkpointing.interval' = '{interval} ms';
SET 'execution.epoch.max-rows' = '{rows}';
SET 'execution.runtime-mode' = 'streaming';
CREATE TABLE source (id INT, auction INT, price INT) WITH ({source});
CREATE TABLE copy (id INT, auction INT, price INT) WITH ({copy});
INSERT INTO copy SELECT * FROM source;
"""


def one_following(kind: str, directory: Path, seed: int, outcome: Outcome, most: int, versions: int = 30) -> None:
    """A table that grows while it is copied by a job that is killed at most so often."""
    r = random.Random(seed)
    directory.mkdir(parents=True)
    lake = LAKES[kind](directory)
    rows = lambda ids: {"id": ids, "auction": [i % 3 for i in ids], "price": [i * 7 for i in ids]}  # noqa: E731
    table = lambda ids: pa.table({k: pa.array(v, pa.int32()) for k, v in rows(ids).items()})  # noqa: E731
    written = 300
    lake.make("source", table(list(range(written))))
    script = FOLLOW.format(
        interval=r.choice((20, 50, 100)),
        rows=r.choice((50, 250)),
        source=lake.followed("source"),
        copy=lake.options("copy"),
    )
    (directory / "job.sql").write_text(script)
    lives = 0
    run = None
    end = time.monotonic() + 180
    while True:
        if run is None:
            fault = f"{r.choice(POINTS)}:{r.randrange(1, 6)}" if lives < most and r.random() < 0.5 else None
            run = start(directory, ["run", "job.sql", "-D", f"parallelism.default={r.choice((1, 2, 3))}"], fault)
            lives, until = lives + 1, time.monotonic() + r.uniform(0.5, 2.5)
        if versions and r.random() < 0.7:
            ids = list(range(written, written + r.randrange(1, 100)))
            lake.put("source", table(ids))
            written, versions = written + len(ids), versions - 1
        time.sleep(0.05)
        if run.process.exitcode is None and lives <= most and time.monotonic() > until:
            run.process.kill()
        if (status := run.process.exitcode) is not None:
            assert status == -9, f"ended with {status}:\n{run.text()}"
            outcome.kills += 1
            run = None
        elif not versions and lives > most:
            with contextlib.suppress(Exception):  # it is not there yet
                if lake.table("copy").num_rows >= written:
                    break
        assert time.monotonic() < end, run and run.text()
    run.process.kill()
    run.process.join()
    found = sorted((f["id"], f["auction"], f["price"]) for f in lake.table("copy").to_pylist())
    assert found == [(i, i % 3, i * 7) for i in range(written)]
    lake.close()
    assert not any(n in run.text() for n in NEVER), run.text()
    outcome.followed += 1


POINTS = sorted(set(faults.POINTS) & {
    "after-prepare", "before-manifest", "after-manifest", "before-publish", "mid-publish", "after-publish", "republished",
})  # fmt: skip


def main() -> None:
    """The long form."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(3)))
    parser.add_argument("--lake", choices=LAKES, default=None)
    given = parser.parse_args()
    outcome, begun = Outcome(), time.monotonic()
    with tempfile.TemporaryDirectory() as directory:
        n = 0
        while outcome.kills < given.kills:
            kind = given.lake or sorted(LAKES)[n // 3 % len(LAKES)]
            (one_following if n % 3 == 2 else one_job)(kind, Path(directory) / str(n), given.seed + n, outcome, 12)
            n += 1
            print(f"seed {given.seed}, {time.monotonic() - begun:.0f} s: {outcome}", flush=True)


if __name__ == "__main__":
    main()
