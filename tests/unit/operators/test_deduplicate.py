"""Deduplicate: by hand, then against DuckDB at every epoch."""

from __future__ import annotations

import random

import pytest

from sqlstream.operators.deduplicate import Deduplicate
from sqlstream.plan.nodes import SortKey
from sqlstream.types import BIGINT, DOUBLE, STRING, Column, Schema, timestamp
from tests.unit.operators.driver import Run, query, schema, source

S = schema(k=STRING, t=timestamp(3), v=STRING)
EARLIEST, LATEST = (SortKey(1),), (SortKey(1, False, False),)


def test_keep_last() -> None:
    run = Run(Deduplicate((source(S, arrival=True),), (0,), LATEST, "last", S))
    assert run.epoch([("a", 5, "x", 1), ("a", 5, "y", 2), ("b", 1, "z", 3)]) == [
        ("+I", "a", 5, "y"), ("+I", "b", 1, "z")]  # fmt: skip
    run.restart()
    assert run.epoch([("a", 4, "late", 4), ("b", 1, "tie", 5)]) == [("+U", "b", 1, "tie"), ("-U", "b", 1, "z")]


def test_keep_first_is_corrected_by_an_earlier_row() -> None:
    output = Schema((*S.columns, Column("rn", BIGINT)))
    run = Run(Deduplicate((source(S, arrival=True),), (0,), EARLIEST, "first", output))
    run.epoch([("a", 5, "x", 1), ("a", 5, "y", 2)])
    assert run.epoch([("a", 5, "tie", 3)]) == []
    assert run.epoch([("a", 3, "z", 3)]) == [("+U", "a", 3, "z", 1), ("-U", "a", 5, "x", 1)]


def test_without_arrival_ties_go_by_content() -> None:
    run = Run(Deduplicate((source(S),), (0,), LATEST, "last", S))
    run.epoch([("a", 5, "x"), ("a", 5, "y"), ("a", 4, "a")])
    run.restart(2)
    assert run.rows == [("a", 5, "x")]
    assert run.epoch([("a", 5, "b")]) == [("+U", "a", 5, "b"), ("-U", "a", 5, "x")]


def test_ordered_by_a_string() -> None:
    run = Run(Deduplicate((source(S, arrival=True),), (0,), (SortKey(2),), "first", S))
    run.epoch([("a", 1, "x", 1), ("a", 2, "w", 2)])
    assert run.rows == [("a", 2, "w")]


@pytest.mark.parametrize("keep", ["first", "last"])
@pytest.mark.parametrize("partition", [(0,), ()])
def test_every_epoch_equals_duckdb(keep: str, partition: tuple[int, ...]) -> None:
    seed = random.randrange(10**6)
    rng = random.Random(seed)
    s = schema(k=STRING, d=DOUBLE, v=BIGINT)
    order = tuple(SortKey(c, rng.random() < 0.5, rng.random() < 0.5) for c in rng.choice([(1,), (2, 1)]))
    run = Run(Deduplicate((source(s, arrival=True),), partition, order, keep, s), rng.choice([1, 2]))
    text = ", ".join(
        f"{s[k.column].name} {'ASC' if k.ascending else 'DESC'} NULLS {'FIRST' if k.nulls_first else 'LAST'}"
        for k in order
    )
    sql = f"""SELECT k, d, v FROM (SELECT *, row_number() OVER ({"PARTITION BY k" if partition else ""}
        ORDER BY {text}, _ord {"DESC" if keep == "last" else ""}) rn FROM t) WHERE rn = 1"""
    rows: list = []
    for _ in range(15):
        new = [
            (rng.choice(["a", "b", None, ""]), rng.choice([None, 1.5, -2.0, float("nan")]), rng.choice([1, 2, None]), o)
            for o in rng.sample(range(10**6), rng.randrange(20))
        ]
        rows += new
        run.epoch(new)
        want = query(sql, t=(Schema((*s.columns, Column("_ord", BIGINT))), rows))
        assert run.rows == want, f"seed {seed}"
        if rng.random() < 0.3:
            run.restart(rng.choice([1, 2, 3]))
