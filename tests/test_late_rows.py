"""The late set is a property of the input alone; and streaming(I) is batch(I without the late rows), or for sessions,
which close, what Flink's operator gives for rows in the order of their watermarks.

The same rows are late for epochs of 1, 1,000 and all rows, at parallelism 1 and 3, and when a job is stopped and
restored at another parallelism. Which rows are late is said independently too: by each row's watermark in its split.
"""

from __future__ import annotations

import itertools
import json
import math
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from harness import rows, ways
from harness.seed import random_of, said

from sqlstream.session import Session
from sqlstream.types import Schema

BASE = datetime(2024, 1, 1)
DELAY = 4
ROWS = 3000  # of each of three files
COLUMNS = f"id INT, k INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '{DELAY}' SECOND"


@dataclass(frozen=True)
class Given:
    """A row of the input: times in seconds, `wm` the watermark of its split before it."""

    id: int
    k: int
    ts: float
    wm: float


@dataclass(frozen=True)
class Late:
    """A query whose late operator's input has `id`. `late`: ids of the rows that are late; `answer`: the result as
    JSON lines, where it is not what batch gives without those."""

    name: str
    sql: str
    late: Callable[[list[Given]], set[int]]
    answer: Callable[[list[Given]], list[str]] | None = None


def by_window(size: float) -> Callable[[list[Given]], set[int]]:
    """Judged by the end of the row's last window."""
    return lambda given: {r.id for r in given if (r.ts // size + 1) * size <= r.wm}


def by_time(given: list[Given]) -> set[int]:
    return {r.id for r in given if r.ts <= r.wm}


def by_last(given: list[Given]) -> set[int]:
    """Judged by the last row of its key that came out: a row comes out when the watermark has come to its time, or,
    when it is behind that already, is past the one that it came with."""
    late, last = set(), dict[int, float]()
    out = sorted(given, key=lambda r: (r.wm, 1) if r.ts <= r.wm else (r.ts, 0))
    for (_, behind), rows_ in itertools.groupby(out, key=lambda r: (r.wm, 1) if r.ts <= r.wm else (r.ts, 0)):
        before = dict(last)
        for r in rows_:
            if behind and r.ts <= before.get(r.k, -math.inf):
                late.add(r.id)
            last[r.k] = max(last.get(r.k, r.ts), r.ts)
    return late


GAP = 3


def sessions(given: list[Given]) -> tuple[list[tuple[int, float, float, list[int]]], set[int]]:
    """(key, start, end, ids) of all sessions, and the late rows: rows go by watermark, then by arrival."""
    found: list[tuple[int, float, float, list[int]]] = []
    late = set()
    for r in sorted(given, key=lambda r: (r.wm, r.id)):
        start, end, ids = r.ts, r.ts + GAP, [r.id]
        for s in [s for s in found if s[0] == r.k and s[2] > r.wm and s[1] <= r.ts + GAP and r.ts <= s[2]]:
            found.remove(s)
            start, end, ids = min(start, s[1]), max(end, s[2]), ids + s[3]
        if end <= r.wm:
            late.add(r.id)
        else:
            found.append((r.k, start, end, ids))
    return found, late


def session_lines(given: list[Given]) -> list[str]:
    return [json.dumps([k, at(start), at(end), len(ids), sum(ids)]) for k, start, end, ids in sessions(given)[0]]


def versions(given: list[Given]) -> tuple[list[tuple[int, int, int]], set[int]]:
    """(id, key, id of the version) of all rows with the last row of their key at their time, and the late rows: versions and
    rows go by the watermark that they came with, or, on time, just before their own time."""
    found: list[tuple[int, int, int]] = []
    late, newest = set(), dict[int, Given]()
    both = [(r.wm if r.ts <= r.wm else r.ts - 1e-6, joined, r) for r in given for joined in (0, 1)]
    for _, joined, r in sorted(both, key=lambda x: x[:2]):
        if not joined:
            newest[r.k] = max(newest.get(r.k, r), r, key=lambda v: (v.ts, v.id))
        elif newest[r.k].ts > r.ts:
            late.add(r.id)
        else:
            found.append((r.id, r.k, newest[r.k].id))
    return found, late


def at(seconds: float) -> str:
    return (BASE + timedelta(seconds=seconds)).isoformat(" ", "milliseconds")


QUERIES = (
    Late(
        "tumble",
        "SELECT k, window_end, COUNT(*), SUM(id) FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '5' SECOND)) "
        "GROUP BY k, window_start, window_end",
        by_window(5),
    ),
    # a row is late when it is late for all of its windows: the last one ends `size` after the slide that it is in
    Late(
        "cumulate",
        "SELECT k, window_end, COUNT(*), SUM(id) FROM TABLE(CUMULATE(TABLE t, DESCRIPTOR(ts), INTERVAL '10' SECOND, INTERVAL '10' SECOND)) "
        "GROUP BY k, window_start, window_end",
        by_window(10),
    ),
    Late(
        "session",
        "SELECT k, window_start, window_end, COUNT(*), SUM(id) FROM TABLE(SESSION(TABLE t PARTITION BY k, DESCRIPTOR(ts), INTERVAL '3' SECOND)) "
        "GROUP BY k, window_start, window_end",
        lambda given: sessions(given)[1],
        session_lines,
    ),
    Late("over", "SELECT id, COUNT(*) OVER (PARTITION BY k ORDER BY ts) FROM t", by_time),
    Late(
        "bounded over",
        "SELECT id, SUM(id) OVER (PARTITION BY k ORDER BY ts ROWS BETWEEN 3 PRECEDING AND CURRENT ROW) FROM t",
        by_last,
    ),
    Late(
        "temporal join",
        "WITH newest AS (SELECT id, k, ts FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY ts DESC) AS rn FROM t) "
        "WHERE rn = 1) SELECT l.id, l.k, r.id AS version FROM t AS l LEFT JOIN newest FOR SYSTEM_TIME AS OF l.ts AS r ON l.k = r.k",
        lambda given: versions(given)[1],
        lambda given: [json.dumps(row) for row in versions(given)[0]],
    ),
)


@dataclass(frozen=True)
class Input:
    splits: tuple[tuple[Given, ...], ...]

    def write(self, directory: Path, without: frozenset[int] = frozenset()) -> str:
        directory.mkdir(parents=True)
        for i, split in enumerate(self.splits):
            with (directory / f"{i}.json").open("w") as f:
                for r in split:
                    if r.id not in without:
                        f.write(json.dumps({"id": r.id, "k": r.k, "ts": at(r.ts)}) + "\n")
        return (
            f"CREATE TABLE t ({COLUMNS}) WITH ('connector' = 'filesystem', 'path' = '{directory}', 'format' = 'json')"
        )

    @property
    def rows(self) -> list[Given]:
        return [r for s in self.splits for r in s]

    def late(self, query: Late) -> frozenset[int]:
        return frozenset(query.late(self.rows))

    def answer(self, query: Late, schema: Schema, directory: Path) -> Counter[rows.Row]:
        if query.answer is not None:
            return Counter(rows.expected_row(line, schema) for line in query.answer(self.rows))
        on_time = self.write(directory / "ontime", self.late(query))
        return ways.batch(ways.Case((on_time,), query.sql), directory)[0].fold.rows


def make(rng: random.Random) -> Input:
    splits = []
    number = 0
    for _ in range(3):
        rows_: list[Given] = []
        now, watermark = rng.randint(0, 30) * 1.0, -math.inf
        for _ in range(ROWS):
            now += rng.choice([0, 0, 0.5, 0.5, 1])
            back = rng.choice([0, 1, 2, 3]) if rng.random() < 0.97 else rng.randint(4, 60)
            number += 1
            rows_.append(Given(number, rng.randint(0, 20), now - back, watermark))
            watermark = max(now - back - DELAY, watermark)
        splits.append(tuple(rows_))
    return Input(tuple(splits))


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> tuple[Input, Path]:
    directory = tmp_path_factory.mktemp("late")
    made = make(random_of("late"))
    made.write(directory / "t")
    return made, directory


class Seen:
    """Ids of the rows handed to Session.on_late. Batches have the engine's names; `id` is the first column."""

    def __init__(self) -> None:
        self.ids: Counter[int] = Counter()

    def __call__(self, node: str, batch: pa.RecordBatch) -> None:
        self.ids.update(batch.column(0).to_pylist())


def table(path: Path) -> str:
    return f"CREATE TABLE t ({COLUMNS}) WITH ('connector' = 'filesystem', 'path' = '{path}', 'format' = 'json')"


@pytest.mark.parametrize("query", QUERIES, ids=lambda q: q.name)
def test_the_late_set_is_the_inputs(query: Late, given: tuple[Input, Path], tmp_path: Path) -> None:
    made, directory = given
    expected = made.late(query)
    assert 20 < len(expected) < ROWS, "an input with some late rows is wanted"
    answer = None
    setup = (table(directory / "t"),)

    for epoch_rows in (1000, 3 * ROWS, 50):
        for parallelism in (1, 3):
            if epoch_rows == 50 and parallelism == 3:
                continue
            seen = Seen()
            options = {
                "execution.runtime-mode": "streaming",
                "parallelism.default": str(parallelism),
                "execution.epoch.max-rows": str(epoch_rows),
            }
            fold = stream(ways.Case(setup, query.sql).session(tmp_path, options, on_late=seen), query.sql)
            where = said(f"{query.name}, epochs of {epoch_rows} rows, parallelism {parallelism}")
            assert seen.ids == Counter(expected), where
            if answer is None:
                answer = made.answer(query, fold.schema, tmp_path)
            difference = rows.difference(fold.rows, answer, fold.schema)
            assert difference is None, f"{where}: {difference}"


@pytest.mark.parametrize("query", QUERIES, ids=lambda q: q.name)
def test_the_late_set_after_a_restart(query: Late, given: tuple[Input, Path], tmp_path: Path) -> None:
    made, directory = given
    expected = made.late(query)
    case = ways.Case((table(directory / "t"),), query.sql)
    rng = random_of("late restart", query.name)
    seen = Seen()
    for run, parallelism in enumerate((1, 3, 2)):
        options = {
            "execution.runtime-mode": "streaming",
            "pipeline.name": "late",
            "parallelism.default": str(parallelism),
            "execution.epoch.max-rows": "700",
        }
        stop = rng.randint(2, 4) if run < 2 else None
        progress, schema = ways.insert(case, tmp_path, options, stop, on_late=seen)
    assert progress.state == "FINISHED"
    assert seen.ids == Counter(expected), said(query.name)
    assert progress.late_rows == len(expected)
    fold = ways.read_sink(tmp_path / "out", schema)
    difference = rows.difference(fold.rows, made.answer(query, schema, tmp_path), schema)
    assert difference is None, said(f"{query.name}: {difference}")


def test_epochs_of_one_row(tmp_path: Path) -> None:
    """The smallest epochs there are, on less input."""
    full = make(random_of("late one by one"))
    made = Input(tuple(s[:60] for s in full.splits))
    made.write(tmp_path / "t")
    for query in QUERIES:
        seen = Seen()
        options = {"execution.runtime-mode": "streaming", "execution.epoch.max-rows": "1"}
        stream(ways.Case((table(tmp_path / "t"),), query.sql).session(tmp_path, options, on_late=seen), query.sql)
        assert seen.ids == Counter(made.late(query)), said(query.name)


def test_a_row_late_for_some_of_its_windows(tmp_path: Path) -> None:
    """HOP: it counts in those that are open, and is not reported."""
    lines = [("00:00:01", 1), ("00:00:16", 2), ("00:00:07", 3), ("00:00:01", 4)]
    (tmp_path / "t").mkdir()
    text = "".join(json.dumps({"id": i, "k": 0, "ts": f"2024-01-01 {t}.000"}) + "\n" for t, i in lines)
    (tmp_path / "t" / "0.json").write_text(text)
    sql = (
        "SELECT window_end, SUM(id) FROM TABLE(HOP(TABLE t, DESCRIPTOR(ts), INTERVAL '5' SECOND, INTERVAL '10' SECOND)) "
        "GROUP BY window_start, window_end"
    )
    for size in ("1", "2", "100"):
        seen = Seen()
        options = {"execution.runtime-mode": "streaming", "execution.epoch.max-rows": size}
        fold = stream(ways.Case((table(tmp_path / "t"),), sql).session(tmp_path, options, on_late=seen), sql)
        found = {str(end)[11:]: int(total) for end, total in fold.rows}
        # before row 3 the watermark is 12 s: its window up to 10 s has closed, the one up to 15 s has not
        assert found == {"00:00:05": 1, "00:00:10": 1, "00:00:15": 3, "00:00:20": 2, "00:00:25": 2}, size
        assert seen.ids == Counter([4]), size


def stream(session: Session, sql: str) -> rows.Fold:
    (result,) = session.execute(sql)
    assert result.schema is not None
    fold = rows.Fold(result.schema)
    for batch, kinds in result.batches():
        fold.add(batch, kinds)
    return fold
