"""Kills a job that writes from files into tables of a lake, at random moments, until it is done.

    python tests/kill_lakes.py --kills 60 --seed 7 --lake delta

The job appends dear bids to a partitioned table, counts of windows to another, and keeps the number and the highest price of each auction
in a third, by its key. Its process is killed after a random time or at a random fault point, at random parallelism. Somebody else writes into
the first table all the while, and a reader looks at it again and again: no bid may be there twice. In the end each row is
there once, and those of the other writer are, too. Who looks is the lake's own library.
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
                run.process.join(r.uniform(0.3, 1.3))
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
    outcome.jobs += 1


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
            kind = given.lake or sorted(LAKES)[n % len(LAKES)]
            one_job(kind, Path(directory) / str(n), given.seed + n, outcome, 12)
            n += 1
            print(f"seed {given.seed}, {time.monotonic() - begun:.0f} s: {outcome}", flush=True)


if __name__ == "__main__":
    main()
