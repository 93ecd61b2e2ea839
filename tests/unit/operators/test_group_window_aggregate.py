"""GroupWindowAggregate: what windows tell before they end and after it, epoch by epoch; and that its last rows are those of
WindowAggregate."""

from __future__ import annotations

import random
from typing import Any

import pytest
from driver import END, Row, Run, ordered, schema, source
from harness.seed import SEED

from sqlstream.errors import InternalError
from sqlstream.operators.base import PhysicalNode
from sqlstream.operators.group_window_aggregate import GroupWindowAggregate
from sqlstream.operators.window_aggregate import WindowAggregate
from sqlstream.plan.nodes import AggCall, Emission
from sqlstream.types import BIGINT, ROWTIME, STRING, WINDOW_END, Column, Schema, array, timestamp

TS = timestamp(3)
KE = schema(k=STRING, v=BIGINT, end=(TS, WINDOW_END))
CALLS = (AggCall("COUNT", (), Column("n", BIGINT)), AggCall("MAX", (1,), Column("m", BIGINT)))
OUTPUT = Schema((KE[0], KE[2], *(c.column for c in CALLS)))


def told(emission: Emission, given: PhysicalNode | None = None, calls: Any = CALLS, output: Schema = OUTPUT) -> Any:
    return GroupWindowAggregate((given or source(KE, row_wm=True),), (0, 2), 2, ROWTIME, calls, emission, output)


def test_early_in_each_epoch() -> None:
    run = Run(told(Emission(early=0)))
    assert run.node.traits.key == (0, 1) and not run.node.traits.append_only
    assert run.epoch([("a", 1, 10, 0), ("a", 2, 10, 0), ("b", 3, 20, 0)], watermark=5) == [
        ("+I", "a", 10, 2, 2), ("+I", "b", 20, 1, 3)]  # fmt: skip
    run.restart(2)
    assert run.epoch([]) == []  # what was told is not told again
    assert run.epoch([("a", 0, 10, 5)]) == [("+U", "a", 10, 3, 2), ("-U", "a", 10, 2, 2)]
    assert run.epoch([], watermark=10) == []  # the last result was told
    assert run.state_rows == 1
    assert run.epoch([("a", 9, 10, 10)]) == []
    assert run.late == [("a", 9, 10)]
    assert run.epoch([("b", 5, 20, 12)], watermark=25) == [("+U", "b", 20, 2, 5), ("-U", "b", 20, 1, 3)]
    assert run.state_rows == 0
    assert run.rows == [("a", 10, 3, 2), ("b", 20, 2, 5)]


def test_early_with_a_delay() -> None:
    run = Run(told(Emission(early=100)))
    assert run.epoch([("a", 1, 10, 0)], watermark=0, proctime=1000) == []
    assert run.epoch([("a", 2, 10, 0)], proctime=1099) == []
    assert run.epoch([], proctime=1100) == [("+I", "a", 10, 2, 2)]
    assert run.epoch([("a", 3, 10, 0)], proctime=1150) == []
    assert run.epoch([("a", 3, 10, 0)], proctime=1249) == []
    # a window that ends is told whatever the delay
    assert run.epoch([], watermark=10, proctime=1249) == [("+U", "a", 10, 4, 3), ("-U", "a", 10, 2, 2)]
    assert run.epoch([], proctime=2000) == []
    assert run.state_rows == 0


def test_what_waits_for_its_delay_is_told_after_a_restart() -> None:
    run = Run(told(Emission(early=100, late=100, lateness=50)))
    run.epoch([("a", 1, 10, 0), ("b", 1, 90, 0)], watermark=10, proctime=0)
    run.epoch([("a", 2, 10, 20), ("b", 2, 90, 20)], proctime=10)
    run.restart(2)
    assert run.epoch([], proctime=20) == []
    assert run.epoch([], proctime=120) == ordered([
        ("-U", "a", 10, 1, 1), ("+U", "a", 10, 2, 2), ("+I", "b", 90, 2, 2)])  # fmt: skip


def test_late_rows() -> None:
    run = Run(told(Emission(late=0, lateness=20)))
    assert run.epoch([("a", 1, 10, 0)], watermark=5) == []
    assert run.epoch([("a", 2, 10, 5)], watermark=10) == [("+I", "a", 10, 2, 2)]
    assert run.state_rows == 1
    assert run.epoch([("a", 3, 10, 29), ("b", 1, 10, 29)], watermark=29) == ordered([
        ("-U", "a", 10, 2, 2), ("+U", "a", 10, 3, 3), ("+I", "b", 10, 1, 1)])  # fmt: skip
    # a row is too late by the watermark that it came with, and by that of the operator
    assert run.epoch([("a", 4, 10, 30)]) == [] and run.late == [("a", 4, 10)]
    run.restart(3)
    assert run.epoch([("a", 4, 10, 7)], watermark=30) == ordered([("-U", "a", 10, 3, 3), ("+U", "a", 10, 4, 4)])
    assert run.state_rows == 0
    assert run.epoch([("a", 5, 10, 7)]) == [] and len(run.late) == 2


def test_a_window_is_told_before_it_is_forgotten() -> None:
    run = Run(told(Emission(late=1000, lateness=20)))
    run.epoch([("a", 1, 10, 0)], watermark=10, proctime=0)
    assert run.epoch([("a", 2, 10, 12)], watermark=12, proctime=1) == []
    assert run.epoch([], watermark=30, proctime=2) == [("+U", "a", 10, 2, 2), ("-U", "a", 10, 1, 1)]
    assert run.state_rows == 0


def test_without_the_row_before_an_update() -> None:
    from sqlstream.batches import Delta, Time
    from tests.unit.operators.driver import batch

    node = told(Emission(early=0)).without_before()
    operator = Run(node).tasks[0].operator
    kinds: list[int] = []
    for rows in ([("a", 1, 10, 0)], [("a", 2, 10, 0)]):
        kinds += operator.step([Delta([batch(node.inputs[0], rows)], Time(0, 0))]).batches[0].column(4).to_pylist()
    assert kinds == [0, 2]


def test_rows_that_are_taken_back() -> None:
    given = source(KE, changelog=True, row_wm=True)
    run = Run(told(Emission(early=0), given))
    assert run.epoch([("+I", "a", 1, 10, 0), ("+I", "b", 1, 10, 0)], watermark=5) == [
        ("+I", "a", 10, 1, 1), ("+I", "b", 10, 1, 1)]  # fmt: skip
    assert run.epoch([("-D", "a", 1, 10, 0)]) == [("-D", "a", 10, 1, 1)]
    assert run.epoch([("+I", "a", 7, 10, 0), ("-D", "b", 1, 10, 0)]) == [("+I", "a", 10, 1, 7), ("-D", "b", 10, 1, 1)]
    run.restart(2)
    assert run.end() == []
    assert (run.rows, run.state_rows) == ([("a", 10, 1, 7)], 0)


def test_nested_results() -> None:
    call = AggCall("ARRAY_AGG", (1,), Column("l", array(BIGINT)))
    output = Schema((KE[0], KE[2], call.column))
    run = Run(told(Emission(early=0), source(KE, row_wm=True, arrival=True), (call,), output))
    run.epoch([("a", 1, 10, 0, 0)], watermark=5)
    run.restart(2)
    assert run.epoch([("a", None, 10, 0, 1)]) == ordered([("-U", "a", 10, (1,)), ("+U", "a", 10, (1, None))])


def test_what_it_is() -> None:
    with pytest.raises(InternalError):
        told(Emission())
    fast, slow = told(Emission(early=5, late=1, lateness=9)), told(Emission(early=7, late=2, lateness=9))
    assert fast.identity() == slow.identity() != told(Emission(early=5)).identity()
    assert fast.meaning() == fast.without_before().meaning()


@pytest.mark.parametrize("changing", [False, True])
def test_last_rows_are_those_of_windows_that_close(changing: bool) -> None:
    """With early results always; with late ones they are those of a watermark that stays behind by as much as is allowed."""
    for n in range(40):
        rng = random.Random(f"{SEED} {changing} {n}")
        given = source(KE, changelog=changing, row_wm=True)
        lateness = rng.choice([0, 15, 40])
        delays = [None, 0, 30]
        early = rng.choice(delays if lateness else delays[1:])
        emission = Emission(early, rng.choice(delays[1:]) if lateness else None, lateness)
        run = Run(told(emission, given), rng.randint(1, 3))
        once = Run(WindowAggregate((given,), (0, 2), None, 2, ROWTIME, CALLS, OUTPUT))
        mark, live, now = 0, list[Row](), 0
        for _ in range(10):
            rows: list[Row] = []
            for _ in range(rng.randint(0, 6)):
                end = rng.randrange(1, 9) * 10
                if changing and live and rng.random() < 0.4:
                    # with a mark that judges it as the row that it takes back
                    rows.append(("-D", *live.pop(rng.randrange(len(live)))))
                    continue
                row = (rng.choice("abc"), rng.choice([1, 2, None]), end, rng.randint(max(0, mark - 20), mark))
                if row[3] - lateness < end and mark - lateness < end:
                    live.append(row)
                    rows.append(("+I", *row) if changing else row)
            mark, now = mark + rng.randint(0, 12), now + rng.randint(0, 25)
            run.epoch(rows, watermark=mark, proctime=now)
            once.epoch([(*r[:-1], r[-1] - lateness) for r in rows], watermark=mark - lateness, proctime=now)
            live = [r for r in live if mark - lateness < r[2]]
            if rng.random() < 0.3:
                run.restart(rng.randint(1, 3))
        run.epoch([], watermark=END, proctime=END)
        once.end()
        assert run.rows == once.rows, n
        assert run.state_rows == 0 and not run.late and not once.late
