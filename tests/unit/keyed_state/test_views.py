"""States of the key at hand against Python's own dicts and lists, through epochs, checkpoints and other parallelisms."""

from __future__ import annotations

import datetime
import operator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tasks import Tasks

from sqlstream.errors import BindError, DataError
from sqlstream.keyed_state.descriptors import (
    AggregateFunction,
    AggregatingStateDescriptor,
    ListStateDescriptor,
    MapStateDescriptor,
    ReducingStateDescriptor,
    ValueStateDescriptor,
)

KEYS = st.sampled_from(["a", "b", "c", "", None])
NUMBERS = st.integers(-3, 3)


class Mean(AggregateFunction):
    """Of numbers; None counts for nothing."""

    def create_accumulator(self, *count: int) -> Any:
        return {"n": 0, "total": 0}

    def add(self, value: Any, accumulator: Any) -> Any:
        if value is not None:
            accumulator["n"] += 1
            accumulator["total"] += value
        return accumulator

    def get_result(self, accumulator: Any) -> Any:
        return accumulator["total"] / accumulator["n"] if accumulator["n"] else None


ALL = (
    ValueStateDescriptor("value", "BIGINT"),
    ListStateDescriptor("list", "BIGINT"),
    MapStateDescriptor("map", "BIGINT", "BIGINT"),
    ReducingStateDescriptor("sum", operator.add, "BIGINT"),
    AggregatingStateDescriptor("mean", Mean(), "ROW<n BIGINT, total BIGINT>"),
)

OPERATIONS = st.one_of(
    st.tuples(st.just("value"), st.just("update"), NUMBERS),
    st.tuples(st.just("list"), st.sampled_from(["add", "update", "add_all"]), NUMBERS),
    st.tuples(st.just("map"), st.sampled_from(["put", "remove", "get", "contains"]), NUMBERS),
    st.tuples(st.sampled_from(["sum", "mean"]), st.just("add"), NUMBERS),
    st.tuples(st.sampled_from(["value", "list", "map", "sum", "mean"]), st.just("clear"), st.just(0)),
)
EPOCHS = st.lists(
    st.tuples(st.lists(st.tuples(KEYS, OPERATIONS), max_size=12), st.none() | st.integers(1, 3)), max_size=6
)


class Model:
    """What the states should be."""

    def __init__(self) -> None:
        self.value: Any = None
        self.list: list[int] = []
        self.map: dict[int, int] = {}
        self.added: list[int] = []
        self.mean_of: list[int] = []

    def do(self, kind: str, what: str, n: int) -> None:
        if kind == "value":
            self.value = n if what == "update" else None
        elif kind == "list":
            if what in ("update", "clear"):
                self.list = []
            self.list += {"add": [n], "update": [n, n + 1], "add_all": [n, n], "clear": []}[what]
        elif kind == "map":
            if what == "put":
                self.map[n] = len(self.map) + n
            elif what == "remove":
                self.map.pop(n, None)
            elif what == "clear":
                self.map = {}
        else:
            made = self.added if kind == "sum" else self.mean_of
            made.append(n)
            if what == "clear":
                made.clear()


def do(view: Any, model: Model, kind: str, what: str, n: int) -> None:
    if what == "clear":
        view.clear()
    elif kind == "list":
        {
            "add": lambda: view.add(n),
            "update": lambda: view.update([n, n + 1]),
            "add_all": lambda: view.add_all([n, n]),
        }[what]()
    elif what == "put":
        view.put(n, len(model.map) + n)
    elif what == "get":
        assert view.get(n) == model.map.get(n)
    elif what == "contains":
        assert view.contains(n) == (n in model.map)
    else:
        getattr(view, what)(n)
    model.do(kind, what, n)


@settings(max_examples=150, deadline=None)
@given(EPOCHS)
def test_as_python_has_them(epochs: Any) -> None:
    tasks, models = Tasks(*ALL), {k: Model() for k in ("a", "b", "c", "", None)}
    for operations, parallelism in epochs:
        tasks.epoch([k for k, _ in operations])
        for key, (kind, what, n) in operations:
            do(tasks.view(key, kind), models[key], kind, what, n)
        tasks.flush()
        if parallelism is not None:
            tasks.restart(parallelism)
    tasks.epoch(list(models))
    for key, model in models.items():
        assert tasks.view(key, "value").value() == model.value
        assert tasks.view(key, "list").get() == model.list
        assert list(tasks.view(key, "map").entries().items()) == list(model.map.items())
        assert tasks.view(key, "sum").get() == (sum(model.added) if model.added else None)
        mean = sum(model.mean_of) / len(model.mean_of) if model.mean_of else None
        assert tasks.view(key, "mean").get() == mean


def test_what_is_cleared_leaves_no_row() -> None:
    tasks = Tasks(*ALL)
    tasks.epoch(["a"])
    tasks.view("a", "value").update(1)
    tasks.view("a", "list").add_all([1, 2])
    tasks.view("a", "map").put(1, 1)
    tasks.view("a", "sum").add(1)
    tasks.view("a", "mean").add(1)
    tasks.flush()
    assert tasks.rows == 6
    tasks.restart(2)
    tasks.epoch(["a"])
    tasks.at("a").states.clear()
    tasks.flush()
    assert tasks.rows == 0
    tasks.restart(1)
    assert tasks.rows == 0


def test_large_maps_are_read_by_entry() -> None:
    """A map beyond what is read at once answers the same, changed and unchanged entries together."""
    tasks = Tasks(MapStateDescriptor("map", "STRING", "BIGINT"))
    tasks.epoch(["a"])
    for i in range(1000):
        tasks.view("a", "map").put(f"k{i}", i)
    tasks.flush()
    tasks.epoch(["a"])
    view = tasks.view("a", "map")
    assert view.get("k7") == 7 and view.get("none") is None and not view.contains("none")
    view.remove("k7")
    view.put("k8", -8)
    view.remove("k9")
    view.put("k9", -9)
    view.put("new", 1)
    assert view.get("k7") is None and view.get("k8") == -8
    want = {f"k{i}": i for i in range(1000)}
    del want["k7"], want["k9"]
    want |= {"k8": -8, "k9": -9, "new": 1}
    assert list(view.entries().items()) == list(want.items())
    tasks.flush()
    tasks.restart(3)
    tasks.epoch(["a"])
    assert list(tasks.view("a", "map").entries().items()) == list(want.items())


def test_many_keys_are_read_ahead() -> None:
    """As single keys are: those that changed before, too, and those of which nothing is stored."""
    tasks = Tasks(ListStateDescriptor("list", "BIGINT"), MapStateDescriptor("map", "STRING", "BIGINT"))
    keys = [f"key {i}" for i in range(200)]
    tasks.epoch(keys)
    for i, k in enumerate(keys[:150]):
        tasks.view(k, "list").add_all(range(i % 5))
        tasks.view(k, "map").put_all({f"e{j}": i for j in range(i % 5)})
    tasks.flush()
    tasks.restart(2)
    tasks.epoch(keys)
    tasks.view("key 149", "list").clear()
    tasks.view("key 148", "list").add(9)
    tasks.view("key 149", "map").clear()
    tasks.view("key 148", "map").put("e0", 9)
    for i, k in enumerate(keys):
        n = i % 5 if i < 149 else 0
        assert tasks.view(k, "list").get() == [*range(n), *([9] if i == 148 else [])]
        want = {f"e{j}": i for j in range(n)}
        assert tasks.view(k, "map").entries() == (want | {"e0": 9} if i == 148 else want)


def test_a_value_belongs_to_the_state() -> None:
    """What a function changes in a value that it got, or gave, changes the state only by `update`."""
    tasks = Tasks(ValueStateDescriptor("value", "ARRAY<INT>"))
    tasks.epoch(["a"])
    given_ = [1]
    tasks.view("a", "value").update(given_)
    given_.append(2)
    tasks.view("a", "value").value().append(3)
    assert tasks.view("a", "value").value() == [1]


def test_values_of_another_type_are_refused() -> None:
    tasks = Tasks(*ALL)
    tasks.epoch(["a"])
    with pytest.raises(DataError, match=r"state value: 1.5 \(float\) is no BIGINT"):
        tasks.view("a", "value").update(1.5)
    with pytest.raises(DataError, match=r"state list: True \(bool\) is no BIGINT"):
        tasks.view("a", "list").add(True)
    with pytest.raises(DataError, match=r"state map: 'x' \(str\) is no BIGINT"):
        tasks.view("a", "map").put("x", 1)
    with pytest.raises(DataError, match=r"state sum: 'x' \(str\) is no BIGINT"):
        tasks.view("a", "sum").add("x")
    tasks.view("a", "value").update(2**63)
    with pytest.raises(DataError, match=r"state value: 9223372036854775808 is no BIGINT"):
        tasks.flush()
    for kind in ("list", "sum"):
        with pytest.raises(DataError, match="None cannot be added"):
            tasks.view("a", kind).add(None)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ValueStateDescriptor("a b", "INT"), "its name must be a word"),
        (lambda: ValueStateDescriptor("a", "INTT"), "'INTT' is no type"),
        (lambda: ValueStateDescriptor("a", "INT", ttl=datetime.timedelta(-1)), "its ttl"),
        (lambda: ListStateDescriptor("a", "MULTISET<INT>"), "MULTISET"),
        (lambda: MapStateDescriptor("a", "ARRAY<INT>", "INT"), "a map's keys are of ARRAY<INT>"),
        (lambda: ReducingStateDescriptor("a", 3, "INT"), "no function"),  # type: ignore[arg-type]
        (lambda: AggregatingStateDescriptor("a", len, "INT"), "no AggregateFunction"),  # type: ignore[arg-type]
    ],
)
def test_descriptors_refuse_what_cannot_be(make: Any, message: str) -> None:
    with pytest.raises(BindError, match=message):
        make()


# ---- time to live

SECOND = 1_000_000
LIVING = (
    ValueStateDescriptor("value", "BIGINT", ttl=datetime.timedelta(seconds=10)),
    ListStateDescriptor("list", "BIGINT", ttl=datetime.timedelta(seconds=10)),
    MapStateDescriptor("map", "BIGINT", "BIGINT", ttl=datetime.timedelta(seconds=10)),
    ReducingStateDescriptor("sum", operator.add, "BIGINT", ttl=datetime.timedelta(seconds=10)),
)


@pytest.mark.parametrize("restart", [None, 1, 3])
def test_values_live_as_long_as_they_are_written(restart: int | None) -> None:
    """Flink's defaults: a write begins the time anew, a read does not, and what lives no more is not seen."""
    tasks = Tasks(*LIVING)

    def epoch(second: int) -> None:
        tasks.flush()
        if restart is not None:
            tasks.restart(restart)
        tasks.epoch(["a", "b"], second * SECOND)

    tasks.epoch(["a"], 0)
    tasks.view("a", "value").update(1)
    tasks.view("a", "sum").add(1)
    tasks.view("a", "list").add(1)
    tasks.view("a", "map").put(1, 1)
    tasks.view("a", "map").put(2, 2)
    epoch(6)
    tasks.view("a", "list").add(2)
    tasks.view("a", "map").put(2, 22)
    tasks.view("a", "sum").add(10)
    assert tasks.view("a", "value").value() == 1
    epoch(9)
    assert tasks.view("a", "list").get() == [1, 2]
    epoch(10)
    assert tasks.view("a", "value").value() is None
    assert tasks.view("a", "list").get() == [2]
    assert tasks.view("a", "map").entries() == {2: 22}
    assert tasks.view("a", "sum").get() == 11
    tasks.view("a", "map").put(1, 111)
    epoch(16)
    assert tasks.view("a", "list").get() == []
    assert tasks.view("a", "map").entries() == {1: 111}
    assert tasks.view("a", "sum").get() is None
    tasks.view("a", "sum").add(5)
    assert tasks.view("a", "sum").get() == 5
    epoch(30)
    assert tasks.rows == 0
