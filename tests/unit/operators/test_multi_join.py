"""MultiJoin: by hand, then against DuckDB at every epoch."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from harness.seed import random_of, said

from sqlstream.expressions import Call, Column, Expr
from sqlstream.operators import pairs
from sqlstream.operators.multi_join import MultiJoin
from sqlstream.types import BIGINT, BOOLEAN, INT, STRING, Schema
from tests.unit.operators.driver import Input, Run, query, schema, source
from tests.unit.operators.test_join import change

A, B, C = schema(a=BIGINT, k=INT, s=STRING), schema(b=BIGINT, k=INT, x=STRING), schema(c=BIGINT, k=INT, y=STRING)
NAMES = "a.a, a.k, a.s, b.b, b.k, b.x, c.c, c.k, c.y"
FIRST = Call(BOOLEAN, "<", (Column(BIGINT, 0, "a"), Column(BIGINT, 3, "b")))  # a < b
LAST = Call(BOOLEAN, ">", (Column(BIGINT, 6, "c"), Column(BIGINT, 0, "a")))  # c > a


def joined(*inputs: Input, residuals: tuple[Expr | None, ...] = (None, None, None)) -> MultiJoin:
    output = Schema(tuple(c for i in inputs for c in i.schema.columns))
    return MultiJoin(inputs, ((1,),) * 3, residuals, output, ttl=(0, 0, 0))


def test_each_input_is_kept_once() -> None:
    run = Run(joined(source(A), source(B), source(C)))
    assert run.node.traits.append_only
    assert run.epoch([(1, 7, "x"), (2, 7, "y")], [(5, 7, "r")]) == []
    assert run.epoch([], [(6, 7, "q"), (8, None, "n")], [(9, 7, "c")]) == [
        (a, 7, s, b, 7, x, 9, 7, "c") for a, s in ((1, "x"), (2, "y")) for b, x in ((5, "r"), (6, "q"))
    ]
    assert run.state_rows == 5
    run.restart(2)
    assert run.epoch([(3, 7, "z")]) == [(3, 7, "z", b, 7, x, 9, 7, "c") for b, x in ((5, "r"), (6, "q"))]


def test_what_goes_takes_its_rows_back_and_leaves_nothing() -> None:
    run = Run(joined(source(A, True), source(B, True, (0,)), source(C)))
    assert run.node.traits.key == ()
    run.epoch([("+I", 1, 7, "x"), ("+I", 1, 7, "x")], [("+I", 5, 7, "r")], [(9, 7, "c")])
    assert run.rows == [(1, 7, "x", 5, 7, "r", 9, 7, "c")] * 2
    # An update shows nothing in between.
    assert run.epoch([("-D", 1, 7, "x")], [("-U", 5, 7, "r"), ("+U", 5, 7, "q")]) == [
        ("+I", 1, 7, "x", 5, 7, "q", 9, 7, "c"), ("-D", 1, 7, "x", 5, 7, "r", 9, 7, "c"), ("-D", 1, 7, "x", 5, 7, "r", 9, 7, "c")]  # fmt: skip
    run.epoch([("-D", 1, 7, "x")], [("-D", 5, 7, "q")])
    assert run.rows == [] and run.state_rows == 1


def test_the_key_of_the_output() -> None:
    assert joined(source(A, key=(0,)), source(B, key=(0,)), source(C, key=(0,))).traits.key == (0, 3, 6)
    assert joined(source(A, key=(0,)), source(B, key=(1,)), source(C, key=(1,))).traits.key == (0,)
    assert joined(source(A, key=(1,)), source(B, key=(1,)), source(C, key=(1,))).traits.key == (1,)
    assert joined(source(A), source(B, key=(1,)), source(C, key=(1,))).traits.key == ()


@pytest.mark.parametrize("mode", ["append", "changelog", "keyed", "mixed"])
@pytest.mark.parametrize("conditions", [False, True])
@pytest.mark.parametrize("number", range(3))
def test_every_epoch_equals_duckdb(mode: str, conditions: bool, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng: random.Random = random_of(mode, conditions, number)
    monkeypatch.setattr(pairs, "PAIRS_A_PIECE", rng.choice([3, 1 << 20]))
    changes = [mode in ("changelog", "keyed"), mode != "append", mode != "append" and rng.random() < 0.5]
    key = (0,) if mode == "keyed" else ()
    inputs = [source(s, c, key) for s, c in zip((A, B, C), changes, strict=True)]
    node = joined(*inputs, residuals=(None, FIRST, LAST) if conditions else (None, None, None))
    run, live = Run(node, rng.choice([1, 3])), [Counter(), Counter(), Counter()]
    where = "WHERE a.a < b.b AND c.c > a.a" if conditions else ""
    for _ in range(12):
        run.epoch(*(change(rng, rows, c, bool(key), rng.randrange(6)) for rows, c in zip(live, changes, strict=True)))
        tables = {n: (s, list(rows.elements())) for n, s, rows in zip("abc", (A, B, C), live, strict=True)}
        expected = query(f"SELECT {NAMES} FROM a JOIN b ON a.k = b.k JOIN c ON b.k = c.k {where}", **tables)
        assert run.rows == expected, said(f"{mode}, {conditions}, {number}")
        if rng.random() < 0.3:
            run.restart(rng.choice([1, 2, 3]))
    run.close()
