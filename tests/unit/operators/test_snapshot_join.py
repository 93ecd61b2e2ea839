"""SnapshotJoin (LATERAL SNAPSHOT): its phases by hand, then against its definition at every epoch."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from sqlstream import expressions
from sqlstream.clock import PositionClock
from sqlstream.expressions import Call, Literal
from sqlstream.operators.snapshot_join import SnapshotJoin
from sqlstream.types import BIGINT, BOOLEAN, INT, ROWTIME, Schema, timestamp, timestamp_ltz
from tests.unit.operators.driver import END, NO_WATERMARK, Row, Run, ordered, schema, source

T = (timestamp(3), ROWTIME)
L, R = schema(k=INT, t=T, a=BIGINT), schema(k=INT, b=BIGINT)
BOTH = Schema((*L.columns, *R.columns))
LESS = Call(BOOLEAN, "<", (expressions.Column(BIGINT, 2), expressions.Column(BIGINT, 4)))
AT_20 = Literal(timestamp_ltz(3), 20)


def join(kind="INNER", changelog=True, load_time=AT_20, idle=None, ttl=0, residual=None, null_safe=False):
    left, right = source(L, row_wm=True), source(R, changelog=changelog)
    return SnapshotJoin((left, right), kind, (0,), (0,), (null_safe,), residual, "onTime=s", load_time, idle, BOTH, ttl)


def sizes(run: Run) -> tuple[int, int]:
    return tuple(sum(t.tables[name].size for t in run.tasks) for name in ("left", "right"))


def test_rows_wait_until_the_table_is_loaded() -> None:
    run = Run(join("LEFT"))
    assert run.epoch([(1, 15, 1, 0), (2, 5, 2, 0)], [("+I", 1, 10)], watermark=[15, 19]) == []
    assert run.time.watermark == NO_WATERMARK and sizes(run) == (2, 1)
    run.restart(3)
    assert run.epoch([], [("-U", 1, 10), ("+U", 1, 11), ("+I", 1, 12)], watermark=[16, 20]) == [
        (1, 15, 1, 1, 11), (1, 15, 1, 1, 12), (2, 5, 2, None, None),
    ]  # fmt: skip
    # time is the left side's from here on, and the right one's stands
    assert run.time.watermark == 16 and sizes(run) == (0, 2)
    run.restart(2)
    assert run.epoch([(1, 30, 3, 16)], [("-D", 1, 12)], watermark=[30, 20]) == [(1, 30, 3, 1, 11)]
    assert run.time.watermark == 30
    assert run.epoch([(1, 1, 4, 30), (3, None, 5, 30)]) == [(1, 1, 4, 1, 11), (3, None, 5, None, None)]
    assert run.late == [] and run.end() == []


def test_a_silent_table_is_loaded_when_its_watermark_has_stood_still() -> None:
    run = Run(join(idle=50))
    assert run.epoch([(1, 15, 1, 0)], [("+I", 1, 10)], watermark=5, proctime=1000) == []
    assert run.epoch(watermark=6, proctime=1040) == []
    assert run.epoch(watermark=6, proctime=1089) == []
    assert run.epoch(watermark=6, proctime=1090) == [(1, 15, 1, 1, 10)]


def test_without_a_time_it_is_loaded_up_to_the_first_beginning_of_the_job() -> None:
    class Clock(PositionClock):
        at = 100

        def now(self) -> int:
            return self.at

    clock = Clock()
    run = Run(join(load_time=None), clock=clock)
    assert run.epoch([(1, 15, 1, 0)], [("+I", 1, 10)], watermark=99) == []
    clock.at = 200
    run.restart(2)
    assert run.epoch(watermark=100) == [(1, 15, 1, 1, 10)]


def test_rows_of_a_key_live_by_it_and_from_the_join_phase_on() -> None:
    run = Run(join("LEFT", ttl=100))
    run.epoch([], [("+I", 1, 10), ("+I", 1, 11), ("+I", 2, 20), ("+I", 3, 30)], watermark=0, proctime=0)
    run.epoch(watermark=0, proctime=500)
    run.epoch(watermark=20, proctime=600)  # loaded
    run.epoch([(1, 30, 1, 20)], proctime=650)  # key 1 is met
    run.epoch([], [("-U", 2, 20), ("+U", 2, 21)], proctime=660)  # and key 2 is written
    assert sizes(run) == (0, 4)
    run.restart(2)
    assert run.epoch([(3, 30, 2, 20), (1, 30, 3, 20)], proctime=730) == [
        (1, 30, 3, 1, 10), (1, 30, 3, 1, 11), (3, 30, 2, None, None),
    ]  # fmt: skip
    assert sizes(run) == (0, 3)
    run.epoch([], [("-D", 3, 30)], proctime=740)
    assert run.lost == 1
    run.epoch(proctime=900)
    assert sizes(run) == (0, 0)


@pytest.mark.parametrize("kind", ["INNER", "LEFT"])
@pytest.mark.parametrize("less", [False, True])
@pytest.mark.parametrize("example", range(8))
def test_every_epoch_is_as_defined(example: int, kind: str, less: bool) -> None:
    seed = random.randrange(10**6)
    rng = random.Random(seed)
    safe, changelog = rng.random() < 0.3, rng.random() < 0.7
    run = Run(join(kind, changelog, residual=LESS if less else None, null_safe=safe), rng.choice([1, 3]))
    table: Counter[Row] = Counter()
    waiting: list[Row] = []
    expected: list[Row] = []
    mark = 0
    for epoch in range(14):
        end = epoch == 13
        feed: list[Row] = []
        for _ in range(rng.randrange(8)):
            if changelog and table and rng.random() < 0.4:
                gone = rng.choice(sorted(table.elements(), key=str))
                table[gone] -= 1
                table += Counter()
                feed.append(("-D", *gone))
            else:
                row = (rng.choice([None, 1, 2, 3]), rng.randrange(4))
                table[row] += 1
                feed.append(("+I", *row) if changelog else row)
        rng.shuffle(feed)
        lefts = [(rng.choice([None, 1, 2]), 5, rng.randrange(4), 0) for _ in range(rng.randrange(5))]
        waiting += lefts
        mark = END if end else mark + rng.randrange(6)
        run.epoch(lefts, feed, watermark=[END if end else 3, mark])
        if mark >= 20:
            for k, t, a, _ in waiting:
                met = [r for r in table.elements() if r[0] == k and (safe or k is not None) and (not less or a < r[1])]
                expected += [(k, t, a, *r) for r in met or ([(None, None)] if kind == "LEFT" else [])]
            waiting = []
        assert run.rows == ordered(expected), f"seed {seed} epoch {epoch}"
        if rng.random() < 0.25:
            run.restart(rng.choice([1, 2, 3]))
    assert sizes(run)[0] == 0 and all(t.operator.index.index.size <= 4 for t in run.tasks)
    run.close()
