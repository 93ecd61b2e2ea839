"""TemporalJoin: by hand, then against its definition at every epoch."""

from __future__ import annotations

import random
from typing import Any

import pytest

from sqlstream import expressions
from sqlstream.expressions import Call
from sqlstream.operators.temporal_join import TemporalJoin
from sqlstream.types import BIGINT, BOOLEAN, INT, ROWTIME, STRING, Schema, timestamp
from tests.unit.operators.driver import END, Row, Run, ordered, schema, source

T = (timestamp(3), ROWTIME)
L, R = schema(k=INT, t=T, a=BIGINT), schema(k=INT, s=T, b=BIGINT, there=BOOLEAN)
BOTH = Schema((*L.columns, *R.columns))
LESS = Call(BOOLEAN, "<", (expressions.Column(BIGINT, 2), expressions.Column(BIGINT, 5)))


def join(kind="INNER", residual=None, row_wm=True, arrival=True, null_safe=False):
    left, right = source(L, row_wm=row_wm), source(R, row_wm=row_wm, arrival=arrival)
    return TemporalJoin((left, right), kind, (0,), (0,), (null_safe,), residual, 1, 1, 3, BOTH)


def sizes(run: Run) -> dict[str, int]:
    return {name: sum(t.tables[name].size for t in run.tasks) for name in ("left", "right", "versions")}


def test_a_row_waits_for_both_sides_and_meets_what_was_valid() -> None:
    run = Run(join("LEFT"))
    assert run.epoch([(1, 15, 1, 0), (1, 25, 2, 0)], [(1, 10, 10, True, 0, 1)], watermark=[30, 14]) == []
    run.restart(2)
    # Versions come in any order; a row of their own time meets them.
    assert run.epoch([], [(1, 25, 12, True, 14, 2), (1, 20, 11, True, 14, 3)], watermark=[30, 20]) == [
        (1, 15, 1, 1, 10, 10, True)
    ]
    run.restart(3)
    assert run.epoch([], [(1, 28, 0, False, 20, 4)], watermark=[30, 30]) == [(1, 25, 2, 1, 25, 12, True)]
    assert run.epoch([(1, 40, 3, 30), (2, 40, 4, 30)], watermark=40) == [
        (1, 40, 3, None, None, None, None),
        (2, 40, 4, None, None, None, None),
    ]
    assert run.time.watermark == 40 and run.late == []


def test_old_versions_are_forgotten() -> None:
    run = Run(join())
    for n in range(50):  # each key has five versions more, and each version its row
        rights = [(k, 10 * n + i, i, True, 10 * n - 1, 1000 * n + 10 * k + i) for k in range(8) for i in range(5)]
        lefts = [(k, 10 * n + 9, n, 10 * n - 1) for k in range(8)]
        assert run.epoch(lefts, rights, watermark=10 * n + 3) == [
            (k, 10 * n - 1, n - 1, k, 10 * (n - 1) + 4, 4, True) for k in range(8) if n
        ]
        # What time has passed is one version a key; one of each waits, and its row.
        assert sizes(run) == {"left": 8, "right": 8, "versions": 8}
        if n % 10 == 5:
            run.restart(1 + n % 3)
    run.end()
    assert sizes(run) == {"left": 0, "right": 0, "versions": 8}
    # An index of marks that grew would be a leak, too.
    assert all(side.due.least is None for t in run.tasks for side in (t.operator.left, t.operator.right))


def test_late_rows() -> None:
    run = Run(join("LEFT"))
    run.epoch([], [(1, 10, 10, True, 0, 1), (1, 20, 20, True, 10, 2), (2, 10, 10, True, 20, 3)], watermark=20)
    # By 30 the version of 10 is not there any more, and a row of 15 is late; one of 25 meets that of 20, when 30 has passed.
    assert run.epoch([(1, 15, 1, 30), (1, 25, 2, 30), (2, 15, 3, 30)], watermark=30) == []
    assert run.epoch(watermark=31) == [(1, 25, 2, 1, 20, 20, True), (2, 15, 3, 2, 10, 10, True)]
    assert run.late == [(1, 15, 1)]
    # A version of 28 that comes after 40 is for the rows after 40, though it is the valid one for that of 39, too.
    run.epoch([(1, 39, 4, 35), (1, 41, 5, 35)], [(1, 28, 28, True, 40, 4)], watermark=[45, 39])
    run.epoch(watermark=45)
    assert (1, 39, 4, 1, 20, 20, True) in run.rows and (1, 41, 5, 1, 28, 28, True) in run.rows


def test_nulls() -> None:
    inner, left = Run(join()), Run(join("LEFT"))
    for run in (inner, left):
        run.epoch([(None, 15, 1, 0), (1, None, 2, 0)], [(None, 10, 10, True, 0, 1), (1, None, 11, True, 0, 2)])
    assert sizes(inner) == {"left": 0, "right": 0, "versions": 0}
    assert left.rows == [(1, None, 2, None, None, None, None)]  # it waits for nothing
    assert sizes(left) == {"left": 1, "right": 0, "versions": 0}
    assert left.epoch(watermark=15) == [(None, 15, 1, None, None, None, None)]
    run = Run(join(null_safe=True))
    assert run.epoch([(None, 15, 1, 0)], [(None, 10, 10, True, 0, 1)], watermark=15) == [
        (None, 15, 1, None, 10, 10, True)
    ]


def test_without_row_marks_a_row_may_have_the_times_own() -> None:
    run = Run(join(row_wm=False))
    assert run.epoch([(1, 15, 1)], [(1, 10, 10, True, 1)], watermark=15) == []
    assert run.epoch([(1, 15, 2)], [(1, 15, 15, True, 2)], watermark=16) == [
        (1, 15, 1, 1, 15, 15, True),
        (1, 15, 2, 1, 15, 15, True),
    ]
    assert run.end() == [] and run.late == []


def test_without_arrival_the_first_of_all_columns_holds() -> None:
    right = schema(k=INT, s=T, name=STRING)
    both = Schema((*L.columns, *right.columns))
    for order in (1, -1):
        left, versions = source(L, row_wm=True), source(right, row_wm=True)
        run = Run(TemporalJoin((left, versions), "INNER", (0,), (0,), (False,), None, 1, 1, None, both))
        run.epoch([(1, 15, 1, 0)], [(1, 10, n, 0) for n in ("b", "a", None, "c")][::order], watermark=12)
        run.epoch([], [(1, 10, "aa", 11)], watermark=20)
        assert run.rows == [(1, 15, 1, 1, 10, "a")]


def defined(
    lefts: list[Row], rights: list[Row], kind: str, safe: bool, less: bool, upto: int
) -> tuple[list[Row], list[Row]]:
    """The rows that have come when time is `upto`, and the late ones: each row by itself, from all versions."""

    def mark(time: int, wm: int) -> int:
        return wm if time <= wm else time - 1

    out: list[Row] = []
    late: list[Row] = []
    for k, t, a, wm in lefts:
        met: tuple[Any, ...] | None = None
        if t is not None:
            if mark(t, wm) >= upto:
                continue
            same = [r for r in rights if r[1] is not None and r[0] == k and (safe or k is not None)]
            there = [r for r in same if mark(r[1], r[4]) <= mark(t, wm)]
            met = max(there, key=lambda r: (r[1], r[5]), default=None)
            if met is not None and met[1] > t:
                late.append((k, t, a))
                continue
            if met is not None and (not met[3] or (less and not a < met[2])):
                met = None
        if met is not None or kind == "LEFT":
            out.append((k, t, a, *(met[:4] if met is not None else (None,) * 4)))
    return ordered(out), ordered(late)


@pytest.mark.parametrize("less", [False, True])
@pytest.mark.parametrize("kind", ["INNER", "LEFT"])
@pytest.mark.parametrize("example", range(8))
def test_every_epoch_is_as_defined(example: int, kind: str, less: bool) -> None:
    seed = random.randrange(10**6)
    rng = random.Random(seed)
    safe, spread = rng.random() < 0.3, rng.choice([2, 12])
    run = Run(join(kind, LESS if less else None, null_safe=safe), rng.choice([1, 3]))
    sides: list[list[Row]] = [[], []]
    marks = [[-100] * rng.choice([1, 2]) for _ in (0, 1)]  # of the splits of each side
    counts = [[s << 40 for s in range(len(m))] for m in marks]
    for epoch in range(14):
        end = epoch == 13
        feeds: list[list[Row]] = [[], []]
        for i in (0, 1):
            for _ in range(0 if end else rng.randrange(10)):
                split = rng.randrange(len(marks[i]))
                wm = marks[i][split]
                t = None if rng.random() < 0.05 else max(wm, 0) + rng.randrange(-spread, spread)
                row: Row = (rng.choice([None, 1, 2]), t, rng.randrange(9))
                counts[i][split] += 1
                feeds[i].append((*row, wm) if i == 0 else (*row, rng.random() < 0.7, wm, counts[i][split]))
                marks[i][split] = max(wm, (t or 0) - rng.choice([0, 3]))
            rng.shuffle(feeds[i])
            sides[i] += feeds[i]
        now = END if end else min(min(m) for m in marks)
        run.epoch(*feeds, watermark=END if end else [min(m) for m in marks])
        rows, late = defined(*sides, kind, safe, less, now)
        assert (run.rows, ordered(run.late)) == (rows, late), f"seed {seed} epoch {epoch}"
        if rng.random() < 0.25:
            run.restart(rng.choice([1, 2, 3]))
    assert sizes(run)["left"] == sizes(run)["right"] == 0
    run.close()
