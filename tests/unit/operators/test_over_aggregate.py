"""OverAggregate: rows in, watermark, rows out; and random rows, frames and restarts against DuckDB."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
from aggregate_oracle import EVERYTHING, FILTER, ask, assert_same, table_of
from driver import END, Row, Run, batch, schema, source, tuples
from harness.seed import SEED
from test_window_aggregate import Splits

from sqlstream.aggregates.registry import AGGREGATES
from sqlstream.operators.base import PhysicalNode
from sqlstream.operators.over_aggregate import OverAggregate
from sqlstream.plan.nodes import Frame, OverCall, SortKey
from sqlstream.rendering.overs import frame_sql
from sqlstream.types import BIGINT, PROCTIME, ROWTIME, STRING, Column, Schema, timestamp

S = 1_000_000
KT = schema(k=STRING, v=BIGINT, t=(timestamp(3), ROWTIME))
RUNNING = Frame("RANGE", None, 0)
RANKS = ("ROW_NUMBER", "RANK", "DENSE_RANK")


def over(function: str, *args: int, frame: Frame | None = None, type: Any = BIGINT, **more: Any) -> OverCall:
    return OverCall(function, args, Column(function, type), frame, **more)


def node(given: PhysicalNode, partition: tuple[int, ...], time: int, *calls: OverCall, domain: str = ROWTIME) -> Any:
    columns = Schema((*given.schema.columns, *(c.column for c in calls)))
    return OverAggregate((given,), partition, (SortKey(time),), calls, domain, columns)


def test_rows_come_out_in_time_order_with_running_values() -> None:
    calls = over("SUM", 1, frame=RUNNING), over("COUNT", frame=RUNNING), over("ROW_NUMBER")
    run = Run(node(source(KT, row_wm=True, arrival=True), (0,), 2, *calls), parallelism=2)
    assert run.node.traits.append_only
    assert run.epoch([("a", 2, 20, 0, 1), ("a", 1, 10, 0, 2), ("b", 5, 11, 0, 3)], watermark=9) == []
    run.restart(3)
    assert run.epoch([("a", 3, 20, 9, 4), ("a", 4, 9, 9, 5)], watermark=20) == [
        ("a", 1, 10, 1, 1, 1),
        ("a", 2, 20, 6, 3, 2),
        ("a", 3, 20, 6, 3, 3),  # RANGE takes in rows of equal time
        ("b", 5, 11, 5, 1, 1),
    ]
    assert run.late == [("a", 4, 9)]
    run.restart(1)
    run.epoch([("a", 10, 21, 20, 6)])
    assert run.end() == [("a", 10, 21, 16, 4, 4)]
    assert run.state_rows == 2  # what the two partitions came to


def test_frames_keep_the_rows_that_they_reach() -> None:
    two = over("SUM", 1, frame=Frame("ROWS", 1, 0))
    run = Run(node(source(KT, row_wm=True, arrival=True), (0,), 2, two, over("LAG", 1, constants=(1, 0))))
    run.epoch([("a", v, v, 0, v) for v in range(1, 5)], watermark=4)
    assert run.rows == [("a", 1, 1, 1, 0), ("a", 2, 2, 3, 1), ("a", 3, 3, 5, 2), ("a", 4, 4, 7, 3)]
    assert run.state_rows == 1
    run.restart(2)
    assert run.epoch([("a", 9, 9, 4, 9)], watermark=9) == [("a", 9, 9, 13, 4)]

    five = over("SUM", 1, frame=Frame("RANGE", 5 * S, 0))
    run = Run(node(source(KT, row_wm=True), (0,), 2, five))
    run.epoch([("a", 1, 1 * S, 0), ("a", 2, 6 * S + 1, 0), ("b", 3, 7 * S, 0)], watermark=7 * S)
    assert run.rows == [("a", 1, 1 * S, 1), ("a", 2, 6 * S + 1, 2), ("b", 3, 7 * S, 3)]
    assert run.state_rows == 2  # time 1 is out of reach of what comes after a's last row
    run.restart(2)
    # A partition is known until one and a half times the frame after its last row.
    run.epoch([], watermark=14 * S)
    assert run.state_rows == 1
    run.epoch([], watermark=15 * S)
    assert run.state_rows == 0


def test_bounded_frames_take_rows_that_are_after_their_partitions_last() -> None:
    for frame in (Frame("RANGE", 20, 0), Frame("ROWS", 5, 0)):
        run = Run(node(source(KT, row_wm=True), (0,), 2, over("SUM", 1, frame=frame)), parallelism=2)
        run.epoch([("a", 1, 10, 0), ("b", 2, 19, 10), ("a", 4, 12, 19), ("a", 8, 10, 19)], watermark=11)
        # Both of a's wait until time is past 19, as another split may still bring rows up to there.
        assert run.rows == [("a", 1, 10, 1)] and run.late == []
        run.restart(3)
        # By then 15 came out; row 8, which came with 15, is not after it, and row 4, which came with 19, is not either.
        run.epoch([("a", 16, 15, 11), ("b", 32, 18, 19), ("a", 64, 16, 19)], watermark=20)
        assert run.rows == [("a", 1, 10, 1), ("a", 16, 15, 17), ("a", 64, 16, 81), ("b", 2, 19, 2)]
        assert sorted(run.late) == [("a", 4, 12), ("a", 8, 10), ("b", 32, 18)]
        assert run.end() == []


def test_a_partition_that_a_range_forgot_begins_anew() -> None:
    call = over("SUM", 1, frame=Frame("RANGE", 10 * S, 0))
    run = Run(node(source(KT, row_wm=True), (0,), 2, call))
    # At 25 s Flink has cleared a's state (its last row, and 15 s); at 24 s it had not.
    marks = [("a", 1, 10 * S, 0), ("a", 2, 12 * S, 24 * S), ("b", 4, 10 * S, 0), ("b", 8, 12 * S, 26 * S)]
    run.epoch(marks, watermark=30 * S)
    assert run.rows == [("a", 1, 10 * S, 1), ("a", 2, 12 * S, 3), ("b", 4, 10 * S, 4), ("b", 8, 12 * S, 8)]
    run = Run(node(source(KT, row_wm=True), (0,), 2, call))
    for row in marks:  # an epoch each
        run.epoch([row], watermark=row[3])
    run.end()
    assert run.rows == [("a", 1, 10 * S, 1), ("a", 2, 12 * S, 3), ("b", 4, 10 * S, 4), ("b", 8, 12 * S, 8)]


def test_processing_time() -> None:
    given = source(schema(v=BIGINT, t=(timestamp(3), PROCTIME)))
    run = Run(node(given, (), 1, over("SUM", 0, frame=RUNNING), domain=PROCTIME))
    assert run.epoch([(1, 100), (2, 101)], proctime=100) == []
    assert run.epoch([(3, 102)], proctime=102) == [(1, 100, 1), (2, 101, 3)]
    assert run.end() == [(3, 102, 6)]


def test_the_plan_prints() -> None:
    n = node(source(KT), (0,), 2, over("SUM", 1, frame=RUNNING), over("RANK"))
    assert n.details() == "partition=[k], order=[t ASC], calls=[SUM, RANK]"
    assert [s.name for s in n.states()] == ["rows", "running"]
    assert n.states()[1].value.names == ["_n", "_d", "_p2"]


def call_of(name: str, a: int, frame: Frame | None, distinct: bool = False) -> OverCall:
    args = (a,) if name != "COUNT" or a else ()
    t = AGGREGATES[name].type_of(tuple(EVERYTHING[x].type for x in args))
    return OverCall(name, args, Column(name, t), frame, (), distinct)


def calls_over(frame: Frame) -> list[OverCall]:
    out = [call_of("COUNT", 0, frame)]
    for name in ("COUNT", "SUM", "AVG", "MIN", "MAX", "FIRST_VALUE", "LAST_VALUE", "VAR_POP", "STDDEV_SAMP"):
        for a in (1, 2, 3, 4, 5, 6, 7, 8, 10):
            try:
                out.append(call_of(name, a, frame))
            except Exception:
                continue
    return out


CASES: dict[str, list[OverCall]] = {
    "running": [*calls_over(RUNNING)[::2], *(over(f) for f in RANKS)],
    "running rows": calls_over(Frame("ROWS", None, 0))[1::2],
    "rows": [*calls_over(Frame("ROWS", 2, 0))[::4], over("LAG", 1, constants=(3, None))],
    "mixed": [
        call_of("SUM", 2, Frame("RANGE", 3 * S, 0)), call_of("SUM", 2, Frame("ROWS", 4, 0)), call_of("SUM", 2, RUNNING),
        over("LAG", 5, type=STRING, constants=(1, "none")), over("RANK"),
    ],
    "whole": [
        call_of("COUNT", 1, RUNNING, True), call_of("LISTAGG", 5, RUNNING), call_of("VAR_SAMP", 4, RUNNING),
        call_of("AVG", 3, Frame("ROWS", 1, 0)), over("DENSE_RANK"),
    ],
    "filters": [replace(c, filter=FILTER) for c in calls_over(RUNNING)[::2]],
    "filters of rows": [
        replace(call_of("SUM", 2, Frame("ROWS", 3, 0)), filter=FILTER), replace(call_of("COUNT", 2, RUNNING, True), filter=FILTER),
    ],
    "nths": [
        over("NTH_VALUE", 5, frame=RUNNING, type=STRING, constants=(3,)), over("NTH_VALUE", 2, frame=Frame("ROWS", None, 0), constants=(5,)),
        over("NTH_VALUE", 5, frame=Frame("ROWS", 4, 0), type=STRING, constants=(2,)), over("RANK"),
    ],
}  # fmt: skip


BOUNDED: dict[str, list[OverCall]] = {
    "range": calls_over(Frame("RANGE", 7 * S, 0))[1::4],
    "rows": calls_over(Frame("ROWS", 2, 0))[::4],
    "current rows": calls_over(Frame("ROWS", 0, 0))[::8],
    "both": [call_of("SUM", 2, Frame("RANGE", 3 * S, 0)), call_of("SUM", 2, Frame("ROWS", 4, 0))],
}


def simulate(rows: list[tuple[Any, int, int, int]], remembered: int | None) -> tuple[dict[int, int], dict[int, int]]:
    """Flink's operator over one stream, for rows (partition, time, watermark, arrival) in the order of their watermarks:
    the life of its partition that each row by arrival falls into, and the watermark by which it is known to be late."""
    last: dict[Any, tuple[int, int]] = {}  # the last row's time, the number of the life
    lives, late = {}, {}

    def fire(r: tuple[Any, int, int, int]) -> tuple[int, bool]:
        """After which watermark a row comes out; those that are behind it come together."""
        return max(r[1] - 1, r[2]), r[1] > r[2]

    for (by, on_time), group in itertools.groupby(sorted(rows, key=fire), key=fire):
        before = dict(last)
        for key, t, _, at in sorted(group, key=lambda r: r[1]):
            known, life = before.get(key, (None, 0))
            if known is not None and remembered is not None and not on_time and by > known + remembered:
                known, life = None, life + 1
            if known is not None and not on_time and t <= known:
                late[at] = by
                continue
            lives[at] = life
            now, same = last.get(key, (t, life))
            last[key] = max(t, now) if same == life else t, life
    return lives, late


def oracle(
    rows: list[Row],
    orders: list[int],
    base: Schema,
    partition: tuple[int, ...],
    calls: list[OverCall],
    arrival: bool,
    lives: list[int] | None = None,
) -> list[Row]:
    select = [f"c{i}" for i in range(len(base))]
    tie = "_ord" if arrival else ", ".join(select)
    for i, c in enumerate(calls):
        by = f"PARTITION BY {', '.join([*(f'c{p}' for p in partition), '_life'])}"
        ranges = c.frame is not None and c.frame.unit == "RANGE" or c.function in ("RANK", "DENSE_RANK")
        text = (
            f"OVER ({by} ORDER BY c8{'' if ranges else ', ' + tie}{' ' + frame_sql(c.frame, True) if c.frame else ''})"
        )
        args = [f"c{a}" for a in c.args]
        if c.function in AGGREGATES:
            types = [base[a].type for a in c.args]
            sql = AGGREGATES[c.function].duckdb(
                args,
                types,
                distinct=c.distinct,
                order="(c8, _ord)",
                over=text,
                filter=None if c.filter is None else f"c{c.filter}",
            )
        else:
            more = [str(c.constants[0]), *[repr(v) for v in c.constants[1:] if v]] if c.constants else []
            placed = " ORDER BY c8, _ord" if c.function == "NTH_VALUE" else ""
            sql = f"{c.function}({', '.join(args + more)}{placed}) {text}"
        select.append(f"{sql} AS r{i}")
    given = table_of(rows, base, orders).append_column("_life", pa.array(lives or [0] * len(rows), pa.int64()))
    return ask(f"SELECT {', '.join(select)} FROM input", input=given)


@pytest.mark.parametrize(("case", "arrival"), [*((c, True) for c in CASES), ("mixed", False)])
@pytest.mark.parametrize("run_number", range(2))
def test_random_rows_against_duckdb(case: str, arrival: bool, run_number: int) -> None:
    print(f"SQLSTREAM_SEED={SEED}")
    rng, calls = random.Random(f"{SEED} {run_number}"), CASES[case]
    splits = Splits(rng)
    base = Schema(tuple(Column(c.name, c.type, ROWTIME if i == 8 else None) for i, c in enumerate(EVERYTHING)))
    partition = rng.choice([(0,), (), (0, 11)])
    run = Run(node(source(base, row_wm=True, arrival=arrival), partition, 8, *calls), parallelism=rng.choice([1, 2]))
    kept: list[Row] = []
    orders: list[int] = []
    late: list[Row] = []
    for epoch in range(8):
        fed = splits.rows(rng.choice([0, 2, 25]))
        for row, mark, at in fed:
            if row[8] <= mark:
                late.append(row)
            else:
                kept.append(row)
                orders.append(at)
        rows = [(*row, mark, at) if arrival else (*row, mark) for row, mark, at in fed]
        rng.shuffle(rows)
        watermark = END if epoch == 7 else min(splits.mark)
        run.epoch(rows, watermark=watermark)
        want = [r for r in oracle(kept, orders, base, partition, calls, arrival) if r[8] <= watermark]
        assert_same(run.rows, want, f"{case}, epoch {epoch}")
        assert_same(run.late, tuples(batch(source(base), late)))
        if rng.random() < 0.4:
            run.restart(rng.choice([1, 2, 3]))


@pytest.mark.parametrize("case", BOUNDED)
@pytest.mark.parametrize("run_number", range(3))
def test_random_rows_in_bounded_frames(case: str, run_number: int) -> None:
    print(f"SQLSTREAM_SEED={SEED}")
    rng, calls = random.Random(f"{SEED} {run_number}"), BOUNDED[case]
    splits = Splits(rng)
    base = Schema(tuple(Column(c.name, c.type, ROWTIME if i == 8 else None) for i, c in enumerate(EVERYTHING)))
    partition = rng.choice([(0,), (), (0, 11)])
    run = Run(node(source(base, row_wm=True, arrival=True), partition, 8, *calls), parallelism=rng.choice([1, 2]))
    remembered = 7 * S + 7 * S // 2 + 1000 if case == "range" else None
    fed: list[tuple[Row, int, int]] = []
    for epoch in range(8):
        more = splits.rows(rng.choice([0, 2, 25]))
        fed += more
        rows = [(*row, mark, at) for row, mark, at in more]
        rng.shuffle(rows)
        watermark = END if epoch == 7 else min(splits.mark)
        run.epoch(rows, watermark=watermark)
        lives, late = simulate([(tuple(r[p] for p in partition), r[8], m, at) for r, m, at in fed], remembered)
        out = [(r, at) for r, m, at in fed if at in lives and max(r[8] - 1, m) < watermark]
        want = oracle(
            [r for r, _ in out], [at for _, at in out], base, partition, calls, True, [lives[at] for _, at in out]
        )
        assert_same(run.rows, want, f"{case}, epoch {epoch}")
        dropped = [r for r, _, at in fed if late.get(at, END) < watermark]
        assert_same(run.late, tuples(batch(source(base), dropped)))
        if rng.random() < 0.4:
            run.restart(rng.choice([1, 2, 3]))
