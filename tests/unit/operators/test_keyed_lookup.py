"""Lookup joins with a table that is asked for keys: what is asked, what is remembered, and for how long."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest

from sqlstream.contracts import KeyedCache, KeyedReader, ScanColumn, ScanRequest, Source
from sqlstream.expressions import Call, Column, Literal
from sqlstream.operators.keyed_lookup import KeyedRows
from sqlstream.operators.lookup_join import LookupJoin, LookupTable
from sqlstream.types import BIGINT, BOOLEAN, STRING, Schema
from tests.unit.operators.driver import Run, query, schema, source
from tests.unit.operators.test_lookup_join import Hand

L, R = schema(a=BIGINT, k=STRING), schema(k=STRING, b=BIGINT)


class Asked(Source):
    """A table whose rows the test changes; `asked`: the keys of each query."""

    made: list[Asked] = []

    def __init__(self, rows: list[tuple[Any, ...]], cache: KeyedCache) -> None:
        self.table, self.keyed = rows, cache
        self.asked: list[list[Any]] = []
        self.made.append(self)

    def __reduce__(self) -> Any:
        return again, (self.made.index(self),)

    def keyed_reader(self, request: ScanRequest, keys: tuple[int, ...]) -> KeyedReader:
        assert keys == (0,)
        return AskedReader(self, request)


def again(n: int) -> Asked:
    """The same one in all tasks."""
    return Asked.made[n]


class AskedReader(KeyedReader):
    def __init__(self, source: Asked, request: ScanRequest) -> None:
        self.source, self.request = source, request

    def rows(self, keys: Sequence[pa.Array]) -> pa.RecordBatch:
        (wanted,) = (k.to_pylist() for k in keys)
        assert None not in wanted and len(set(wanted)) == len(wanted)
        self.source.asked.append(sorted(wanted))
        found = [r for r in self.source.table if r[0] in wanted or r[0] == "not asked for"]
        random.shuffle(found)
        s = self.request.arrow_schema()
        columns = [pa.array([r[i] for r in found], f.type) for i, f in enumerate(s)]
        return pa.RecordBatch.from_arrays(columns, schema=s)


def lookup(left, table: Asked, kind: str = "LEFT", residual=None) -> LookupJoin:
    request = ScanRequest((ScanColumn(("k",), STRING), ScanColumn(("b",), BIGINT)))
    b = Column(BIGINT, 1)
    more, small = Call(BIGINT, "+", (b, Literal(BIGINT, 1))), Call(BOOLEAN, "<", (b, Literal(BIGINT, 100)))
    looked_up = LookupTable("r", table, request, (Column(STRING, 0), more), small, R)
    return LookupJoin((left,), looked_up, kind, (1,), (0,), (False,), residual, Schema((*L.columns, *R.columns)))


ROWS = [("x", 1), ("x", 2), (None, 3), ("y", 4), ("z", 500), ("not asked for", 5)]


@pytest.mark.parametrize("kind", ["INNER", "LEFT"])
@pytest.mark.parametrize("cache", [KeyedCache(), KeyedCache(rows=2), KeyedCache(rows=None)])
def test_against_duckdb(kind: str, cache: KeyedCache) -> None:
    seed = random.randrange(10**6)
    rng = random.Random(seed)
    residual = Call(BOOLEAN, "<", (Column(BIGINT, 0), Column(BIGINT, 3)))
    names = [f"k{i}" for i in range(30)]
    rows = [(rng.choice([*names, None]), rng.randrange(120)) for _ in range(60)]
    left = [(rng.randrange(120), rng.choice([*names, "none", None])) for _ in range(200)]
    run = Run(lookup(source(L), Asked(rows, cache), kind, residual))
    for n in range(0, 150, 30):
        run.epoch(left[n : n + 30])
    run.restart(2)
    run.epoch(left[150:])
    sql = f"SELECT * FROM l {kind} JOIN (SELECT k, b + 1 AS b FROM r WHERE b < 100) r ON l.k = r.k AND a < r.b"
    assert run.rows == query(sql, l=(L, left), r=(R, rows)), f"seed {seed}"
    run.close()


def test_without_a_cache_each_epoch_asks_once_for_each_key() -> None:
    table = Asked(list(ROWS), KeyedCache())
    run = Run(lookup(source(L), table))
    run.epoch([(1, "x"), (2, "x"), (3, None), (4, "y")])
    assert table.asked == [["x", "y"]]
    table.table.remove(("y", 4))
    assert run.epoch([(1, "y")]) == [(1, "y", None, None)]
    assert run.epoch([(1, None)]) == [(1, None, None, None)]
    assert table.asked == [["x", "y"], ["y"]]
    run.close()


@pytest.mark.parametrize("missing", [True, False])
def test_what_is_remembered_is_not_asked_again(missing: bool) -> None:
    table = Asked(list(ROWS), KeyedCache(rows=3, missing=missing))
    run = Run(lookup(source(L), table))
    run.epoch([(1, "x"), (1, "none")])
    run.epoch([(1, "none"), (1, "y")])
    assert table.asked == [["none", "x"], ["y"] if missing else ["none", "y"]]
    table.asked.clear()
    run.epoch([(1, "z")])  # a fourth: x, which was not used for longest, goes
    run.epoch([(1, "y")])
    run.epoch([(1, "x")])
    # z has no row that is wanted; where such are not remembered, there are two
    assert table.asked == ([["z"], ["x"]] if missing else [["z"]])
    run.close()


@pytest.mark.parametrize(("after", "asked"), [("write", [0, 10, 20]), ("access", [0])])
def test_what_is_old_is_asked_again(after: str, asked: list[int]) -> None:
    clock = Hand()
    table = Asked(list(ROWS), KeyedCache(rows=10, **{f"after_{after}": 10_000_000}))
    run = Run(lookup(source(L), table), clock=clock)
    seen = []
    for second in range(0, 25, 5):
        clock.time = float(second)
        before = len(table.asked)
        run.epoch([(1, "x")])
        seen += [second] * (len(table.asked) - before)
    assert seen == asked
    clock.time = 40.0
    run.epoch([(1, "x")])
    assert table.asked[-1] == ["x"] and len(table.asked) == len(asked) + 1
    run.close()


def test_a_row_that_is_taken_back_meets_what_it_met() -> None:
    table = Asked(list(ROWS), KeyedCache())
    run = Run(lookup(source(L, True), table, "INNER"))
    assert run.epoch([("+I", 1, "y")]) == [("+I", 1, "y", "y", 5)]
    table.table.remove(("y", 4))
    assert run.epoch([("-D", 1, "y")]) == [("-D", 1, "y", "y", 5)]
    run.close()


def test_keys_and_rows_come_and_go() -> None:
    """Thousands of keys through a small cache, against a model of it."""
    rng = random.Random(5)
    s = pa.schema([("c0", pa.string()), ("c1", pa.int64())])
    rows = KeyedRows([pa.string()], s, KeyedCache(rows=40))
    model: dict[str, tuple[int, list[int]]] = {}  # by key: used when, and what it had
    for now in range(400):
        keys = sorted({f"k{rng.randrange(200)}" for _ in range(rng.randrange(1, 30))})
        slots, at = rows.wanted([pa.array(keys)], len(keys), now)
        asked = [keys[i] for i in at]
        assert sorted(asked) == [k for k in keys if k not in model]
        found = [(k, now * 100 + n) for k in asked for n in range(rng.randrange(4) * 20)]
        rng.shuffle(found)
        batch = pa.RecordBatch.from_pylist([{"c0": k, "c1": v} for k, v in found], schema=s)
        if len(slots):
            rows.put(slots, batch, [batch.column(0)], now)
        for k in keys:
            model[k] = (now, [v for key, v in found if key == k] if k in asked else model[k][1])
        got: dict[str, list[int]] = {k: [] for k in keys}
        for left, right in rows.probe([pa.array(keys)], len(keys)):
            for i, v in zip(left, rows.columns(right, [1])[0].to_pylist(), strict=True):
                got[keys[i]].append(v)
        assert {k: sorted(v) for k, v in got.items()} == {k: sorted(model[k][1]) for k in keys}
        rows.shrink()
        if len(model) > 40:
            kept = sorted(model, key=lambda k: model[k][0])[len(model) - 40 :]
            oldest = min(model[k][0] for k in kept)
            # of those that were used at the same time any may go
            held = {k for k in model if rows._index.find([pa.array([k])], 1)[0] >= 0}
            assert len(held) == 40 and held >= {k for k in model if model[k][0] > oldest}
            model = {k: model[k] for k in held}
        assert rows.size == len(model)
        assert rows.rows <= max(1024, 2 * sum(len(v) for _, v in model.values())) + 1800
