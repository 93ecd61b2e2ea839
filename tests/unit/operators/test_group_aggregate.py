"""GroupAggregate: rows in, changes out; and random changelogs against DuckDB after every epoch."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
from aggregate_oracle import (
    EVERYTHING,
    FILTER,
    assert_same,
    call,
    every_call,
    group_by,
    random_row,
    table_of,
)  # fmt: skip
from driver import Row, Run, schema, source
from harness.seed import SEED

from sqlstream.errors import DataError, NotSupported
from sqlstream.operators.base import PhysicalNode
from sqlstream.operators.group_aggregate import GroupAggregate
from sqlstream.plan.nodes import AggCall, SortKey
from sqlstream.types import BIGINT, DOUBLE, INT, STRING, Column, Schema, Type, array


def node(given: PhysicalNode, keys: tuple[int, ...], *calls: AggCall) -> GroupAggregate:
    columns = (*(given.schema[k] for k in keys), *(c.column for c in calls))
    return GroupAggregate((given,), keys, calls, Schema(columns))


def agg(function: str, *args: int, type: Any = BIGINT, **more: Any) -> AggCall:
    return AggCall(function, args, Column(function, type), **more)


KV = schema(k=STRING, v=BIGINT)


def test_a_group_is_inserted_updated_and_deleted() -> None:
    run = Run(node(source(KV, changelog=True), (0,), agg("COUNT"), agg("SUM", 1), agg("MAX", 1)))
    assert run.epoch([("+I", "a", 1), ("+I", "a", 5), ("+I", "b", None)]) == [
        ("+I", "a", 2, 6, 5),
        ("+I", "b", 1, None, None),
    ]
    run.restart()
    assert run.epoch([("-D", "a", 5), ("-D", "b", None)]) == [
        ("+U", "a", 1, 1, 1),
        ("-D", "b", 1, None, None),
        ("-U", "a", 2, 6, 5),
    ]
    assert run.epoch([("+I", "c", 1), ("-D", "c", 1)]) == []  # came and went in one epoch
    assert run.epoch([("-U", "a", 1), ("+U", "a", 1)]) == []  # nothing changed
    run.restart(parallelism=2)
    assert run.epoch([("-D", "a", 1)]) == [("-D", "a", 1, 1, 1)]
    assert run.state_rows == 0


def test_no_row_before_an_update_where_nobody_wants_it() -> None:
    for calls in ((agg("COUNT"), agg("MAX", 1)), (agg("COUNT", 1), agg("MAX", 1))):  # looks at old results, or need not
        run = Run(node(source(KV), (0,), *calls).without_before())
        assert not run.node.traits.before
        assert run.epoch([("a", 1), ("a", 5), ("b", 2)]) == [("+I", "a", 2, 5), ("+I", "b", 1, 2)]
        run.restart(parallelism=2)
        assert run.epoch([("a", 3), ("c", 7)]) == [("+I", "c", 1, 7), ("+U", "a", 3, 5)]
    assert run.epoch([("a", None)]) == []  # COUNT(v) does not count it
    run = Run(node(source(KV, changelog=True), (0,), agg("COUNT"), agg("MAX", 1)).without_before())
    run.epoch([("+I", "a", 1), ("+I", "a", 2), ("+I", "b", 3)])
    assert run.epoch([("-D", "a", 2), ("-D", "b", 3)]) == [("+U", "a", 1, 1), ("-D", "b", 1, 3)]
    run = Run(node(source(KV), (), agg("COUNT")).without_before(), parallelism=2)
    assert run.epoch([]) == [("+I", 0)]
    assert run.epoch([("a", 1)]) == [("+U", 1)]


def test_without_keys_there_is_always_a_row() -> None:
    run = Run(node(source(KV, changelog=True), (), agg("COUNT"), agg("SUM", 1)), parallelism=2)
    assert run.epoch([]) == [("+I", 0, None)]
    assert run.epoch([]) == []
    run.restart(parallelism=1)
    assert run.epoch([("+I", "a", 3)]) == [("+U", 1, 3), ("-U", 0, None)]
    assert run.epoch([("-D", "a", 3)]) == [("+U", 0, None), ("-U", 1, 3)]
    run = Run(node(source(KV), (), agg("COUNT")))
    assert run.epoch([("a", 3)]) == [("+I", 1)]


def test_distinct_over_an_append_only_stream_is_append_only() -> None:
    n = node(source(KV), (0,))
    assert n.traits.append_only and n.traits.key == (0,)
    run = Run(n, parallelism=2)
    assert run.epoch([("a", 1), ("b", 1), ("a", 2)]) == [("a",), ("b",)]
    run.restart()
    assert run.epoch([("b", 1), (None, 2)]) == [(None,)]


def test_an_extreme_comes_back() -> None:
    run = Run(node(source(KV, changelog=True), (0,), agg("MIN", 1), agg("MAX", 1)))
    run.epoch([("+I", "a", v) for v in (3, 1, 2, 2)])
    assert run.epoch([("-D", "a", 1), ("-D", "a", 3)]) == [("+U", "a", 2, 2), ("-U", "a", 1, 3)]
    run.restart(2)
    assert run.epoch([("-D", "a", 2)]) == []
    assert run.epoch([("-D", "a", 2), ("+I", "a", 9)]) == [("+U", "a", 9, 9), ("-U", "a", 2, 2)]


def test_first_and_last_go_by_arrival_whatever_the_epochs() -> None:
    calls = agg("FIRST_VALUE", 1), agg("LAST_VALUE", 1), agg("LISTAGG", 0, type=STRING)
    run = Run(node(source(KV, arrival=True), (), *calls))
    run.epoch([("c", 3, 30), ("e", None, 50), ("b", 2, 20)])
    assert run.rows == [(2, 3, "b,c,e")]
    run.restart()
    run.epoch([("a", 1, 10), ("d", 4, 40)])
    assert run.rows == [(1, 4, "a,b,c,d,e")]


def test_listagg_with_a_separator() -> None:
    given = source(schema(k=INT, s=STRING, sep=STRING), arrival=True)
    run = Run(node(given, (0,), agg("LISTAGG", 1, 2, type=STRING), agg("LISTAGG", 1, 2, type=STRING, distinct=True)))
    run.epoch([(1, "b", "; ", 1), (1, "a", "; ", 2), (1, "b", "; ", 3), (2, None, "; ", 4)])
    assert run.rows == [(1, "b; a; b", "b; a"), (2, None, None)]


def test_sum_overflow_is_an_error_only_when_the_result_overflows() -> None:
    run = Run(node(source(KV, changelog=True), (), agg("SUM", 1), agg("AVG", 1)))
    run.epoch([("+I", "a", 2**63 - 1), ("+I", "a", 2**63 - 1), ("-D", "a", 2**63 - 1)])
    assert run.rows == [(2**63 - 1, 2**63 - 1)]
    with pytest.raises(DataError, match="SUM"):
        run.epoch([("+I", "a", 1)])


def test_doubles_leave_nothing_behind() -> None:
    given = source(schema(k=INT, x=DOUBLE), changelog=True)
    run = Run(node(given, (0,), agg("SUM", 1, type=DOUBLE), agg("VAR_POP", 1, type=DOUBLE)))
    run.epoch([("+I", 1, 1e300), ("+I", 1, 0.1), ("+I", 1, float("inf"))])
    run.epoch([("-D", 1, 1e300), ("-D", 1, float("inf"))])
    assert run.rows == [(1, 0.1, 0.0)]


LISTS = schema(k=STRING, v=array(BIGINT))


def test_what_has_no_order_is_listed_by_arrival_only() -> None:
    listed = agg("ARRAY_AGG", 1, type=array(array(BIGINT)))
    run = Run(node(source(LISTS, arrival=True), (0,), listed))
    assert run.epoch([("a", [2], 1), ("a", [1], 2)]) == [("+I", "a", ((2,), (1,)))]
    with pytest.raises(NotSupported, match=r"rows that change, .* ARRAY<BIGINT> has no order"):
        node(source(LISTS, changelog=True), (0,), listed)


def test_calls_over_the_same_rows_keep_them_once() -> None:
    listed = agg("ARRAY_AGG", 1, type=array(BIGINT))
    calls = (
        agg("COLLECT", 1, type=Type("MULTISET", fields=array(BIGINT).fields)),
        agg("MAX", 1),
        agg("COUNT", 1, distinct=True),
    )
    n = node(source(KV, changelog=True), (0,), *calls)
    assert [s.name for s in n.states()] == ["groups", "values_c1"]
    in_order = replace(listed, order=(SortKey(0),))
    n = node(source(KV, arrival=True), (0,), listed, replace(listed, distinct=True), in_order)
    assert [s.name for s in n.states()] == ["groups", "values_c1_given_ordered", "values_c1_c0_given_ordered"]
    run = Run(node(source(KV, changelog=True), (0,), listed))
    assert run.epoch([("+I", "a", None), ("+I", "a", 2), ("+I", "a", 2)]) == [("+I", "a", (2, 2, None))]
    run.restart()
    assert run.epoch([("-D", "a", 2), ("-D", "a", None)]) == [("+U", "a", (2,)), ("-U", "a", (2, 2, None))]
    assert run.epoch([("-D", "a", 2)]) == [("-D", "a", (2,))]
    assert run.state_rows == 0


def test_the_plan_prints() -> None:
    n = node(source(KV), (0,), agg("COUNT", 1, distinct=True))
    assert n.details() == "keys=[k], calls=[COUNT(DISTINCT v) AS COUNT]"
    assert [s.name for s in n.states()] == ["groups", "values_c1"]


CHUNKS = [every_call()[i::6] for i in range(6)]


@pytest.mark.parametrize("chunk", range(len(CHUNKS)))
@pytest.mark.parametrize("kind", ["append", "arrival", "changelog"])
def test_every_call_against_duckdb(chunk: int, kind: str) -> None:
    seed = SEED + chunk
    print(f"SQLSTREAM_SEED={SEED}")
    rng = random.Random(seed)
    calls = CHUNKS[chunk]
    keys = rng.choice([(0,), (), (0, 11), (11,), (8,)])
    given = source(EVERYTHING, changelog=kind == "changelog", arrival=kind == "arrival")
    run = Run(node(given, keys, *calls), parallelism=rng.choice([1, 2]))
    live: list[Row] = []
    orders: list[int] = []
    free = list(range(1000))
    rng.shuffle(free)
    for epoch in range(4):
        rows = [random_row(rng) for _ in range(rng.choice([0, 1, 30]))]
        if kind == "changelog":
            changes = [("+I", *r) for r in rows]
            live += rows
            for _ in range(rng.choice([0, 1, len(live) // 2, len(live)]) if live else 0):
                changes.append(("-D", *live.pop(rng.randrange(len(live)))))
            rng.shuffle(changes)
            run.epoch(changes)
        else:
            at = [free.pop() for _ in rows]
            live += rows
            orders += at
            run.epoch([(*r, o) for r, o in zip(rows, at, strict=True)] if kind == "arrival" else rows)
        order = "_ord" if kind == "arrival" else None
        want = group_by(table_of(live, order=orders if order else None), keys, calls, order=order)
        assert_same(run.rows, want, f"seed {seed}, epoch {epoch}")
        if rng.random() < 0.4:
            run.restart(rng.choice([1, 2, 3]))


def test_one_index_with_a_count_for_each_filter() -> None:
    calls = [call("COUNT", 1, distinct=True), call("COUNT", 1, distinct=True, filter=FILTER), call("MIN", 1)]
    n = node(source(EVERYTHING, changelog=True), (0,), *calls)
    (index,) = [s for s in n.states() if s.name != "groups"]
    assert index.value.names == ["n", f"n_c{FILTER}"]
