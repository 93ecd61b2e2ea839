from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pytest

from sqlstream.clock import PositionClock
from sqlstream.connectors.base import ScanColumn, ScanRequest, Source, SourceBatch, Split, SplitReader
from sqlstream.expressions import Call, Column
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


def lookup(left, rows: list, kind: str, residual=None, refresh=None) -> LookupJoin:
    request = ScanRequest((ScanColumn(("k",), STRING), ScanColumn(("b",), BIGINT)))
    table = LookupTable("r", Rows(tuple(rows)), request, (("c0", "c0"), ("c1", "c1 + 1")), "c1 < 100", R)
    return LookupJoin((left,), table, kind, (1,), (0,), residual, Schema((*L.columns, *R.columns)), refresh)


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


@pytest.mark.parametrize("kind", ["INNER", "LEFT"])
def test_against_duckdb(kind: str) -> None:
    seed = random.randrange(10**6)
    rng = random.Random(seed)
    residual = Call(BOOLEAN, "<", (Column(BIGINT, 0), Column(BIGINT, 3)))
    rows = [(rng.choice(["x", "y", None, "z"]), rng.randrange(120)) for _ in range(20)]
    left = [(rng.randrange(120), rng.choice(["x", "y", None, "w"])) for _ in range(60)]
    run = Run(lookup(source(L), rows, kind, residual))
    run.epoch(left[:20])
    run.restart(2)
    run.epoch(left[20:])
    sql = f"SELECT * FROM l {kind} JOIN (SELECT k, b + 1 AS b FROM r WHERE b < 100) r ON l.k = r.k AND a < r.b"
    assert run.rows == query(sql, l=(L, left), r=(R, rows)), f"seed {seed}"
    run.close()


def test_the_table_is_read_again_after_a_while() -> None:
    clock = PositionClock(start=0)
    run = Run(lookup(source(L), [("x", 1)], "INNER", refresh=1000), clock=clock)
    run.epoch([(1, "x")])
    rows = run.node.table.source
    object.__setattr__(rows, "rows", (("x", 7),))
    clock.rows(0, 0, 1)
    run.epoch([(2, "x")])
    clock.rows(0, 0, 2)  # row 1 is taken at 1000 µs
    run.epoch([(3, "x")])
    assert run.rows == [(1, "x", "x", 2), (2, "x", "x", 2), (3, "x", "x", 8)]
