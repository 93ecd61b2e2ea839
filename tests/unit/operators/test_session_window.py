"""SessionWindowAggregate: rows in, watermark, sessions out; and random splits against DuckDB."""

from __future__ import annotations

import random
from typing import Any

import pyarrow as pa
import pytest
from aggregate_oracle import EVERYTHING, FILTER, ask, assert_same, call, call_sql, every_call, table_of
from driver import END, NO_WATERMARK, Row, Run, batch, schema, source, tuples
from harness.seed import SEED
from test_window_aggregate import WINDOW, Splits, agg

from sqlstream.batches import Time
from sqlstream.operators.base import PhysicalNode
from sqlstream.operators.session_window import SessionWindowAggregate
from sqlstream.plan.nodes import AggCall
from sqlstream.types import BIGINT, PROCTIME, ROWTIME, STRING, Column, Schema, timestamp

S = 1_000_000
KT = schema(k=STRING, v=BIGINT, t=(timestamp(3), ROWTIME))


def node(
    given: PhysicalNode, keys: tuple[int, ...], time: int, gap: int, *calls: AggCall, domain: str = ROWTIME
) -> Any:
    """keys, window_start, window_end, calls"""
    n = len(keys)
    columns = (*(given.schema[k] for k in keys), *WINDOW, *(c.column for c in calls))
    return SessionWindowAggregate((given,), keys, time, gap, domain, calls, n, n + 1, None, Schema(columns))


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
        ("b", 15, 27, 2, 11),  # 15 is behind 16, and its own session is not: 17 joins it
    ]
    assert run.late == []
    assert run.state_rows == 0
    assert run.time == Time(35)


@pytest.mark.parametrize("distinct", [False, True])
def test_a_row_behind_the_watermark(distinct: bool) -> None:
    calls = agg("COUNT", 1, distinct=distinct), agg("SUM", 1)
    run = Run(node(source(KT, row_wm=True, arrival=True), (0,), 2, 10, *calls))
    run.epoch([("a", 1, 0, NO_WATERMARK, 1), ("a", 2, 8, 0, 2), ("b", 4, 30, 8, 3)], watermark=8)
    # a's session is open until 18. By 17 row 3 joins it, though its own would have closed; by 18 it is late.
    # Row 7's own session closes at 19: it lies beside the one that had closed.
    assert run.epoch([("a", 3, 5, 17, 4), ("a", 6, 5, 18, 5), ("a", 7, 9, 18, 6)], watermark=17) == []
    run.restart(2)
    assert run.epoch([], watermark=18) == [("a", 0, 18, 3, 6)]
    assert run.late == []  # another split may still hold a's session open, as far as this one knows
    run.restart(1)
    assert run.epoch([("a", 8, 29, 20, 7)], watermark=20) == [("a", 9, 19, 1, 7)]
    assert run.late == [("a", 6, 5)]
    assert run.end() == [("a", 29, 39, 1, 8), ("b", 30, 40, 1, 4)]
    assert run.state_rows == 0


def test_rows_of_one_watermark_go_by_arrival() -> None:
    run = Run(node(source(KT, row_wm=True, arrival=True), (0,), 2, 10, agg("SUM", 1)))
    # Row 1 finds no session open; row 2 opens one that would have touched it; row 3 joins that.
    run.epoch([("a", 3, 6, 20, 3), ("a", 1, 6, 20, 1), ("a", 2, 11, 20, 2)], watermark=20)
    assert run.end() == [("a", 6, 21, 5)]
    assert run.late == [("a", 1, 6)]


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


def test_the_plan_prints() -> None:
    n = node(source(KT), (0,), 2, 10 * S, agg("COUNT"))
    assert n.details() == "window=[SESSION, gap=INTERVAL '10' SECOND, time=t], keys=[k], calls=[COUNT(*) AS COUNT]"
    assert n.places == (0, -1, -2)


MERGEABLE = every_call()[::7]
OTHERS = [call("COUNT", 1, distinct=True, filter=FILTER), call("LISTAGG", 5), call("SUM", 3), call("LAST_VALUE", 11)]


def simulate(rows: list[tuple[Any, int, int, int]], gap: int) -> tuple[dict[int, tuple[Any, int]], set[int]]:
    """Flink's operator over one stream: rows (key, time, watermark, arrival) in the order of their watermarks, then of
    arrival. The session (its key and end) of each row by arrival, and those that are late."""
    sessions: list[tuple[Any, int, int, list[int]]] = []
    late = set()
    for key, t, mark, at in sorted(rows, key=lambda r: (r[2], r[3])):
        start, end, members = t, t + gap, [at]
        for s in [s for s in sessions if s[0] == key and s[2] > mark and s[1] <= t + gap and t <= s[2]]:
            sessions.remove(s)
            start, end, members = min(start, s[1]), max(end, s[2]), members + s[3]
        if end <= mark:
            late.add(at)
        else:
            sessions.append((key, start, end, members))
    return {at: (n, end) for n, (_, _, end, members) in enumerate(sessions) for at in members}, late


def oracle(
    rows: list[Row], orders: list[int], sessions: list[int], base: Schema, keys: tuple[int, ...], gap: int, calls: Any
) -> list[Row]:
    select = ", ".join(
        [*(f"any_value(c{k}) AS k{k}" for k in keys), "make_timestamp(min(_t)) s", f"make_timestamp(max(_t) + {gap}) e"]
    )
    select += "".join(f", {call_sql(c, base, '_ord')} a{i}" for i, c in enumerate(calls))
    numbered = table_of(rows, base, orders).append_column("_n", pa.array(sessions, pa.int64()))
    return ask(f"SELECT {select} FROM (SELECT *, epoch_us(c8) _t FROM input) GROUP BY _n", input=numbered)


@pytest.mark.parametrize("merges", [True, False])
@pytest.mark.parametrize("which", range(4))
def test_random_rows_against_duckdb(which: int, merges: bool) -> None:
    print(f"SQLSTREAM_SEED={SEED}")
    rng = random.Random(SEED + which)
    splits = Splits(rng)
    base = Schema(tuple(Column(c.name, c.type, ROWTIME if i == 8 else None) for i, c in enumerate(EVERYTHING)))
    keys, gap = rng.choice([(0,), (), (0, 11)]), rng.choice([3, 5, 10]) * S
    calls = MERGEABLE if merges else OTHERS
    given = source(base, row_wm=True, arrival=True)
    run = Run(node(given, keys, 8, gap, *calls), parallelism=rng.choice([1, 2]))
    fed: list[tuple[Row, int, int]] = []
    for epoch in range(10):
        more = splits.rows(rng.choice([0, 2, 20]))
        fed += more
        rows = [(*row, mark, at) for row, mark, at in more]
        rng.shuffle(rows)
        watermark = END if epoch == 9 else min(splits.mark)
        run.epoch(rows, watermark=watermark)
        known = [(tuple(row[k] for k in keys), row[8], mark, at) for row, mark, at in fed]
        session, late = simulate(known, gap)
        closed = [(row, at) for row, _, at in fed if at in session and session[at][1] <= watermark]
        want = oracle(
            [r for r, _ in closed],
            [at for _, at in closed],
            [session[at][0] for _, at in closed],
            base,
            keys,
            gap,
            calls,
        )
        assert_same(run.rows, want, f"seed {SEED + which}, epoch {epoch}")
        dropped = [row for row, mark, at in fed if at in late and mark < watermark]
        assert_same(run.late, tuples(batch(source(base), dropped)))
        if rng.random() < 0.4:
            run.restart(rng.choice([1, 2, 3]))
    assert run.state_rows == 0
