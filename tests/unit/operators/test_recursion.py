"""Recursion (WITH RECURSIVE) against a closure in Python, at every epoch."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from sqlstream.errors import DataError
from sqlstream.expressions import Call, Column, Literal
from sqlstream.operators.recursion import Recursion
from sqlstream.plan import nodes
from sqlstream.types import BOOLEAN, INT, Schema
from tests.unit.operators.driver import Row, Run, ordered, schema, source

XY, AB = schema(x=INT, y=INT), schema(a=INT, b=INT)
REF = nodes.RecursiveRef("r", XY.columns)
E = nodes.RecursiveRef("b1", AB.columns, 0, 1)
F = nodes.RecursiveRef("b2", AB.columns, 0, 2)


def rows(of: nodes.Node, x: int, y: int) -> nodes.Node:
    exprs = tuple(Column(INT, i, of.schema[i].name) for i in (x, y))
    return nodes.Project(of, exprs, XY.columns)


def join(left: nodes.Node, right: nodes.Node, a: int, kind: str = "INNER") -> nodes.Node:
    return nodes.Join(left, right, kind, (a,), (0,))


# step, for each input whether more of its rows only bring rows, what follows from (x, y)
STEPS = {
    "join": (rows(join(REF, E, 1), 0, 3), (True, True), lambda x, y, e, f: [(x, b) for a, b in e if a == y]),
    "two tables": (
        rows(join(join(REF, E, 1), F, 3), 0, 5), (True, True, True),
        lambda x, y, e, f: [(x, d) for a, b in e if a == y for c, d in f if c == b],
    ),
    "left": (
        rows(join(join(REF, E, 1), F, 3, "LEFT"), 5, 3), (True, True, False),
        lambda x, y, e, f: [(m, b) for a, b in e if a == y for m in ([d for c, d in f if c == b] or [None])],
    ),
    "anti": (
        rows(join(join(REF, E, 1), F, 3, "ANTI"), 0, 3), (True, True, False),
        lambda x, y, e, f: [(x, b) for a, b in e if a == y and all(c != b for c, _ in f)],
    ),
}  # fmt: skip


def recursion(step: str, distinct: bool, changing: tuple[bool, ...], limit: int = 1000) -> Recursion:
    tree, grows, _ = STEPS[step]
    inputs = [source(s, changelog=c) for s, c in zip((XY, AB, AB)[: len(grows)], changing, strict=False)]
    return Recursion(tuple(inputs), "r", tree, distinct, grows, Schema(XY.columns), limit)


def closure(step: str, distinct: bool, anchor: Counter[Row], e: Counter[Row], f: Counter[Row]) -> list[Row]:
    """What is there in the end, from nothing."""
    follows = STEPS[step][2]
    es, fs = list(e.elements()), list(f.elements())
    out: Counter[Row] = Counter()
    todo = list(anchor.elements())
    while todo:
        if distinct:
            todo = [r for r in dict.fromkeys(todo) if r not in out]
        out.update(todo)
        todo = [n for x, y in todo for n in (follows(x, y, es, fs) if y is not None else [])]
    return ordered(out.elements())


def test_what_goes_takes_with_it_what_followed_from_it_alone() -> None:
    run = Run(recursion("join", True, (False, True)))
    assert run.epoch([(0, 1)], [("+I", 1, 2), ("+I", 2, 1), ("+I", 2, 3)]) == [
        ("+I", 0, 1), ("+I", 0, 2), ("+I", 0, 3),
    ]  # fmt: skip
    run.restart()
    # 1 and 2 hold each other up, and do not come back for that
    assert run.epoch([], [("-D", 1, 2), ("+I", 1, 3)]) == [("-D", 0, 2)]
    assert run.epoch([(0, 2)], []) == [("+I", 0, 2)]
    assert run.epoch([], [("-D", 2, 1), ("-D", 2, 3)]) == []
    assert run.rows == [(0, 1), (0, 2), (0, 3)]


def test_an_end_that_does_not_come_is_an_error() -> None:
    step = nodes.Project(
        REF, (Column(INT, 0, "x"), Call(INT, "+", (Column(INT, 1, "y"), Literal(INT.null(False), 1)))), XY.columns
    )
    made = Recursion((source(XY),), "r", step, True, (True,), Schema(XY.columns), 30)
    run = Run(made)
    with pytest.raises(
        DataError, match=r"has not come to an end after 30 steps \(table.exec.recursion.max-iterations\)"
    ):
        run.epoch([(0, 1)])
    less = Call(BOOLEAN, "<", (Column(INT, 1, "y"), Literal(INT.null(False), 20)))
    ends = Run(
        Recursion(
            (source(XY),),
            "r",
            nodes.Project(nodes.Filter(REF, less), step.exprs, XY.columns),
            True,
            (True,),
            made.output,
            30,
        )
    )
    assert len(ends.epoch([(0, 1)])) == 20


@pytest.mark.parametrize("distinct", [True, False])
@pytest.mark.parametrize("step", list(STEPS))
@pytest.mark.parametrize("example", range(5))
def test_every_epoch_is_as_defined(example: int, step: str, distinct: bool) -> None:
    seed = random.randrange(10**6)
    rng = random.Random(seed)
    n = len(STEPS[step][1])
    changing = tuple(rng.random() < 0.5 for _ in range(n))
    run = Run(recursion(step, distinct, changing))
    now: list[Counter[Row]] = [Counter(), Counter(), Counter()]

    def row(i: int) -> Row:
        a, b = rng.randrange(6), rng.randrange(7)
        if i == 0:
            return (rng.choice([None, a]), rng.choice([None, b]))
        # Of UNION ALL nothing goes round in circles.
        return (a, b) if distinct else (min(a, b), max(a, b) + (a == b))

    for epoch in range(12):
        feeds: list[list[Row]] = []
        for i in range(n):
            feed: list[Row] = []
            for _ in range(rng.randrange(4) if rng.random() < 0.6 else 0):
                if changing[i] and now[i] and rng.random() < 0.45:
                    gone = rng.choice(sorted(now[i].elements(), key=str))
                    now[i][gone] -= 1
                    now[i] += Counter()
                    feed.append(("-D", *gone))
                else:
                    made = row(i)
                    now[i][made] += 1
                    feed.append(("+I", *made) if changing[i] else made)
            feeds.append(feed)
        run.epoch(*feeds, watermark=epoch)
        assert run.rows == closure(step, distinct, *now), f"seed {seed} epoch {epoch}"
        if rng.random() < 0.3:
            run.restart()
    run.close()
