"""Window aggregates: rows in, watermark, rows out; and random splits with late rows against DuckDB."""

from __future__ import annotations

import random
from typing import Any

import pytest
from aggregate_oracle import EVERYTHING, FILTER, assert_same, call, every_call, group_by, random_row, table_of
from driver import END, NO_WATERMARK, Row, Run, batch, schema, source, tuples
from harness.seed import SEED

from sqlstream.batches import Time
from sqlstream.operators.base import PhysicalNode
from sqlstream.operators.slice_aggregate import SliceAggregate
from sqlstream.operators.window_aggregate import WindowAggregate
from sqlstream.plan.nodes import AggCall, WindowSpec
from sqlstream.types import (
    BIGINT,
    PROC_WINDOW_END,
    PROCTIME,
    ROWTIME,
    STRING,
    WINDOW_END,
    WINDOW_START,
    Column,
    Schema,
    timestamp,
)

TS = timestamp(3)
WINDOW = (Column("window_start", TS, WINDOW_START), Column("window_end", TS, WINDOW_END))
S = 1_000_000


def agg(function: str, *args: int, type: Any = BIGINT, **more: Any) -> AggCall:
    return AggCall(function, args, Column(function, type), **more)


def windowed(given: PhysicalNode, keys: tuple[int, ...], end: int, *calls: AggCall, domain: str = ROWTIME) -> Any:
    columns = (*(given.schema[k] for k in keys), *(c.column for c in calls))
    return WindowAggregate((given,), keys, None, end, domain, calls, Schema(columns))


def sliced(given: PhysicalNode, spec: WindowSpec, time: int, keys: tuple[int, ...], *calls: AggCall) -> Any:
    columns = (*(given.schema[k] for k in keys), *WINDOW, *(c.column for c in calls))
    return SliceAggregate((given,), keys, time, spec, ROWTIME, calls, Schema(columns), (*keys, -1, -2))


KE = schema(k=STRING, v=BIGINT, end=(TS, WINDOW_END))


def test_a_window_is_emitted_when_the_watermark_passes_its_end() -> None:
    run = Run(windowed(source(KE, row_wm=True), (0, 2), 2, agg("COUNT"), agg("SUM", 1)), parallelism=2)
    assert run.node.traits.append_only and run.node.traits.key == (0, 1) and not run.node.traits.row_wm
    assert run.epoch([("a", 1, 10, 0), ("a", 2, 10, 1), ("b", 3, 20, 2)], watermark=9) == []
    run.restart(3)
    assert run.epoch([("a", 4, 10, 9)], watermark=10) == [("a", 10, 3, 7)]
    assert run.state_rows == 1
    assert run.epoch([("b", 5, 10, 10)], watermark=15) == []
    assert run.late == [("b", 5, 10)]
    assert run.end() == [("b", 20, 1, 3)]
    assert run.state_rows == 0
    assert run.time == Time(END, END)


def test_a_row_that_its_own_watermark_makes_late_is_late_though_the_window_is_open_here() -> None:
    run = Run(windowed(source(KE, row_wm=True), (2,), 2, agg("COUNT")))
    assert run.epoch([("a", 1, 10, 10), ("b", 1, 10, 9)], watermark=5) == []
    assert run.late == [("a", 1, 10)]
    assert run.end() == [(10, 1)]


def test_a_window_that_was_closed_stays_closed_after_a_restart() -> None:
    run = Run(windowed(source(KE, row_wm=True), (2,), 2, agg("COUNT")))
    run.epoch([("a", 1, 10, 0)], watermark=10)
    run.restart(2)
    # A split that was idle comes back with an older watermark.
    assert run.epoch([("a", 1, 10, 3)]) == []
    assert run.rows == [(10, 1)] and run.late == [("a", 1, 10)]


def test_a_changelog_in_windows() -> None:
    calls = agg("COUNT"), agg("MAX", 1), agg("COUNT", 0, distinct=True)
    run = Run(windowed(source(KE, changelog=True), (2,), 2, *calls))
    run.epoch([("+I", "a", 1, 10), ("+I", "b", 7, 10), ("+I", "c", 2, 20)], watermark=5)
    run.restart(2)
    run.epoch([("-U", "b", 7, 10), ("+U", "b", 0, 10), ("-D", "c", 2, 20)])
    assert run.end() == [(10, 2, 1, 2)]
    assert run.state_rows == 0


def test_processing_time() -> None:
    given = source(schema(v=BIGINT, end=(TS, PROC_WINDOW_END)), row_wm=True)
    run = Run(windowed(given, (1,), 1, agg("COUNT"), domain=PROCTIME))
    assert run.epoch([(1, 10, 50)], watermark=50, proctime=9) == []  # its event time does not matter
    assert run.epoch([], proctime=10) == [(10, 1)]
    assert run.late == []


KT = schema(k=STRING, v=BIGINT, t=(TS, ROWTIME))


def test_hop_merges_slices() -> None:
    run = Run(sliced(source(KT, row_wm=True), WindowSpec("HOP", 10, 5), 2, (0,), agg("COUNT"), agg("MAX", 1)))
    run.epoch([("a", 3, 1, NO_WATERMARK), ("a", 9, 6, 1), ("b", 4, 12, 6)], watermark=4)
    assert run.epoch([], watermark=10) == [("a", -5, 5, 1, 3), ("a", 0, 10, 2, 9)]
    run.restart()
    assert run.epoch([], watermark=17) == [("a", 5, 15, 1, 9), ("b", 5, 15, 1, 4)]
    # Late for the window that ends at 15, on time for the one that ends at 20.
    assert run.epoch([("a", 1, 11, 17), ("a", 1, 9, 17)]) == []
    assert run.late == [("a", 1, 9)]
    assert run.end() == [("a", 10, 20, 1, 1), ("b", 10, 20, 1, 4)]
    assert run.state_rows == 0


def test_cumulate_goes_on_adding() -> None:
    run = Run(sliced(source(KT, row_wm=True), WindowSpec("CUMULATE", 30, 10), 2, (), agg("COUNT"), agg("SUM", 1)))
    rows = [("a", 1, 1, 0), ("a", 2, 11, 0), ("a", 4, 21, 0), ("a", 8, 31, 0)]
    assert run.epoch(rows, watermark=20) == [(0, 10, 1, 1), (0, 20, 2, 3)]
    run.restart(2)
    assert run.epoch([("a", 16, 5, 20)], watermark=30) == [(0, 30, 4, 23)]
    assert run.end() == [(30, 40, 1, 8), (30, 50, 1, 8), (30, 60, 1, 8)]
    assert run.state_rows == 0


def test_hop_with_gaps_and_rows_without_a_time() -> None:
    run = Run(sliced(source(KT, row_wm=True), WindowSpec("HOP", 3, 10), 2, (), agg("COUNT")))
    run.epoch([("a", 1, 2, 0), ("a", 1, 5, 0), ("a", 1, None, 0)], watermark=100)
    assert run.rows == [(0, 3, 1)] and run.late == []


def windows_of(spec: WindowSpec, t: int) -> list[tuple[int, int]]:
    """The windows that hold time t, from the definition."""
    if spec.kind == "CUMULATE":
        start = t - (t - spec.offset) % spec.size
        return [(start, start + e) for e in range(spec.slide, spec.size + 1, spec.slide) if start + e > t]
    slide = spec.slide or spec.size
    last = t - (t - spec.offset) % slide
    return [(s, s + spec.size) for s in range(last, t - spec.size, -slide)]


SPECS = [
    WindowSpec("TUMBLE", 10 * S, 0, 3 * S),
    WindowSpec("HOP", 10 * S, 5 * S),
    WindowSpec("HOP", 10 * S, 4 * S, S),
    WindowSpec("HOP", 4 * S, 10 * S),
    WindowSpec("CUMULATE", 12 * S, 4 * S, -S),
]
MERGEABLE = every_call()[::7]
WIDE = len(EVERYTHING)


class Splits:
    """Rows of some splits with disorder, each with the watermark before it, arrival number and its windows."""

    def __init__(self, rng: random.Random) -> None:
        self.rng, self.count = rng, 3
        self.time, self.mark, self.at = [0] * 3, [NO_WATERMARK] * 3, [0] * 3

    def rows(self, n: int) -> list[tuple[Row, int, int]]:
        out = []
        for _ in range(n):
            i = self.rng.randrange(self.count)
            self.time[i] += self.rng.choice([0, 0, 1, 2, 5]) * S
            t = self.time[i] - self.rng.choice([0, 0, 0, 3, 9, 20]) * S
            row = random_row(self.rng, keys=3)
            out.append(((*row[:8], t, *row[9:]), self.mark[i], i << 40 | self.at[i]))
            self.at[i] += 1
            self.mark[i] = max(self.mark[i], t - 2 * S)
        return out


@pytest.mark.parametrize("which", range(len(SPECS)))
@pytest.mark.parametrize("shared", [True, False])
def test_random_rows_against_duckdb(which: int, shared: bool) -> None:
    print(f"SQLSTREAM_SEED={SEED}")
    rng, spec = random.Random(SEED + which), SPECS[which]
    splits = Splits(rng)
    base = Schema(tuple(Column(c.name, c.type, ROWTIME if i == 8 else None) for i, c in enumerate(EVERYTHING)))
    keys = rng.choice([(0,), (), (0, 11)])
    if shared:
        calls = MERGEABLE
        given = source(base, row_wm=True, arrival=True)
        run = Run(sliced(given, spec, 8, keys, *calls), parallelism=rng.choice([1, 2]))
    else:
        calls = [call("COUNT"), call("SUM", 1, distinct=True), call("MIN", 5), call("LISTAGG", 5, filter=FILTER)]
        given = source(Schema((*base.columns, *WINDOW)), row_wm=True, arrival=True)
        run = Run(windowed(given, (*keys, WIDE, WIDE + 1), WIDE + 1, *calls), parallelism=rng.choice([1, 2]))
    expanded, orders, late = [], [], []
    for epoch in range(8):
        fed = splits.rows(rng.choice([0, 3, 40]))
        rows: list[Row] = []
        for row, mark, at in fed:
            for start, end in windows_of(spec, row[8]):
                if end > mark:
                    expanded.append((*row, start, end))
                    orders.append(at)
                if not shared:
                    rows.append((*row, start, end, mark, at))
            if shared:
                rows.append((*row, mark, at))
                ends = [e for _, e in windows_of(spec, row[8])]
                if ends and max(ends) <= mark:
                    late.append(row)
        rng.shuffle(rows)
        watermark = END if epoch == 7 else min(splits.mark)
        run.epoch(rows, watermark=watermark)
        kept = [(r, o) for r, o in zip(expanded, orders, strict=True) if r[WIDE + 1] <= watermark]
        wide = Schema((*base.columns, *WINDOW))
        table = table_of([r for r, _ in kept], wide, [o for _, o in kept])
        want = group_by(table, (*keys, WIDE, WIDE + 1), calls, wide, "_ord") if kept else []
        assert_same(run.rows, want, f"seed {SEED + which}, epoch {epoch}")
        if shared:
            assert_same(run.late, tuples(batch(source(base), late)))
        if rng.random() < 0.4:
            run.restart(rng.choice([1, 2, 3]))
    assert run.state_rows == 0


def test_the_plan_prints() -> None:
    n = sliced(source(KT), WindowSpec("TUMBLE", 10 * S), 2, (0,), agg("COUNT"))
    assert n.details() == "window=[TUMBLE, size=INTERVAL '10' SECOND, time=t], keys=[k], calls=[COUNT(*) AS COUNT]"
    assert [list(s.key.names) for s in n.states()] == [["c0", "last"]]
