"""TopN: by hand, then against DuckDB at every epoch."""

from __future__ import annotations

import random
from collections import Counter
from decimal import Decimal

import pytest

from sqlstream.operators.top_n import TopN
from sqlstream.plan.nodes import SortKey
from sqlstream.types import BIGINT, DOUBLE, INT, STRING, Column, Schema, decimal
from tests.unit.operators.driver import Run, query, schema, source

S = schema(p=INT, x=INT, v=STRING)
RANK = Column("rn", BIGINT)


def top_n(input_, order, first, last, function="ROW_NUMBER", rank=False, partition=(0,)) -> TopN:
    output = Schema((*input_.schema.columns, *((RANK,) if rank else ())))
    return TopN((input_,), partition, order, first, last, function, rank, output)


def test_the_best_two_of_each_partition() -> None:
    run = Run(top_n(source(S), (SortKey(1, False),), 1, 2))
    assert run.epoch([(1, 5, "a"), (1, 7, "b"), (1, 6, "c"), (2, 1, "d")]) == [
        ("+I", 1, 6, "c"), ("+I", 1, 7, "b"), ("+I", 2, 1, "d")]  # fmt: skip
    assert run.state_rows == 3
    assert run.epoch([(1, 4, "e")]) == []
    run.restart(2)
    assert run.epoch([(1, 9, "f"), (2, 0, "g")]) == [("+I", 1, 9, "f"), ("+I", 2, 0, "g"), ("-D", 1, 6, "c")]
    assert run.rows == [(1, 7, "b"), (1, 9, "f"), (2, 0, "g"), (2, 1, "d")]


def test_the_single_best_row_is_updated() -> None:
    run = Run(top_n(source(S), (SortKey(1),), 1, 1))
    assert run.node.traits.key == (0,)
    run.epoch([(1, 5, "a")])
    assert run.epoch([(1, 3, "b"), (2, 3, "c")]) == [("+I", 2, 3, "c"), ("+U", 1, 3, "b"), ("-U", 1, 5, "a")]


def test_rank_column_is_updated_by_rank() -> None:
    run = Run(top_n(source(S), (SortKey(1),), 1, 2, rank=True))
    assert run.node.traits.key == (0, 3)
    run.epoch([(1, 5, "a"), (1, 6, "b")])
    assert run.epoch([(1, 4, "c")]) == [
        ("+U", 1, 4, "c", 1), ("+U", 1, 5, "a", 2), ("-U", 1, 5, "a", 1), ("-U", 1, 6, "b", 2)]  # fmt: skip
    assert run.epoch([(1, 9, "z")]) == []


def test_ties_by_arrival_and_by_content() -> None:
    run = Run(top_n(source(S, arrival=True), (SortKey(1),), 1, 1))
    run.epoch([(1, 5, "a", 20)])
    assert run.epoch([(1, 5, "z", 10), (1, 5, "b", 15)]) == [("+U", 1, 5, "z"), ("-U", 1, 5, "a")]
    run = Run(top_n(source(S), (SortKey(1),), 1, 1))
    run.epoch([(1, 5, "m"), (1, 5, None)])
    assert run.rows == [(1, 5, "m")]
    assert run.epoch([(1, 5, "b"), (1, 5, "z")]) == [("+U", 1, 5, "b"), ("-U", 1, 5, "m")]


def test_limit_without_an_order_keeps_who_came_first() -> None:
    run = Run(top_n(source(S), (), 1, 2, partition=()))
    run.epoch([(1, 5, "a"), (2, 5, "b")])
    assert run.epoch([(0, 0, "")]) == []
    run = Run(top_n(source(S, True), (), 1, 2, partition=()))
    run.epoch([("+I", i, i, "x") for i in range(200)])
    assert len(run.rows) == 2
    run.epoch([("-D", *r) for r in run.rows])
    assert len(run.rows) == 2


def test_a_large_partition_stays_cool() -> None:
    run = Run(top_n(source(S, True), (SortKey(1),), 1, 3, partition=()))
    rows = [(1, i, str(i)) for i in range(1000)]
    run.epoch([("+I", *r) for r in rows])
    run.epoch([("-D", *rows[0])])
    op = run.tasks[0].operator
    assert op.cold.size > 900 and run.rows == rows[1:4]
    for _ in range(30):  # deletes reach the cold rows
        run.epoch([("-D", *r) for r in rows[1:30]])
        rows = rows[:1] + rows[30:]
        assert run.rows == rows[1:4]
        assert op.hot.size + op.cold.size == max(len(rows) - 1, 0)
    run.restart()
    run.epoch([("+I", 1, -1, "new")])
    assert run.rows[0] == (1, -1, "new")


X = {
    INT: [1, 2, 3, 4, None],
    STRING: ["", "a", "ab", "abcdefghi", "abcdefghj", "é", None],
    DOUBLE: [0.0, 1.5, -1.5, float("nan"), float("inf"), None],
    decimal(30, 2): [Decimal("1.50"), Decimal("-1.50"), Decimal("12345678901234567890.12"), None],
}


@pytest.mark.parametrize("function", ["ROW_NUMBER", "RANK", "DENSE_RANK"])
@pytest.mark.parametrize("mode", ["append", "arrival", "changelog", "keyed"])
@pytest.mark.parametrize("type_", list(X), ids=str)
def test_every_epoch_equals_duckdb(function: str, mode: str, type_) -> None:
    seed = random.randrange(10**6)
    rng = random.Random(seed)
    print("seed", seed)
    s = schema(p=INT, x=type_, y=INT, id=BIGINT)
    order = tuple(SortKey(c, rng.random() < 0.5, rng.random() < 0.5) for c in rng.choice([(1,), (1, 2), (2, 1)]))
    first = rng.choice([1, 1, 2])
    last, rank = first + rng.randrange(4), rng.random() < 0.5
    partition = rng.choice([(0,), ()])
    changes = mode in ("changelog", "keyed")
    node = top_n(
        source(s, changes, (3,) if mode == "keyed" else (), arrival=mode == "arrival"),
        order, first, last, function, rank, partition,
    )  # fmt: skip
    run, live, number, arrived = Run(node, rng.choice([1, 2])), Counter(), 0, {}
    text = ", ".join(
        f"{s[k.column].name} {'ASC' if k.ascending else 'DESC'} NULLS {'FIRST' if k.nulls_first else 'LAST'}"
        for k in order
    )
    if function == "ROW_NUMBER":
        text += ", _ord" if mode == "arrival" else ", p, x, y, id"
    columns = "p, x, y, id" + (", rn" if rank else "")
    sql = f"""SELECT {columns} FROM (SELECT *, {function}() OVER (
        {"PARTITION BY p" if partition else ""} ORDER BY {text}) rn FROM t) WHERE rn BETWEEN {first} AND {last}"""
    t = Schema((*s.columns, Column("_ord", BIGINT)))
    for epoch in range(14):
        rows = []
        # Now and then many, so that partitions grow beyond what is kept hot.
        for _ in range(rng.randrange(8) if epoch % 5 else rng.randrange(150)):
            if changes and live and rng.random() < 0.4:
                row = rng.choice(list(live))
                live[row] -= 1
                live += Counter()
                rows.append(("-D", *row))
                continue
            number += 1
            unique = mode in ("keyed", "arrival")
            row = (
                rng.choice([None, 1, 2]),
                rng.choice(X[type_]),
                rng.randrange(3),
                number if unique else rng.randrange(9),
            )
            live[row] += 1
            arrived[row] = rng.randrange(10**6) * 1000 + number
            rows.append(("+I", *row) if changes else (*row, arrived[row]) if mode == "arrival" else row)
        rng.shuffle(rows)
        run.epoch(rows)
        assert run.rows == query(sql, t=(t, [(*r, arrived[r]) for r in live.elements()])), f"seed {seed}"
        if rng.random() < 0.2:
            run.restart(rng.choice([1, 2, 3]))
