"""SessionChangesAggregate: sessions of the rows that are left; what is late; random histories."""

from __future__ import annotations

import random
from collections import Counter, defaultdict

import pytest
from harness.seed import random_of, said

from sqlstream.batches import END, NO_WATERMARK
from sqlstream.operators.session_changes import SessionChangesAggregate
from sqlstream.types import ROWTIME, Schema
from tests.unit.operators.driver import Run, source
from tests.unit.operators.test_session_window import KT
from tests.unit.operators.test_window_aggregate import WINDOW, agg

GAP = 10


def sessions(row_wm: bool = True) -> SessionChangesAggregate:
    """k, window_start, window_end, COUNT(*), SUM(v), MIN(v)"""
    calls = (agg("COUNT"), agg("SUM", 1), agg("MIN", 1))
    output = Schema((KT[0], *WINDOW, *(c.column for c in calls)))
    given = source(KT, True, row_wm=row_wm)
    return SessionChangesAggregate((given,), (0,), 2, GAP, ROWTIME, calls, 1, 2, None, output)


def test_a_row_that_goes_parts_its_session() -> None:
    run = Run(sessions())
    assert run.node.traits.append_only
    run.epoch([("+I", "a", 1, 0, NO_WATERMARK), ("+I", "a", 2, 8, 0), ("+I", "a", 3, 16, 0), ("+I", "b", 9, 3, 0)])
    run.restart(2)
    # Without the row of 8 the one of 0 is over at 10, and the other goes on to 26.
    assert run.epoch([("-D", "a", 2, 8, 5)], watermark=12) == [("a", 0, 10, 1, 1, 1)]
    assert run.epoch([("-U", "a", 3, 16, 12), ("+U", "a", 7, 14, 12), ("+U", "a", 7, 14, 12)], watermark=13) == [
        ("b", 3, 13, 1, 9, 9)
    ]
    assert run.epoch([], watermark=24) == [("a", 14, 24, 2, 14, 7)]
    assert run.late == [] and run.state_rows == 0


def test_what_is_late() -> None:
    run = Run(sessions())
    run.epoch([("+I", "a", 1, 0, NO_WATERMARK), ("+I", "a", 2, 8, 0)], watermark=9)
    # Its own session was over at 15, whether or not it touches one that is open.
    run.epoch([("+I", "a", 3, 5, 15)], watermark=15)
    assert run.late == [("a", 3, 5)]
    assert run.epoch([], watermark=18) == [("a", 0, 18, 2, 3, 1)]
    # What was given stays. A row that was never there is not taken away, nor more of them than there are.
    run.epoch([("-D", "a", 2, 8, 18), ("-D", "a", 5, 30, 18), ("+I", "a", 4, 40, 18)], watermark=19)
    assert sorted(run.late) == [("a", 2, 8), ("a", 3, 5)]
    assert run.epoch([("-D", "a", 4, 40, 19), ("-D", "a", 4, 40, 19)], watermark=END) == []
    assert sorted(run.late) == [("a", 2, 8), ("a", 3, 5)]


def test_rows_without_a_time_are_in_no_session() -> None:
    run = Run(sessions(row_wm=False))
    run.epoch([("+I", "a", 1, None), ("+I", "a", 1, 5), ("-D", "a", 1, None)])
    assert run.epoch([], watermark=END) == [("a", 5, 15, 1, 1, 1)]
    assert run.state_rows == 0


def expected(rows: Counter) -> list:
    """By hand: sorted times, a new session where one is more than the gap behind."""
    by_key = defaultdict(list)
    for k, v, t in rows.elements():
        by_key[k].append((t, v))
    out = []
    for k, found in by_key.items():
        group: list = []
        for t, v in sorted(found, key=lambda x: x[0]):
            if group and t > group[-1][0] + GAP:
                out.append(told(k, group))
                group = []
            group.append((t, v))
        out.append(told(k, group))
    return sorted(out, key=repr)


def told(k: str, group: list) -> tuple:
    values = [v for _, v in group if v is not None]
    total, least = (sum(values), min(values)) if values else (None, None)
    return (k, group[0][0], group[-1][0] + GAP, len(group), total, least)


@pytest.mark.parametrize("number", range(12))
def test_random_histories(number: int) -> None:
    """No row is late: the watermark stays behind all that is still to be changed."""
    rng: random.Random = random_of("session changes", number)
    run, live = Run(sessions(), rng.choice([1, 2])), Counter()
    floor = 0
    for _ in range(15):
        rows = []
        for _ in range(rng.randrange(8)):
            free = [r for r in live.elements() if r[2] > floor]
            if free and rng.random() < 0.4:
                row = rng.choice(free)
                live[row] -= 1
                rows.append(("-D", *row, floor))
            else:
                row = (rng.choice("ab"), rng.choice([1, 2, None]), floor + rng.randint(1, 60))
                live[row] += 1
                rows.append(("+I", *row, floor))
        run.epoch(rows, watermark=floor)
        if rng.random() < 0.3:
            run.restart(rng.choice([1, 2, 3]))
        if rng.random() < 0.4:
            floor += rng.randint(1, 40)
            run.epoch([], watermark=floor)
    run.epoch([], watermark=END)
    assert sorted(run.rows, key=repr) == expected(live), said(str(number))
    assert run.late == [] and run.state_rows == 0
