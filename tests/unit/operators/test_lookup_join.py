from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from sqlstream.clock import PositionClock
from sqlstream.connectors.filesystem import FilesystemConnector
from sqlstream.contracts import ScanColumn, ScanRequest, Source, SourceBatch, Split, SplitReader, TableContext
from sqlstream.errors import DataError, OptionError
from sqlstream.expressions import Call, Column, Literal
from sqlstream.operators.lookup_join import LookupJoin, LookupTable
from sqlstream.types import BIGINT, BOOLEAN, STRING, Schema
from tests.unit.operators.driver import Run, query, schema, source, tuples

L, R = schema(a=BIGINT, k=STRING), schema(k=STRING, b=BIGINT)


@dataclass(frozen=True)
class Rows(Source):
    rows: tuple[tuple[Any, ...], ...]

    def splits(self, known: tuple[Split, ...] = ()) -> list[Split]:
        return [Split("even"), Split("odd")]

    def reader(self, split: Split, position: Any, request: ScanRequest, first_row: int = 0) -> SplitReader:
        return Reader(self.rows[split.id == "odd" :: 2], request)


class Reader(SplitReader):
    def __init__(self, rows: Sequence[tuple[Any, ...]], request: ScanRequest) -> None:
        s = request.arrow_schema()
        columns = [pa.array([r[i] for r in rows], f.type) for i, f in enumerate(s)]
        self.batch: pa.RecordBatch | None = pa.RecordBatch.from_arrays(columns, schema=s)

    def poll(self, max_rows: int) -> SourceBatch | None:
        batch, self.batch = self.batch, None
        return None if batch is None else SourceBatch(batch, 0, 0)

    @property
    def finished(self) -> bool:
        return self.batch is None


def lookup(left, rows: list, kind: str, residual=None, null_safe=False) -> LookupJoin:
    request = ScanRequest((ScanColumn(("k",), STRING), ScanColumn(("b",), BIGINT)))
    b = Column(BIGINT, 1)
    more, small = Call(BIGINT, "+", (b, Literal(BIGINT, 1))), Call(BOOLEAN, "<", (b, Literal(BIGINT, 100)))
    table = LookupTable("r", Rows(tuple(rows)), request, (Column(STRING, 0), more), small, R)
    return LookupJoin((left,), table, kind, (1,), (0,), (null_safe,), residual, Schema((*L.columns, *R.columns)))


ROWS = [("x", 1), ("x", 2), (None, 3), ("y", 4), ("z", 500)]


def test_hidden_columns_and_order_stay() -> None:
    run = Run(lookup(source(L, row_wm=True, arrival=True), ROWS, "LEFT"))
    from sqlstream.batches import Delta
    from tests.unit.operators.driver import batch

    (out,) = (
        run.tasks[0]
        .operator.step([Delta([batch(run.node.inputs[0], [(1, "z", 7, 1), (2, "x", 8, 2), (3, None, 9, 3)])])])
        .batches
    )
    assert tuples(out) == [(1, "z", None, None, 7, 1), (2, "x", "x", 2, 8, 2), (2, "x", "x", 3, 8, 2), (3, None, None, None, 9, 3)]  # fmt: skip


def test_retraction_meets_the_same_rows() -> None:
    run = Run(lookup(source(L, True), ROWS, "INNER"))
    assert run.epoch([("+I", 1, "y")]) == [("+I", 1, "y", "y", 5)]
    run.restart()
    assert run.epoch([("-D", 1, "y")]) == [("-D", 1, "y", "y", 5)]


@pytest.mark.parametrize("null_safe", [False, True])
@pytest.mark.parametrize("kind", ["INNER", "LEFT"])
def test_against_duckdb(kind: str, null_safe: bool) -> None:
    seed = random.randrange(10**6)
    rng = random.Random(seed)
    residual = Call(BOOLEAN, "<", (Column(BIGINT, 0), Column(BIGINT, 3)))
    rows = [(rng.choice(["x", "y", None, "z"]), rng.randrange(120)) for _ in range(20)]
    left = [(rng.randrange(120), rng.choice(["x", "y", None, "w"])) for _ in range(60)]
    run = Run(lookup(source(L), rows, kind, residual, null_safe))
    run.epoch(left[:20])
    run.restart(2)
    run.epoch(left[20:])
    same = "IS NOT DISTINCT FROM" if null_safe else "="
    sql = f"SELECT * FROM l {kind} JOIN (SELECT k, b + 1 AS b FROM r WHERE b < 100) r ON l.k {same} r.k AND a < r.b"
    assert run.rows == query(sql, l=(L, left), r=(R, rows)), f"seed {seed}"
    run.close()


class Hand(PositionClock):
    """A clock that tests set, in seconds."""

    def __init__(self) -> None:
        super().__init__(start=0)
        self.time = 0.0

    def now(self) -> int:
        return int(self.time * 1e6)

    def monotonic(self) -> float:
        return self.time


class Files:
    """A job that looks up in a csv file."""

    def __init__(self, directory: Path, left: Any = None, **options: str) -> None:
        self.path, self.clock = directory / "r.csv", Hand()
        self.write("x", 1)
        table = TableContext("r", R, {"path": str(self.path), "format": "csv", **options})
        request = ScanRequest((ScanColumn(("k",), STRING), ScanColumn(("b",), BIGINT)))
        found = LookupTable(
            "r", FilesystemConnector().source(table), request, (Column(STRING, 0), Column(BIGINT, 1)), None, R
        )
        columns = Schema((*L.columns, *R.columns))
        node = LookupJoin((left or source(L),), found, "INNER", (1,), (0,), (False,), None, columns)
        self.run = Run(node, clock=self.clock)

    def write(self, key: str, value: object) -> None:
        other = self.path.with_suffix(".new")
        other.write_text(f"{key},{value}\n")
        other.replace(self.path)

    def sees(self, *row: Any, after: float = 3600.0) -> list[Any]:
        """What x finds so many seconds later; many, as a look that took long is not repeated soon."""
        self.clock.time += after
        return [r[-1] for r in self.run.epoch([row or (1, "x")])]


def test_a_file_that_changed_is_read_again(tmp_path: Path) -> None:
    files = Files(tmp_path)
    assert files.sees() == [1]
    files.write("x", 22)
    assert files.sees() == [22]
    assert files.sees(after=0) == [22]  # a look has its price: the next is a little later
    # While it is being replaced what was read last holds, but not for good.
    files.path.unlink()
    assert files.sees() == [22]
    files.write("x", "no number")
    assert files.sees(after=5) == [22]
    files.write("x", 333)
    assert files.sees() == [333]
    files.write("x", "no number")
    assert files.sees() == [333]
    with pytest.raises(DataError, match="no number is not a BIGINT"):
        files.sees(after=600)


def test_a_full_cache_stays_until_it_is_reloaded(tmp_path: Path) -> None:
    files = Files(tmp_path, **{"lookup.cache": "FULL"})
    files.write("x", 22)
    assert files.sees() == [1]
    files.run.restart()
    assert files.sees() == [22]

    files = Files(tmp_path, **{"lookup.cache": "FULL", "lookup.full-cache.periodic-reload.interval": "10 min"})
    files.write("x", 22)
    assert files.sees(after=599) == [1]
    assert files.sees(after=2) == [22]


def test_a_left_side_that_changes_meets_one_table(tmp_path: Path) -> None:
    files = Files(tmp_path, source(L, True))
    assert files.sees("+I", 1, "x") == [1]
    files.write("x", 22)
    assert files.sees("-D", 1, "x") == [1]


def test_options_that_say_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="'lookup.cache' = 'FULL'"):
        Files(tmp_path, **{"lookup.full-cache.periodic-reload.interval": "10 min"})
    with pytest.raises(OptionError, match="'PARTIAL' is not a value"):
        Files(tmp_path, **{"lookup.cache": "PARTIAL"})
