"""The late set is a property of the input alone; and streaming(I) is batch(I without the late rows).

The same rows are late for epochs of 1, 1,000 and all rows, at parallelism 1 and 3, and when a job is stopped and
restored at another parallelism. Which rows are late is said independently too: by each row's watermark in its split.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from harness import rows, ways
from harness.seed import random_of, said

from sqlstream.session import Session

BASE = datetime(2024, 1, 1)
DELAY = 4
ROWS = 3000  # of each of three files
COLUMNS = f"id INT, k INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '{DELAY}' SECOND"


@dataclass(frozen=True)
class Late:
    """A query whose late operator's input has `id`, and which rows are late: by time and watermark, in seconds."""

    name: str
    sql: str
    size: float
    window: bool = True  # judged by the end of the row's last window, else by the row's time

    def late(self, ts: float, wm: float) -> bool:
        return (ts // self.size + 1) * self.size <= wm if self.window else ts <= wm


QUERIES = (
    Late(
        "tumble",
        "SELECT k, window_end, COUNT(*), SUM(id) FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '5' SECOND)) "
        "GROUP BY k, window_start, window_end",
        5,
    ),
    # a row is late when it is late for all of its windows: the last one ends `size` after the slide that it is in
    Late(
        "cumulate",
        "SELECT k, window_end, COUNT(*), SUM(id) FROM TABLE(CUMULATE(TABLE t, DESCRIPTOR(ts), INTERVAL '10' SECOND, INTERVAL '10' SECOND)) "
        "GROUP BY k, window_start, window_end",
        10,
    ),
    Late(
        "session",
        "SELECT k, window_start, window_end, COUNT(*), SUM(id) FROM TABLE(SESSION(TABLE t PARTITION BY k, DESCRIPTOR(ts), INTERVAL '3' SECOND)) "
        "GROUP BY k, window_start, window_end",
        0,
        False,
    ),
    Late("over", "SELECT id, COUNT(*) OVER (PARTITION BY k ORDER BY ts) FROM t", 0, False),
)


@dataclass(frozen=True)
class Input:
    splits: tuple[tuple[tuple[int, int, float, float | None], ...], ...]  # id, k, seconds, watermark before in seconds

    def write(self, directory: Path, without: frozenset[int] = frozenset()) -> str:
        directory.mkdir(parents=True)
        for i, split in enumerate(self.splits):
            with (directory / f"{i}.json").open("w") as f:
                for number, k, seconds, _ in split:
                    if number not in without:
                        ts = (BASE + timedelta(seconds=seconds)).isoformat(" ", "milliseconds")
                        f.write(json.dumps({"id": number, "k": k, "ts": ts}) + "\n")
        return (
            f"CREATE TABLE t ({COLUMNS}) WITH ('connector' = 'filesystem', 'path' = '{directory}', 'format' = 'json')"
        )

    def late(self, query: Late) -> frozenset[int]:
        return frozenset(
            number for s in self.splits for number, _, ts, wm in s if wm is not None and query.late(ts, wm)
        )


def make(rng: random.Random) -> Input:
    splits = []
    number = 0
    for _ in range(3):
        rows_: list[tuple[int, int, float, float | None]] = []
        now, watermark = rng.randint(0, 30) * 1.0, None
        for _ in range(ROWS):
            now += rng.choice([0, 0, 0.5, 0.5, 1])
            back = rng.choice([0, 1, 2, 3]) if rng.random() < 0.97 else rng.randint(4, 60)
            number += 1
            rows_.append((number, rng.randint(0, 20), now - back, watermark))
            watermark = max(now - back - DELAY, watermark if watermark is not None else now - back - DELAY)
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
    on_time = made.write(tmp_path / "ontime", expected)
    answer, _ = ways.batch(ways.Case((on_time,), query.sql), tmp_path)
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
            difference = rows.difference(fold.rows, answer.fold.rows, fold.schema)
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
    on_time = made.write(tmp_path / "ontime", expected)
    answer, _ = ways.batch(ways.Case((on_time,), query.sql), tmp_path)
    fold = ways.read_sink(tmp_path / "out", schema)
    difference = rows.difference(fold.rows, answer.fold.rows, schema)
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
