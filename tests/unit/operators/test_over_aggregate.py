"""OverAggregate: rows in, watermark, rows out; and random rows, frames and restarts against DuckDB."""

from __future__ import annotations

import os
import random
from typing import Any

import pytest
from aggregate_oracle import EVERYTHING, ask, assert_same, table_of
from driver import END, Row, Run, batch, schema, source, tuples
from test_window_aggregate import Splits

from sqlstream.batch.render import frame_sql, partition_sql
from sqlstream.functions.aggregates import AGGREGATES
from sqlstream.operators.base import PhysicalNode
from sqlstream.operators.over_aggregate import OverAggregate
from sqlstream.plan.nodes import Frame, OverCall, SortKey
from sqlstream.types import BIGINT, PROCTIME, ROWTIME, STRING, Column, Schema, timestamp

SEED = int(os.environ.get("SEED", random.randrange(10**6)))
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

    five = over("SUM", 1, frame=Frame("RANGE", 5, 0))
    run = Run(node(source(KT, row_wm=True), (0,), 2, five))
    run.epoch([("a", 1, 1, 0), ("a", 2, 6, 0), ("b", 3, 7, 0)], watermark=7)
    assert run.rows == [("a", 1, 1, 1), ("a", 2, 6, 3), ("b", 3, 7, 3)]
    assert run.state_rows == 2  # time 1 is out of reach
    run.epoch([], watermark=13)
    assert run.state_rows == 0


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
    "range": calls_over(Frame("RANGE", 7 * S, 0))[1::4],
    "mixed": [
        call_of("SUM", 2, Frame("RANGE", 3 * S, 0)), call_of("SUM", 2, Frame("ROWS", 4, 0)), call_of("SUM", 2, RUNNING),
        over("LAG", 5, type=STRING, constants=(1, "none")), over("RANK"),
    ],
    "whole": [
        call_of("COUNT", 1, RUNNING, True), call_of("LISTAGG", 5, RUNNING), call_of("VAR_SAMP", 4, RUNNING),
        call_of("AVG", 3, Frame("ROWS", 1, 0)), over("DENSE_RANK"),
    ],
}  # fmt: skip


def oracle(
    rows: list[Row], orders: list[int], base: Schema, partition: tuple[int, ...], calls: list[OverCall], arrival: bool
) -> list[Row]:
    select = [f"c{i}" for i in range(len(base))]
    tie = "_ord" if arrival else ", ".join(select)
    for i, c in enumerate(calls):
        by = partition_sql(partition)
        ranges = c.frame is not None and c.frame.unit == "RANGE" or c.function in ("RANK", "DENSE_RANK")
        text = (
            f"OVER ({by} ORDER BY c8{'' if ranges else ', ' + tie}{' ' + frame_sql(c.frame, True) if c.frame else ''})"
        )
        args = [f"c{a}" for a in c.args]
        if c.function in AGGREGATES:
            types = [base[a].type for a in c.args]
            sql = AGGREGATES[c.function].duckdb(args, types, distinct=c.distinct, order="(c8, _ord)", over=text)
        else:
            more = [str(c.constants[0])] + ([repr(c.constants[1])] if c.constants[1] else []) if c.constants else []
            sql = f"{c.function}({', '.join(args + more)}) {text}"
        select.append(f"{sql} AS r{i}")
    return ask(f"SELECT {', '.join(select)} FROM input", input=table_of(rows, base, orders))


@pytest.mark.parametrize(("case", "arrival"), [*((c, True) for c in CASES), ("mixed", False)])
@pytest.mark.parametrize("run_number", range(2))
def test_random_rows_against_duckdb(case: str, arrival: bool, run_number: int) -> None:
    print(f"SEED={SEED}")
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
