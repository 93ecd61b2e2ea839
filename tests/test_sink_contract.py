"""The contract of sinks, by connectors that are not ours (`tests/sinks/`): killed at each point, nothing is lost or twice."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from harness.seed import SEED

from sqlstream.batches import Kind
from sqlstream.connectors.registry import CONNECTORS
from sqlstream.connectors.upsert import UpsertWriter
from sqlstream.errors import NotSupported, OptionError
from sqlstream.session import Session

ROOT = Path(__file__).resolve().parent.parent
SINKS = ROOT / "tests/sinks"
SCRIPT = """
SET 'pipeline.name' = 'both';
SET 'execution.checkpointing.interval' = '10 ms';
SET 'execution.epoch.max-rows' = '250';
CREATE TABLE bids (id INT, auction INT, price INT)
  WITH ('connector' = 'filesystem', 'path' = 'bids', 'format' = 'json');
CREATE TABLE dear (id INT, price INT) WITH ('connector' = 'sqlite-log', 'path' = 'out.db');
CREATE TABLE best (auction INT, n BIGINT, highest INT, PRIMARY KEY (auction) NOT ENFORCED)
  WITH ('connector' = 'sqlite-upsert', 'path' = 'out.db');
EXECUTE STATEMENT SET BEGIN
  INSERT INTO dear SELECT id, price FROM bids WHERE price > 500;
  INSERT INTO best SELECT auction, COUNT(*), MAX(price) FROM bids GROUP BY auction HAVING MOD(COUNT(*), 5) <> 0;
END;
"""


def run(place: Path, fault: str = "", tasks: int = 1) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **({"SQLSTREAM_FAULT": fault} if fault else {})}
    command = [sys.executable, str(SINKS / "sqlite_sinks.py"), "run", "job.sql", "-D", f"parallelism.default={tasks}"]
    return subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, timeout=120)


def content(place: Path) -> tuple[Counter[str], dict[int, tuple[int, int]], int]:
    with sqlite3.connect(place / "out.db") as db:
        log = Counter(v for (v,) in db.execute("SELECT value FROM log"))
        rows = [json.loads(v) for (v,) in db.execute("SELECT value FROM state")]
        left = db.execute("SELECT COUNT(*) FROM prepared").fetchone()[0]
    return log, {r["auction"]: (r["n"], r["highest"]) for r in rows}, left


@pytest.mark.parametrize(
    "point", ["after-prepare", "before-manifest", "after-manifest", "before-publish", "mid-publish", "after-publish"]
)
def test_killed(tmp_path: Path, point: str) -> None:
    r = random.Random(SEED)
    bids = [{"id": i, "auction": r.randrange(60), "price": r.randrange(1000)} for i in range(4000)]
    (tmp_path / "bids").mkdir()
    (tmp_path / "bids/0.json").write_text("".join(json.dumps(b) + "\n" for b in bids))
    (tmp_path / "job.sql").write_text(SCRIPT)
    for nth, tasks in ((3, 1), (4, 2)):
        done = run(tmp_path, f"{point}:{nth}", tasks)
        assert done.returncode == -signal.SIGKILL, done.stderr
    done = run(tmp_path)
    assert done.returncode == 0, done.stderr
    prices: dict[int, list[int]] = {}
    for b in bids:
        prices.setdefault(b["auction"], []).append(b["price"])
    log, state, left = content(tmp_path)
    assert log == Counter(json.dumps({"id": b["id"], "price": b["price"]}) for b in bids if b["price"] > 500)
    assert state == {a: (len(p), max(p)) for a, p in prices.items() if len(p) % 5}
    assert left == 0


class Told(UpsertWriter):
    def __init__(self) -> None:
        super().__init__(("k", "l"))
        self.told: list[tuple[str, list[tuple[object, ...]]]] = []

    def upsert(self, rows: pa.RecordBatch) -> None:
        self.told.append(("upsert", [tuple(r.values()) for r in rows.to_pylist()]))

    def delete(self, keys: pa.RecordBatch) -> None:
        self.told.append(("delete", [tuple(r.values()) for r in keys.to_pylist()]))


def changes(*rows: tuple[Kind, int, str, int]) -> tuple[pa.RecordBatch, np.ndarray]:
    kinds, v, k, last = zip(*rows, strict=True)
    return pa.record_batch({"v": list(v), "k": list(k), "l": list(last)}), np.array(kinds, np.int8)


def test_the_last_change_of_a_key_counts() -> None:
    writer = Told()
    i, u, d = Kind.INSERT, Kind.UPDATE_AFTER, Kind.DELETE
    writer.write(*changes((i, 1, "a", 1), (i, 2, "a", 2), (d, 2, "a", 2), (i, 9, "b", 1)))
    writer.write(*changes((u, 3, "a", 1), (d, 0, "c", 1), (d, 9, "b", 1), (i, 4, "b", 1)))
    assert writer.told == []
    writer.flush()
    assert writer.told == [("upsert", [(3, "a", 1), (4, "b", 1)]), ("delete", [("a", 2), ("c", 1)])]
    writer.flush()
    assert len(writer.told) == 2
    writer.write(pa.record_batch({"v": [1], "k": ["a"], "l": [1]}), None)
    writer.flush()
    assert writer.told[2:] == [("upsert", [(1, "a", 1)])]


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    monkeypatch.syspath_prepend(str(SINKS))
    import sqlite_sinks  # type: ignore[import-not-found]

    before = dict(CONNECTORS)
    sqlite_sinks.register()
    session = Session(options={"execution.runtime-mode": "streaming", "parallelism.default": "2"})
    yield session
    CONNECTORS.clear()
    CONNECTORS.update(before)


T = """
CREATE TABLE t (a INT, b INT) WITH ('connector' = 'datagen', 'number-of-rows' = '10');
CREATE TABLE out (a INT, n BIGINT, PRIMARY KEY (a) NOT ENFORCED) WITH ('connector' = 'sqlite-upsert', 'path' = 'x');
CREATE TABLE log (a INT, b INT) WITH ('connector' = 'sqlite-log', 'path' = 'x');
"""


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("SELECT b, COUNT(*) FROM t GROUP BY a, b", "are known by|have no key"),
        ("SELECT MAX(a), COUNT(*) FROM t GROUP BY b", "have no key that is known"),
    ],
)
def test_changes_of_another_key_are_refused(session: Session, query: str, text: str) -> None:
    with pytest.raises(NotSupported, match=text) as e:
        list(session.execute(f"{T} INSERT INTO out {query}"))
    assert e.value.hint and "PARTITION BY a" in e.value.hint


def test_it_needs_a_key(session: Session) -> None:
    no_key = T.replace(", PRIMARY KEY (a) NOT ENFORCED", "")
    with pytest.raises(OptionError, match="it has none"):
        list(session.execute(f"{no_key} INSERT INTO out SELECT a, COUNT(*) FROM t GROUP BY a"))


def test_rows_of_a_key_come_to_one_task(session: Session) -> None:
    (*_, explained) = session.execute(f"{T} EXPLAIN INSERT INTO out SELECT a, CAST(b AS BIGINT) FROM t")
    text = str([b.to_pylist() for b, _ in explained.batches()])
    assert "Exchange(" in text, text
    (*_, explained) = session.execute("EXPLAIN INSERT INTO log SELECT a, b FROM t")
    assert "Exchange(" not in str([b.to_pylist() for b, _ in explained.batches()])


@pytest.mark.parametrize("tasks", [1, 2])
@pytest.mark.parametrize("second", ["out", "other"])
def test_two_statements_may_write_to_one_place(tmp_path: Path, tasks: int, second: str) -> None:
    """In a stream as in batch, by one table or by two: their files, and their transactions, have names of their own."""
    session = Session(
        working_directory=str(tmp_path),
        options={"execution.runtime-mode": "streaming", "parallelism.default": str(tasks)},
    )
    (tmp_path / "in.json").write_text("".join(json.dumps({"a": i}) + "\n" for i in range(100)))
    for result in session.execute(
        "CREATE TABLE t (a INT) WITH ('connector' = 'filesystem', 'path' = 'in.json', 'format' = 'json');"
        "CREATE TABLE out (a INT) WITH ('connector' = 'filesystem', 'path' = 'out', 'format' = 'json');"
        "CREATE TABLE other (a INT) WITH ('connector' = 'filesystem', 'path' = './out/', 'format' = 'json');"
        f"EXECUTE STATEMENT SET BEGIN INSERT INTO out SELECT a FROM t; INSERT INTO {second} SELECT a + 100 FROM t; END;"
    ):
        for _ in result.batches():
            pass
    found = [json.loads(x)["a"] for p in (tmp_path / "out").glob("part-*") for x in p.read_text().splitlines()]
    assert sorted(found) == list(range(200))
