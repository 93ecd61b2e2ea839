"""SessionWindowAggregate: rows in, watermark, sessions out; and random splits against DuckDB."""

from __future__ import annotations

import os
import random
from typing import Any

import pytest
from aggregate_oracle import EVERYTHING, FILTER, ask, assert_same, call, call_sql, every_call, table_of
from driver import END, NO_WATERMARK, Row, Run, batch, schema, source, tuples
from test_window_aggregate import WINDOW, Splits, agg

from sqlstream.batches import Time
from sqlstream.errors import NotSupported
from sqlstream.operators.base import PhysicalNode
from sqlstream.operators.session_window import SessionWindowAggregate
from sqlstream.operators.window_aggregate import can_share_slices
from sqlstream.plan.nodes import AggCall
from sqlstream.types import BIGINT, PROCTIME, ROWTIME, STRING, Column, Schema, timestamp

SEED = int(os.environ.get("SEED", random.randrange(10**6)))
S = 1_000_000
KT = schema(k=STRING, v=BIGINT, t=(timestamp(3), ROWTIME))


def node(
    given: PhysicalNode, keys: tuple[int, ...], time: int, gap: int, *calls: AggCall, domain: str = ROWTIME
) -> Any:
    """keys, window_start, window_end, calls"""
    n = len(keys)
    columns = (*(given.schema[k] for k in keys), *WINDOW, *(c.column for c in calls))
    return SessionWindowAggregate((given,), keys, time, gap, domain, calls, Schema(columns), n, n + 1)


@pytest.mark.parametrize("distinct", [False, True])
def test_sessions_grow_merge_and_close(distinct: bool) -> None:
    calls = agg("COUNT", 1, distinct=distinct), agg("SUM", 1)
    run = Run(node(source(KT, row_wm=True), (0,), 2, 10, *calls))
    assert run.node.traits.append_only
    run.epoch([("a", 1, 0, NO_WATERMARK), ("a", 2, 25, 0), ("b", 1, 5, 0), ("a", 3, 10, 0)], watermark=9)
    run.restart(2)
    assert run.epoch([("a", 4, 17, 9)], watermark=16) == [("b", 5, 15, 1, 1)]  # 17 joins both of a's
    assert run.epoch([("b", 9, 15, 16), ("b", 2, 17, 16)], watermark=35) == [
        ("a", 0, 35, 4, 10),
        ("b", 17, 27, 1, 2),
    ]
    assert run.late == [("b", 9, 15)]
    assert run.state_rows == 0
    assert run.time == Time(35)


def test_sessions_that_touch_are_one() -> None:
    run = Run(node(source(KT, row_wm=True), (), 2, 10, agg("COUNT")))
    run.epoch([("a", 1, 0, NO_WATERMARK), ("a", 1, 10, 0), ("a", 1, 21, 0)])
    run.end()
    assert run.rows == [(0, 20, 2), (21, 31, 1)]


def test_without_a_watermark_on_rows_a_session_waits_until_time_is_past_its_end() -> None:
    run = Run(node(source(KT), (), 2, 10, agg("COUNT")))
    assert run.epoch([("a", 1, 0)], watermark=10) == []
    assert run.time == Time(9)
    assert run.epoch([("a", 1, 10)], watermark=11) == []  # touches it
    assert run.epoch([], watermark=21) == [(0, 20, 2)]


def test_processing_time() -> None:
    given = source(schema(v=BIGINT, t=(timestamp(3), PROCTIME)), row_wm=True)
    run = Run(node(given, (), 1, 10, agg("SUM", 0), domain=PROCTIME))
    run.epoch([(1, 100, 5000)], proctime=100)
    assert run.epoch([(2, 105, 6000)], proctime=105) == []
    assert run.epoch([], proctime=116) == [(100, 115, 3)]


def test_a_changelog_is_refused() -> None:
    with pytest.raises(NotSupported):
        node(source(KT, changelog=True), (0,), 2, 10, agg("COUNT"))


def test_the_plan_prints() -> None:
    n = node(source(KT), (0,), 2, 10 * S, agg("COUNT"))
    assert n.details() == "window=[SESSION, gap=10 s, time=t], keys=[k], calls=[COUNT(*) AS COUNT]"
    assert n.places == (0, -1, -2)


MERGEABLE = [c for c in every_call() if can_share_slices([c])][::7]
OTHERS = [call("COUNT", 1, distinct=True, filter=FILTER), call("LISTAGG", 5), call("SUM", 3), call("LAST_VALUE", 11)]


def oracle(rows: list[Row], orders: list[int], base: Schema, keys: tuple[int, ...], gap: int, calls: Any) -> list[Row]:
    by = f"PARTITION BY {', '.join(f'c{k}' for k in keys)}" if keys else ""
    select = ", ".join(
        [*(f"c{k} AS k{k}" for k in keys), "make_timestamp(min(_t)) s", f"make_timestamp(max(_t) + {gap}) e"]
    )
    select += "".join(f", {call_sql(c, base, '_ord')} a{i}" for i, c in enumerate(calls))
    return ask(
        f"""SELECT {select} FROM (
              SELECT *, sum(_f) OVER ({by} ORDER BY _t RANGE UNBOUNDED PRECEDING) _n FROM (
                SELECT *, CASE WHEN _t - lag(_t) OVER ({by} ORDER BY _t) <= {gap} THEN 0 ELSE 1 END _f
                FROM (SELECT *, epoch_us(c8) _t FROM input)))
            GROUP BY {", ".join([*(f"c{k}" for k in keys), "_n"])}""",
        input=table_of(rows, base, orders),
    )


@pytest.mark.parametrize("merges", [True, False])
@pytest.mark.parametrize("which", range(4))
def test_random_rows_against_duckdb(which: int, merges: bool) -> None:
    print(f"SEED={SEED}")
    rng = random.Random(SEED + which)
    splits = Splits(rng)
    base = Schema(tuple(Column(c.name, c.type, ROWTIME if i == 8 else None) for i, c in enumerate(EVERYTHING)))
    keys, gap = rng.choice([(0,), (), (0, 11)]), rng.choice([3, 5, 10]) * S
    calls = MERGEABLE if merges else OTHERS
    given = source(base, row_wm=True, arrival=True)
    run = Run(node(given, keys, 8, gap, *calls), parallelism=rng.choice([1, 2]))
    kept: list[Row] = []
    orders: list[int] = []
    late: list[Row] = []
    for epoch in range(10):
        fed = splits.rows(rng.choice([0, 2, 20]))
        for row, mark, at in fed:
            if row[8] <= mark:
                late.append(row)
            else:
                kept.append(row)
                orders.append(at)
        rows = [(*row, mark, at) for row, mark, at in fed]
        rng.shuffle(rows)
        watermark = END if epoch == 9 else min(splits.mark)
        run.epoch(rows, watermark=watermark)
        end = len(keys) + 1
        want = [r for r in oracle(kept, orders, base, keys, gap, calls) if r[end] <= watermark]
        assert_same(run.rows, want, f"seed {SEED + which}, epoch {epoch}")
        assert_same(run.late, tuples(batch(source(base), late)))
        if rng.random() < 0.4:
            run.restart(rng.choice([1, 2, 3]))
    assert run.state_rows == 0
