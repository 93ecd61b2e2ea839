from __future__ import annotations

import random

import pytest

from sqlstream.operators.unnest import Unnest
from sqlstream.types import BIGINT, INT, STRING, Column, Field, Schema, Type, array, map_of, row
from tests.unit.operators.driver import Run, query, schema, source

A = schema(k=BIGINT, a=array(INT))
ORDINALITY = Column("ORDINALITY", INT)


def unnest(input_, kind="INNER", ordinality=False, *columns: Column) -> Run:
    extra = (ORDINALITY,) if ordinality else ()
    return Run(Unnest((input_,), 1, kind, ordinality, Schema((*input_.schema.columns, *columns, *extra))))


def test_elements_with_their_place() -> None:
    run = unnest(source(A, True), "LEFT", True, Column("e", INT))
    assert run.epoch([("+I", 1, [5, None]), ("+I", 2, []), ("-D", 3, None), ("+I", 3, [7]), ("+I", 3, None)]) == [
        ("+I", 1, (5, None), 5, 1), ("+I", 1, (5, None), None, 2), ("+I", 2, (), None, None),
        ("+I", 3, (7,), 7, 1), ("+I", 3, None, None, None), ("-D", 3, None, None, None)]  # fmt: skip


def test_rows_give_their_fields() -> None:
    s = schema(k=BIGINT, a=array(row(("x", INT), ("y", STRING))))
    run = unnest(source(s), "INNER", False, Column("x", INT), Column("y", STRING))
    run.epoch([(1, [{"f0": 1, "f1": "a"}, None, {"f0": None, "f1": "b"}]), (2, None)])
    assert [r[2:] for r in run.rows] == [(1, "a"), (None, "b"), (None, None)]


def test_map_and_multiset() -> None:
    s = schema(k=BIGINT, m=map_of(STRING, INT))
    run = unnest(source(s, row_wm=True), "INNER", False, Column("key", STRING), Column("value", INT))
    run.epoch([(1, [("a", 1), ("b", None)], 3), (2, None, 4)])
    assert [r[2:] for r in run.rows] == [("a", 1), ("b", None)]
    s = schema(k=BIGINT, m=Type("MULTISET", fields=(Field("element", STRING),)))
    run = unnest(source(s), "LEFT", True, Column("e", STRING))
    run.epoch([(1, [("a", 2), ("b", 1)]), (2, [])])
    assert [r[2:] for r in run.rows] == [("a", 1), ("a", 2), ("b", 3), (None, None)]


@pytest.mark.parametrize(
    "t, made, value, elements",
    [
        (array(INT), [Column("e", INT)], range(5000), [(n,) for n in range(5000)]),
        (map_of(STRING, INT), [Column("k", STRING), Column("v", INT)], [("a", 1)], [("a", 1)]),
        (Type("MULTISET", fields=(Field("element", STRING),)), [Column("e", STRING)], [("a", 2)], [("a",), ("a",)]),
    ],
    ids=["array", "map", "multiset"],
)
def test_an_array_that_nobody_reads_is_not_in_the_rows_of_its_elements(t, made, value, elements) -> None:
    input_ = source(schema(k=BIGINT, a=t.null(False)))
    node = Unnest((input_,), 1, "LEFT", False, Schema((*input_.schema.columns, *made)))
    assert node.without_array().identity() == node.identity()
    run = Run(node.without_array())
    run.epoch([(1, list(value)), (2, [])])
    assert run.rows == [*((1, None, *e) for e in elements), (2, None, *(None for _ in made))]


@pytest.mark.parametrize("kind", ["INNER", "LEFT"])
def test_against_duckdb(kind: str) -> None:
    seed = random.randrange(10**6)
    rng = random.Random(seed)
    rows = [
        (i, rng.choice([None, [], [rng.choice([None, 1, 2]) for _ in range(rng.randrange(5))]])) for i in range(200)
    ]
    run = unnest(source(A), kind, False, Column("e", INT))
    run.epoch(rows[:90])
    run.epoch(rows[90:])
    sql = f"SELECT k, a, e FROM t {'CROSS' if kind == 'INNER' else 'LEFT'} JOIN unnest(a) AS u(e)"
    assert run.rows == query(sql + (" ON true" if kind == "LEFT" else ""), t=(A, rows)), f"seed {seed}"
