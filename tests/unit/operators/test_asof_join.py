"""ASOF joins on event time: TemporalJoin (>=, >) and NextJoin (<=, <) against their definition at every epoch."""

from __future__ import annotations

import random
from typing import Any

import pytest

from sqlstream.operators.asof_join import NextJoin
from sqlstream.operators.temporal_join import TemporalJoin
from sqlstream.types import BIGINT, INT, ROWTIME, Schema, timestamp
from tests.unit.operators.driver import END, Row, Run, ordered, schema, source

T = (timestamp(3), ROWTIME)
L, R = schema(k=INT, t=T, a=BIGINT), schema(k=INT, s=T, b=BIGINT)
BOTH = Schema((*L.columns, *R.columns))


def join(comparison: str, kind: str = "INNER", row_wm: bool = True, null_safe: bool = False):
    left, right = source(L, row_wm=row_wm), source(R, row_wm=row_wm)
    if comparison in (">=", ">"):
        return TemporalJoin((left, right), kind, (0,), (0,), (null_safe,), None, 1, 1, None, BOTH, comparison)
    return NextJoin((left, right), kind, (0,), (0,), (null_safe,), None, 1, 1, comparison, BOTH)


def sizes(run: Run) -> dict[str, int]:
    return {name: sum(t.tables[name].size for t in run.tasks) for name in ("left", "right")}


def test_the_next_row_answers_all_that_wait() -> None:
    run = Run(join("<=", "LEFT"))
    assert run.epoch([(1, 15, 1, 0), (1, 25, 2, 0), (1, 26, 3, 0)], [(1, 25, 10, 0)], watermark=[30, 24]) == []
    run.restart(2)
    assert sizes(run) == {"left": 3, "right": 1}
    assert run.epoch(watermark=[30, 25]) == [(1, 15, 1, 1, 25, 10), (1, 25, 2, 1, 25, 10)]
    assert sizes(run) == {"left": 1, "right": 0}
    # 25 and before are behind the watermark, on either side
    run.epoch([(1, 30, 4, 30)], [(1, 25, 11, 25)])
    assert run.late == [(1, 30, 4), (1, 25, 11)]
    run.restart(3)
    assert run.end() == [(1, 26, 3, None, None, None)]
    assert sizes(run) == {"left": 0, "right": 0}


def test_of_equal_times_the_first_by_its_columns() -> None:
    for comparison in (">=", "<="):
        for order in (1, -1):
            run = Run(join(comparison))
            rights = [(1, 15, b, 0) for b in (3, None, 2, 4)]
            run.epoch([(1, 15, 1, 0)], rights[::order], watermark=12)
            run.epoch([], [(1, 15, 5, 12)], watermark=20)
            assert run.rows == [(1, 15, 1, 1, 15, 2)]


def test_without_row_marks_a_row_may_have_the_times_own() -> None:
    run = Run(join("<=", row_wm=False))
    assert run.epoch([(1, 14, 1)], [(1, 15, 15)], watermark=15) == []
    assert run.epoch([(1, 15, 2)], [(1, 16, 16)], watermark=16) == [(1, 14, 1, 1, 15, 15), (1, 15, 2, 1, 15, 15)]
    assert run.end() == [] and run.late == []


def first(rows: list[Row], sign: int) -> Row | None:
    """The nearest: least by `sign` times the time, then by the columns, NULLs last."""
    return min(rows, key=lambda r: (sign * r[1], [(c is None, c or 0) for c in r[:3]]), default=None)


def mark(time: int, wm: int) -> int:
    return wm if time <= wm else time - 1


def backward(lefts: list[Row], rights: list[Row], kind: str, safe: bool, strict: bool, upto: int):
    """The rows that have come when time is `upto`, and the late ones: each row by itself, from all versions."""
    out: list[Row] = []
    late: list[Row] = []
    for k, t, a, wm in lefts:
        met: tuple[Any, ...] | None = None
        if t is not None:
            if mark(t, wm) >= upto:
                continue
            same = [r for r in rights if r[1] is not None and r[0] == k and (safe or k is not None)]
            seen = [r for r in same if mark(r[1], r[3]) + (strict and r[1] > r[3]) <= mark(t, wm)]
            met = first(seen, -1)
            if met is not None and (met[1] >= t if strict else met[1] > t):
                late.append((k, t, a))
                continue
        if met is not None or kind == "LEFT":
            out.append((k, t, a, *(met[:3] if met is not None else (None,) * 3)))
    return ordered(out), ordered(late)


def forward(lefts: list[Row], rights: list[Row], kind: str, safe: bool, strict: bool, upto: int):
    late = [
        r[:3]
        for side in (lefts, rights)
        for r in side
        if r[1] is not None and r[1] <= r[3] and (safe or r[0] is not None)
    ]
    out: list[Row] = []
    for k, t, a, wm in lefts:
        met = None
        if t is not None and (safe or k is not None):
            if t <= wm:
                continue
            met = first([r for r in rights if r[0] == k and r[1] is not None and r[1] > r[3] and r[1] >= t + strict], 1)
            if (met is None or met[1] > upto) and upto != END:
                continue
        if met is not None or kind == "LEFT":
            out.append((k, t, a, *(met[:3] if met is not None else (None,) * 3)))
    return ordered(out), ordered(late)


@pytest.mark.parametrize("comparison", [">=", ">", "<=", "<"])
@pytest.mark.parametrize("kind", ["INNER", "LEFT"])
@pytest.mark.parametrize("example", range(6))
def test_every_epoch_is_as_defined(example: int, kind: str, comparison: str) -> None:
    seed = random.randrange(10**6)
    rng = random.Random(seed)
    safe, spread = rng.random() < 0.3, rng.choice([2, 12])
    run = Run(join(comparison, kind, null_safe=safe), rng.choice([1, 3]))
    defined = backward if comparison[0] == ">" else forward
    sides: list[list[Row]] = [[], []]
    marks = [[-100] * rng.choice([1, 2]) for _ in (0, 1)]  # of the splits of each side
    for epoch in range(14):
        end = epoch == 13
        feeds: list[list[Row]] = [[], []]
        for i in (0, 1):
            for n in range(0 if end else rng.randrange(10)):
                split = rng.randrange(len(marks[i]))
                wm = marks[i][split]
                t = None if rng.random() < 0.05 else max(wm, 0) + rng.randrange(-spread, spread)
                # A number of its own: which of equal late rows was there first is not told by columns.
                feeds[i].append((rng.choice([None, 1, 2]), t, 100 * epoch + n if rng.random() < 0.9 else None, wm))
                marks[i][split] = max(wm, (t or 0) - rng.choice([0, 3]))
            rng.shuffle(feeds[i])
            sides[i] += feeds[i]
        now = END if end else min(min(m) for m in marks)
        run.epoch(*feeds, watermark=END if end else [min(m) for m in marks])
        rows, late = defined(*sides, kind, safe, comparison in ("<", ">"), now)
        assert (run.rows, ordered(run.late)) == (rows, late), f"seed {seed} epoch {epoch}"
        if rng.random() < 0.25:
            run.restart(rng.choice([1, 2, 3]))
    assert sizes(run) == {"left": 0, "right": 0}
    run.close()
