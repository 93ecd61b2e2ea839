"""LocalAggregate: what GroupAggregate makes of partial results is what it makes of the rows."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from aggregate_oracle import EVERYTHING, assert_same, every_call, group_by, random_row, table_of
from driver import Row, Run, batch, schema, source
from harness.seed import SEED
from test_group_aggregate import KV, agg, node

from sqlstream.batches import Delta
from sqlstream.errors import DataError
from sqlstream.operators import local_aggregate
from sqlstream.operators.base import Operator, PhysicalNode
from sqlstream.operators.local_aggregate import LocalAggregate, LocalOperator
from sqlstream.plan.nodes import AggCall
from sqlstream.types import BIGINT, DOUBLE, INT, STRING


def phase(given: PhysicalNode, keys: tuple[int, ...], *calls: AggCall, phases: str = "TWO_PHASE") -> LocalAggregate:
    made = node(given, keys, *calls).sent(0, phases)
    assert isinstance(made, LocalAggregate)
    return made


def operator(made: PhysicalNode) -> LocalOperator:
    running: Operator = made.operator(None)  # type: ignore[arg-type]
    assert isinstance(running, LocalOperator)
    return running


def test_a_group_of_an_epoch_is_one_row() -> None:
    sender = operator(phase(source(KV), (0,), agg("COUNT"), agg("SUM", 1), agg("MAX", 1)))
    (b,) = sender.step([Delta([batch(source(KV), [("a", 1), ("b", None), ("a", 5)])])]).batches
    assert b.schema.names[0] == "c0" and b.column("c0").to_pylist() == ["a", "b"]
    assert b.num_rows == 2 and [2, 1] in [c.to_pylist() for c in b.columns]
    assert sender.step([Delta()]).batches == []


def test_of_distinct_the_first_rows_stand_for_all() -> None:
    given = source(KV)
    sender = operator(phase(given, (0,)))
    rows = [("a", 1), ("b", 1), ("a", 2)]
    made = sender.step([Delta([batch(given, rows), batch(given, rows)])]).batches
    assert pa.Table.from_batches(made).to_pylist() == [{"c0": "a", "c1": 1}, {"c0": "b", "c1": 1}]
    run = Run(node(given, (0,)), 2, phases="TWO_PHASE")
    assert run.epoch(rows) == [("a",), ("b",)]
    assert run.epoch([("b", 3), (None, 3)]) == [(None,)]


CHANGES = source(KV, changelog=True)


@pytest.mark.parametrize(
    ("given", "call", "two"),
    [
        (source(KV), agg("MIN", 1), True),
        (source(KV), agg("FIRST_VALUE", 1), True),
        (source(KV, arrival=True), agg("FIRST_VALUE", 1), True),
        (source(KV), agg("COUNT", 1, distinct=True), False),
        (source(KV, arrival=True), agg("LISTAGG", 0, type=STRING), False),
        (source(schema(k=STRING, v=DOUBLE)), agg("SUM", 1, type=DOUBLE), True),
        (CHANGES, agg("SUM", 1), True),
        (CHANGES, agg("MIN", 1), False),
        (CHANGES, agg("COUNT", 1, distinct=True), False),
        (source(schema(k=STRING, v=DOUBLE), changelog=True), agg("SUM", 1, type=DOUBLE), False),
    ],
)
def test_where_there_are_two_phases(given: PhysicalNode, call: AggCall, two: bool) -> None:
    made = node(given, (0,), agg("COUNT"), call)
    assert made.sent(0, "ONE_PHASE") is given
    for phases in ("AUTO", "TWO_PHASE"):
        assert isinstance(made.sent(0, phases), LocalAggregate) == two
    if not given.traits.append_only:  # of what goes after its time each row is counted
        assert replace(made, ttl=1).sent(0, "TWO_PHASE") is given


def test_groups_that_come_and_go_between_tasks() -> None:
    run = Run(node(CHANGES, (0,), agg("COUNT"), agg("SUM", 1)), 2, phases="TWO_PHASE")
    assert run.epoch([("+I", "a", 1), ("+I", "b", 2), ("+I", "a", 5)]) == [("+I", "a", 2, 6), ("+I", "b", 1, 2)]
    # Each half of the first change is in another task, and what b was is taken back where it never came.
    assert run.epoch([("-U", "a", 5), ("+U", "a", 7), ("+I", "c", 1), ("-D", "b", 2), ("-D", "c", 1)]) == [
        ("+U", "a", 2, 8),
        ("-D", "b", 1, 2),
        ("-U", "a", 2, 6),
    ]
    run.phases = "ONE_PHASE"
    run.restart(3)
    assert run.epoch([("-D", "a", 1), ("-D", "a", 7)]) == [("-D", "a", 2, 8)]
    assert run.state_rows == 0


def test_without_keys_each_task_sends_a_row() -> None:
    run = Run(node(source(KV), (), agg("COUNT"), agg("SUM", 1)), 3, phases="TWO_PHASE")
    assert run.epoch([]) == [("+I", 0, None)]
    assert run.epoch([("a", 1), ("b", 2), ("c", 3), ("d", 4)]) == [("+U", 4, 10), ("-U", 0, None)]
    assert run.epoch([]) == []


def test_what_overflows_is_told_by_its_call() -> None:
    run = Run(node(source(KV), (0,), agg("SUM", 1)), 2, phases="TWO_PHASE")
    with pytest.raises(DataError, match="SUM overflows BIGINT"):
        run.epoch([("a", 2**63 - 1), ("a", 1)])


def test_infinite_sums_of_doubles_are_merged() -> None:
    run = Run(node(source(schema(k=INT, x=DOUBLE)), (0,), agg("SUM", 1, type=DOUBLE)), 2, phases="TWO_PHASE")
    run.epoch([(1, 1.7e308), (1, 1.0), (1, 1.7e308), (2, 0.5), (1, 1.7e308), (2, 0.25)])
    assert run.rows == [(1, float("inf")), (2, 0.75)]


MERGED = [c for c in every_call() if node(source(EVERYTHING), (0,), c).aggregation().merges]
TAKEN_BACK = [c for c in every_call() if node(source(EVERYTHING, changelog=True), (0,), c).aggregation().merges]


@pytest.mark.parametrize("part", range(4))
@pytest.mark.parametrize("kind", ["append", "arrival", "changelog"])
def test_every_call_in_two_phases_and_in_one_against_duckdb(kind: str, part: int) -> None:
    """Most rows are of one group, and a run changes its mind."""
    print(f"SQLSTREAM_SEED={SEED}")
    rng = random.Random(SEED + part)
    calls = (TAKEN_BACK if kind == "changelog" else MERGED)[part::4]
    assert calls
    keys = rng.choice([(0,), (), (0, 11), (11,), (8,)])
    given = source(EVERYTHING, changelog=kind == "changelog", arrival=kind == "arrival")
    made = node(given, keys, *calls)
    assert isinstance(made.sent(0, "TWO_PHASE"), LocalAggregate)
    run = Run(made, rng.choice([2, 3]), phases=rng.choice(["TWO_PHASE", "ONE_PHASE"]))
    live: list[Row] = []
    orders: list[int] = []
    free = list(range(1000))
    rng.shuffle(free)
    hot = random_row(rng)
    for epoch in range(5):
        rows = [random_row(rng) for _ in range(rng.choice([0, 1, 20]))]
        rows += [tuple(h if i in keys else v for i, (h, v) in enumerate(zip(hot, r, strict=True))) for r in rows * 2]
        if kind == "changelog":
            changes: list[Row] = [("+I", *r) for r in rows]
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
        assert_same(run.rows, want, f"epoch {epoch}")
        if rng.random() < 0.5:
            run.phases = rng.choice(["TWO_PHASE", "ONE_PHASE"])
            run.restart(rng.choice([1, 2, 3]))


# ---- an adaptive one


def rows_of(*groups: Any) -> pa.RecordBatch:
    keys = np.concatenate(groups)
    return pa.RecordBatch.from_arrays([pa.array(keys), pa.array(np.ones(len(keys), np.int64))], names=["c0", "c1"])


NUMBERS = source(schema(k=BIGINT, v=BIGINT))


def adaptive() -> LocalOperator:
    return operator(phase(NUMBERS, (0,), agg("COUNT"), phases="AUTO"))


def test_few_rows_go_as_they_are() -> None:
    sender, n = adaptive(), local_aggregate.LEAST
    few, enough = rows_of(np.zeros(n - 1, np.int64)), rows_of(np.zeros(n, np.int64))
    assert sender.step([Delta([few])]).batches == [few]
    assert sender.step([Delta([enough])]).num_rows == 1
    assert sender.step([Delta([few.slice(0, n // 2), few.slice(n // 2), few])]).num_rows == 1


def test_many_groups_go_as_they_are_and_are_asked_again_now_and_then() -> None:
    sender, n = adaptive(), 2 * local_aggregate.LEAST
    few, many = rows_of(np.arange(n) % 7), rows_of(np.arange(n))
    assert sender.step([Delta([many])]).num_rows == n
    after = [sender.step([Delta([many])]).num_rows for _ in range(40)]
    assert set(after) == {n}
    waited = 0
    while sender.step([Delta([few])]).num_rows == n:
        waited += 1
    assert 0 < waited <= local_aggregate.REST
    assert sender.step([Delta([few])]).num_rows == 7


def test_groups_that_turn_out_to_be_many_go_as_they_are() -> None:
    sender, n = adaptive(), 4 * local_aggregate.LEAST
    batches = [rows_of(np.zeros(n, np.int64)), rows_of(np.arange(n))]
    assert sender.step([Delta(batches)]).batches == batches


def test_rows_and_partial_results_of_an_epoch_meet() -> None:
    """One task has many rows of a group, the other few."""
    n = local_aggregate.LEAST
    made = node(NUMBERS, (0,), agg("COUNT"), agg("SUM", 1))
    run = Run(made, 2, phases="AUTO")
    halves = [rows_of(np.arange(n) % 2).slice(0, n), rows_of(np.array([0, 1, 5]))]
    sent = [b for h, s in zip(halves, run.locals[0], strict=True) for b in s.step([Delta([h])]).batches]
    assert [b.num_rows for b in sent] == [2, 3] and sent[0].schema != sent[1].schema
    alone = Run(made)
    (task,) = alone.tasks
    for b in task.operator.step([Delta(sent)]).batches:
        alone._fold(b)
    assert alone.rows == [(0, n // 2 + 1, n // 2 + 1), (1, n // 2 + 1, n // 2 + 1), (5, 1, 1)]
