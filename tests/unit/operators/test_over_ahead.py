"""OverAhead: rows in, watermark, rows out; and random rows, frames and restarts against DuckDB."""

from __future__ import annotations

from typing import Any

import pytest
from driver import Run, query, schema, source
from harness.seed import random_of, said

from sqlstream.operators.over_ahead import OverAhead
from sqlstream.plan.nodes import Frame, OverCall, SortKey
from sqlstream.plan.nodes.order import reach_of
from sqlstream.rendering.overs import frame_sql
from sqlstream.types import BIGINT, ROWTIME, STRING, Column, Schema, timestamp

S = 1_000_000
KT = schema(k=STRING, v=BIGINT, t=(timestamp(3), ROWTIME))


def over(function: str, *args: int, frame: Frame | None = None, **more: Any) -> OverCall:
    return OverCall(function, args, Column(function, BIGINT), frame, **more)


def run_of(*calls: OverCall, parallelism: int = 1, partition: tuple[int, ...] = (0,)) -> Run:
    reach = reach_of(calls)
    assert reach is not None
    columns = Schema((*KT.columns, *(c.column for c in calls)))
    given = source(KT, row_wm=True, arrival=True)
    run = Run(OverAhead((given,), partition, (SortKey(2),), calls, reach, columns), parallelism)
    assert run.node.traits.append_only
    return run


def test_a_row_comes_out_when_time_is_past_its_frame() -> None:
    run = run_of(over("SUM", 1, frame=Frame("RANGE", S, 2 * S)), parallelism=2)
    assert (
        run.epoch([("a", 1, 1 * S, 0, 1), ("a", 2, 3 * S, 0, 2), ("b", 4, 2 * S, 0, 3)], watermark=3 * S - 1000) == []
    )
    run.restart(3)
    assert run.epoch([("a", 8, 4 * S, 3 * S - 1000, 4)], watermark=3 * S) == [("a", 1, 1 * S, 3)]
    assert run.epoch([], watermark=4 * S) == [("b", 4, 2 * S, 4)]
    # behind the watermark that it carries: late, though frames reach its time
    assert run.epoch([("a", 16, 4 * S, 4 * S, 5), ("a", 32, 5 * S, 4 * S, 6)], watermark=5 * S) == [("a", 2, 3 * S, 42)]
    assert run.late == [("a", 16, 4 * S)]
    run.restart(1)
    assert run.epoch([], watermark=20 * S) == [("a", 8, 4 * S, 42), ("a", 32, 5 * S, 40)]
    assert run.state_rows == 0


def test_rows_wait_for_those_behind_them_and_keep_what_they_reach() -> None:
    run = run_of(over("SUM", 1, frame=Frame("ROWS", 1, 1)), over("LEAD", 1, constants=(2, -1)))
    assert run.epoch([("a", v, v * S, 0, v) for v in range(1, 4)], watermark=2 * S) == []
    assert run.epoch([], watermark=3 * S) == [("a", 1, 1 * S, 3, 3)]
    run.restart(2)
    assert run.epoch([("a", 9, 9 * S, 3 * S, 9)], watermark=9 * S) == [("a", 2, 2 * S, 6, 9)]
    assert run.state_rows == 3  # the last that came out, and two that wait
    assert run.end() == [("a", 3, 3 * S, 14, -1), ("a", 9, 9 * S, 12, -1)]


def test_a_frame_that_lies_ahead_needs_none_of_what_came_out() -> None:
    run = run_of(over("COUNT", frame=Frame("ROWS", -1, 2)))
    run.epoch([("a", v, v * S, 0, v) for v in range(1, 6)], watermark=5 * S)
    assert [r[-1] for r in run.rows] == [2, 2, 2] and run.state_rows == 2
    assert [r[-1] for r in run.end()] == [1, 0] and run.state_rows == 0


FRAMES = [
    (unit, preceding, following)
    for unit, one in (("ROWS", 1), ("RANGE", S))
    for preceding, following in ((0, 2 * one), (one, one), (3 * one, 0), (-one, 2 * one), (2 * one, -one))
]


@pytest.mark.parametrize("seed", range(12))
def test_random_frames_rows_and_restarts(seed: int) -> None:
    rng = random_of("over ahead", seed)
    frames = [Frame(*f) for f in rng.sample(FRAMES, rng.choice([1, 2]))]
    lead = rng.random() < 0.4
    calls = [over("SUM", 1, frame=f) for f in frames] + ([over("LEAD", 1, constants=(2, None))] if lead else [])
    partition = (0,) if rng.random() < 0.7 else ()
    run = run_of(*calls, parallelism=1 if not partition else rng.choice([1, 2, 3]), partition=partition)
    rows, watermark, number = [], 0, 0
    for _ in range(12):
        came = []
        for _ in range(rng.randrange(8)):
            number += 1
            came.append((rng.choice("abc"), rng.randrange(50), watermark + S * rng.randint(1, 6), watermark, number))
        rows += came
        watermark += S * rng.choice([0, 1, 1, 3])
        run.epoch(came, watermark=watermark)
        if partition and rng.random() < 0.3:
            run.restart(rng.choice([1, 2, 3]))
    run.end()
    by = "PARTITION BY k " if partition else ""
    items = [
        f"CAST(sum(v) OVER ({by}ORDER BY t{', n' if f.unit == 'ROWS' else ''} {frame_sql(f, True)}) AS BIGINT)"
        for f in frames
    ] + ([f"lead(v, 2) OVER ({by}ORDER BY t, n)"] if lead else [])
    names = ", ".join(f"{x} AS x{i}" for i, x in enumerate(items))
    columns = schema(k=STRING, v=BIGINT, t=timestamp(3), w=BIGINT, n=BIGINT)
    wanted = query(f"SELECT k, v, t, {names} FROM r", r=(columns, rows))
    assert run.rows == wanted, said(f"{calls}")
    assert not run.late and run.state_rows <= 9
