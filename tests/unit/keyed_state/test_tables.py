"""States of many keys at once: columns in, columns out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tasks import Tasks

from sqlstream import udf
from sqlstream.errors import InternalError
from sqlstream.keyed_state.descriptors import (
    AggregateFunction,
    AggregatingStateDescriptor,
    ListStateDescriptor,
    MapStateDescriptor,
    ReducingStateDescriptor,
    StateDescriptor,
    ValueStateDescriptor,
)


def keys(*of: str) -> list[pa.Array]:
    return [pa.array(of, pa.string())]


def ints(*values: int | None) -> pa.Array:
    return pa.array(values, pa.int64())


def table(descriptor: StateDescriptor[Any]) -> tuple[Tasks, Any]:
    tasks = Tasks(descriptor)
    return tasks, tasks.tasks[0].states.tables[descriptor.name]


@udf(func_type="arrow")
def joined(a: pa.Array, b: pa.Array) -> pa.Array:
    return pc.binary_join_element_wise(a, b, "")


class Mean(AggregateFunction):
    """Of numbers."""

    func_type = "arrow"

    def create_accumulator(self, *count: int) -> Any:
        return pa.array([{"n": 0, "total": 0}] * count[0], pa.struct([("n", pa.int64()), ("total", pa.int64())]))

    def add(self, value: Any, accumulator: Any) -> Any:
        total = pc.add(accumulator.field("total"), value)
        return pa.StructArray.from_arrays([pc.add(accumulator.field("n"), 1), total], ["n", "total"])

    def merge(self, a: Any, b: Any) -> Any:
        return pa.StructArray.from_arrays([pc.add(a.field(n), b.field(n)) for n in ("n", "total")], ["n", "total"])

    def get_result(self, accumulator: Any) -> Any:
        return pc.divide(accumulator.field("total").cast(pa.float64()), accumulator.field("n"))


def test_values() -> None:
    tasks, state = table(ValueStateDescriptor("s", "BIGINT"))
    state.update(keys("a", "b", "a"), ints(1, 2, 3))
    assert state.values(keys("b", "c", "a")).to_pylist() == [2, None, 3]
    state.update(keys("a", "b", "b"), ints(None, None, 5))  # of a key that comes twice the last holds
    assert state.values(keys("a", "b")).to_pylist() == [None, 5]
    assert tasks.rows == 1
    state.clear(keys("b", "c"))
    assert tasks.rows == 0


def test_lists() -> None:
    tasks, state = table(ListStateDescriptor("s", "BIGINT"))
    state.append(keys("a", "b", "a"), ints(1, 2, 3))
    assert state.lists(keys("c", "a", "b"), 3).to_pylist() == [[], [1, 3], [2]]
    state.update(keys("a", "c", "b"), pa.array([[7, 8], [9], None], pa.list_(pa.int64())))
    assert state.lists(keys("a", "b", "c"), 3).to_pylist() == [[7, 8], [], [9]]
    tasks.restart(1)
    state = tasks.tasks[0].states.tables["s"]
    state.append(keys("a"), ints(10))
    assert state.lists(keys("a"), 1).to_pylist() == [[7, 8, 10]]
    state.clear(keys("a", "c", "x"), 3)
    assert tasks.rows == 0


def test_maps() -> None:
    tasks, state = table(MapStateDescriptor("s", "STRING", "BIGINT"))
    names = pa.array(["x", "y", "x", "x"])
    state.put(keys("a", "a", "b", "a"), names, ints(1, 2, 3, 4))
    assert state.get(keys("a", "b", "b"), pa.array(["x", "x", "y"])).to_pylist() == [4, 3, None]
    assert state.contains(keys("a", "b"), pa.array(["y", "y"])).tolist() == [True, False]
    owner, entries, values = state.entries(keys("b", "c", "a"), 3)
    assert (owner.tolist(), entries.to_pylist(), values.to_pylist()) == ([0, 2, 2], ["x", "x", "y"], [3, 4, 2])
    state.remove(keys("a", "a"), pa.array(["x", "x"]))
    assert state.counts(keys("a", "b", "c"), 3).tolist() == [1, 1, 0]
    state.clear(keys("a", "b"), 2)
    assert tasks.rows == 0


def test_reducing() -> None:
    tasks, state = table(ReducingStateDescriptor("s", joined, "STRING"))
    state.add(keys("a", "b", "a", "a"), pa.array(["1", "2", "3", "4"]))
    state.add(keys("c", "a"), pa.array(["5", "6"]))
    assert state.get(keys("a", "b", "c", "d")).to_pylist() == ["1346", "2", "5", None]
    tasks.epoch(["a", "d"])
    for key in ("a", "d"):
        tasks.view(key, "s").add("7")
        tasks.view(key, "s").add("8")
    assert tasks.view("d", "s").get() == "78"
    tasks.flush()
    assert state.get(keys("a")).to_pylist() == ["134678"]


def test_aggregating() -> None:
    tasks, state = table(AggregatingStateDescriptor("s", Mean(), "ROW<n BIGINT, total BIGINT>"))
    state.add(keys("a", "b", "a"), ints(1, 2, 4))
    assert state.get(keys("a", "x", "b")).to_pylist() == [2.5, None, 2.0]
    tasks.epoch(["a", "c"])
    tasks.view("a", "s").add(7)
    tasks.view("c", "s").add(3)
    assert tasks.view("a", "s").get() == 4.0
    tasks.flush()
    assert state.get(keys("a", "c")).to_pylist() == [4.0, 3.0]


def test_functions_of_rows_are_for_one_key() -> None:
    _, state = table(ReducingStateDescriptor("s", max, "BIGINT"))
    with pytest.raises(InternalError, match="a function of arrays"):
        state.add(keys("a"), ints(1))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.tuples(st.sampled_from("abcd"), st.text("xyz", max_size=2)), max_size=40), max_size=5))
def test_folds_keep_the_order(batches: list[list[tuple[str, str]]]) -> None:
    """An associative function that is not commutative, whatever the batches."""
    tasks, state = table(ReducingStateDescriptor("s", joined, "STRING"))
    want: dict[str, str] = {}
    for batch in batches:
        for k, v in batch:
            want[k] = want.get(k, "") + v
        state.add(keys(*(k for k, _ in batch)), pa.array([v for _, v in batch], pa.string()))
        tasks.restart(1)
        state = tasks.tasks[0].states.tables["s"]
    assert state.get(keys(*"abcd")).to_pylist() == [want.get(k) for k in "abcd"]


def test_many_values_of_one_key_take_few_calls() -> None:
    calls = []

    @udf(func_type="arrow")
    def total(a: pa.Array, b: pa.Array) -> pa.Array:
        calls.append(len(a))
        return pc.add(a, b)

    _, state = table(ReducingStateDescriptor("s", total, "BIGINT"))
    n = 100_000
    state.add([pa.array(np.full(n, "k"))], pa.array(np.arange(n)))
    assert state.get(keys("k")).to_pylist() == [n * (n - 1) // 2]
    assert len(calls) <= 20
