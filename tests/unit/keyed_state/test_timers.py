"""Timers by key and name, at their times and after restarts."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tasks import Tasks

from sqlstream.batches import NO_WATERMARK
from sqlstream.errors import DataError
from sqlstream.keyed_state.timers import EVENT, PROCESSING, Firing
from sqlstream.python_values import micros

START = datetime.datetime(2024, 1, 1)


def at(second: int, utc: bool = False) -> datetime.datetime:
    time = START + datetime.timedelta(seconds=second)
    return time.replace(tzinfo=datetime.UTC) if utc else time


def mark(second: int) -> int:
    return micros(at(second))


class Timing:
    """Tasks whose timers are looked at."""

    def __init__(self, parallelism: int = 1) -> None:
        self.tasks = Tasks(parallelism=parallelism, utc=False)

    def begin(self, keys: str, upto: int) -> None:
        """Timers that fire until then are at hand, and so are `keys`."""
        taken = [t.timers.take(EVENT, mark(upto)) for t in self.tasks.tasks]
        due = [k for t in taken for k in t.keys[0].to_pylist()]
        self.tasks.epoch([*keys, *due])
        for task, found in zip(self.tasks.tasks, taken, strict=True):
            numbers = [self.tasks.keys[k][1] for k in found.keys[0].to_pylist()]
            task.service.begin(found, _array(numbers), mark(upto))

    def service(self, key: str, watermark: int | None = None) -> Any:
        service = self.tasks.at(key).service
        service.watermark = NO_WATERMARK if watermark is None else mark(watermark)
        return service

    def fired(self, upto: int) -> list[tuple[str, str | None, int]]:
        """Key, name, time in seconds."""
        out = []
        names = {(id(t), i): k for k, (t, i) in self.tasks.keys.items()}
        for task in self.tasks.tasks:
            out += [
                (str(names[id(task), f.key]), f.name, (f.time - mark(0)) // 1_000_000)
                for f in task.service.due(mark(upto))
            ]
        return out

    def end(self, parallelism: int | None = None) -> None:
        self.tasks.flush()
        if parallelism is not None:
            self.tasks.restart(parallelism)


def _array(numbers: list[int]) -> Any:
    import numpy as np

    return np.array(numbers, np.int64)


@pytest.mark.parametrize("restart", [None, 1, 3])
def test_timers_fire_when_the_watermark_has_come_to_them(restart: int | None) -> None:
    t = Timing()
    t.begin("ab", 0)
    t.service("a").register_event_time_timer(at(5))
    t.service("a").register_event_time_timer(at(5))  # the same one
    t.service("a").register_event_time_timer(at(4), "named")
    t.service("b").register_event_time_timer(at(6))
    assert t.fired(0) == []
    t.end(restart)
    t.begin("", 4)
    assert t.fired(4) == [("a", "named", 4)]
    t.end(restart)
    t.begin("", 9)
    assert sorted(t.fired(9)) == [("a", None, 5), ("b", None, 6)]
    t.end(restart)
    assert t.tasks.rows == 0


@pytest.mark.parametrize("restart", [None, 2])
def test_a_name_has_one_timer(restart: int | None) -> None:
    t = Timing()
    t.begin("a", 0)
    t.service("a").register_event_time_timer(at(5), "s")
    t.end(restart)
    t.begin("a", 10)  # the first is due in this epoch, and replaced before
    t.service("a", 4).register_event_time_timer(at(8), "s")
    assert t.fired(10) == [("a", "s", 8)]
    t.service("a", 10).register_event_time_timer(at(20), "s")
    t.service("a", 10).register_event_time_timer(at(15), "s")
    t.end(restart)
    t.begin("a", 30)
    assert t.fired(30) == [("a", "s", 15)]
    t.end(restart)
    assert t.tasks.rows == 0


@pytest.mark.parametrize("restart", [None, 2])
def test_timers_are_taken_back(restart: int | None) -> None:
    t = Timing()
    t.begin("a", 0)
    service = t.service("a")
    service.register_event_time_timer(at(5), "s")
    service.register_event_time_timer(at(5))
    service.register_event_time_timer(at(6))
    t.end(restart)
    t.begin("a", 3)
    service = t.service("a", 3)
    service.delete_event_time_timer(name="s")
    service.delete_event_time_timer(at(6))
    service.delete_event_time_timer(at(7))  # there is none
    t.end(restart)
    t.begin("a", 10)
    assert t.fired(10) == [("a", None, 5)]
    t.end(restart)
    assert t.tasks.rows == 0


@pytest.mark.parametrize("restart", [None, 2])
def test_all_of_a_key_are_taken_back(restart: int | None) -> None:
    t = Timing()
    t.begin("ab", 0)
    for key in "ab":
        t.service(key).register_event_time_timer(at(5), "s")
        t.service(key).register_event_time_timer(at(50))
        t.service(key).register_processing_time_timer(at(5, utc=True))
    t.end(restart)
    t.begin("ab", 10)
    t.service("a").register_event_time_timer(at(7))
    t.service("a").clear_all_timers()
    assert t.fired(10) == [("b", "s", 5)]
    t.end(restart)
    assert t.tasks.rows == 2
    t.begin("", 100)
    assert t.fired(100) == [("b", None, 50)]


def test_a_timer_in_the_past_fires_when_the_watermark_moves() -> None:
    t = Timing()
    t.begin("a", 10)
    t.service("a", 10).register_event_time_timer(at(3))
    assert t.fired(10) == []
    t.end()
    t.begin("a", 11)
    assert t.fired(11) == [("a", None, 3)]


def test_timers_that_timers_register() -> None:
    t = Timing()
    t.begin("a", 0)
    t.service("a").register_event_time_timer(at(2))
    t.end()
    t.begin("", 7)
    service, found = t.tasks.at("a").service, []
    for firing in service.due(mark(7)):
        service.watermark = firing.due
        found.append((firing.time - mark(0)) // 1_000_000)
        service.register_event_time_timer(at(found[-1] + 2))
    assert found == [2, 4, 6]
    t.end()
    t.begin("", 8)
    assert t.fired(8) == [("a", None, 8)]


def test_both_kinds_of_time() -> None:
    t = Timing()
    t.begin("a", 0)
    t.service("a").register_processing_time_timer(at(5, utc=True), "s")
    t.service("a").register_event_time_timer(at(5), "s")
    t.end(2)
    found = [len(task.timers.take(PROCESSING, mark(5))) for task in t.tasks.tasks]
    assert sum(found) == 1
    t.begin("", 5)
    assert t.fired(5) == [("a", "s", 5)]


def test_wrong_times_are_refused() -> None:
    t = Timing()
    t.begin("a", 0)
    with pytest.raises(DataError, match="a datetime without a time zone, not"):
        t.service("a").register_event_time_timer(at(1, utc=True))
    with pytest.raises(DataError, match="a datetime with a time zone, not 5"):
        t.service("a").register_processing_time_timer(5)
    with pytest.raises(DataError, match="by its name or"):
        t.service("a").delete_event_time_timer()
    with pytest.raises(DataError, match="the name of a timer is a str"):
        t.service("a").register_event_time_timer(at(1), 5)
    none = Tasks(utc=None)
    none.epoch(["a"])
    with pytest.raises(DataError, match="needs `on_time`"):
        none.at("a").service.register_event_time_timer(at(1))
    assert none.at("a").service.current_watermark() is None


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from("abc"), st.sampled_from(["register", "delete", "clear"]), st.none() | st.sampled_from("st"),
        st.integers(0, 20),
    ), max_size=8,
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(ACTIONS, st.integers(0, 4), st.none() | st.integers(1, 3)), max_size=8))
def test_as_a_dict_has_them(epochs: Any) -> None:
    """Timers are a dict from (key, name, or time where there is none) to times; the watermark takes out what it passes."""
    t, want, now = Timing(), {}, 0
    for actions, step, parallelism in epochs:
        t.begin("abc", now + step)
        for key, action, name, second in actions:
            service = t.service(key, now)
            identity = (key, name, None if name else second)
            if action == "register":
                service.register_event_time_timer(at(second), name)
                want[identity] = second, max(mark(second), mark(now) + 1)
            elif action == "delete":
                service.delete_event_time_timer(*([None, name] if name else [at(second)]))
                want.pop(identity, None)
            else:
                service.clear_all_timers()
                want = {i: v for i, v in want.items() if i[0] != key}
        now += step
        due = {i: s for i, (s, d) in want.items() if d <= mark(now)}
        assert sorted(t.fired(now), key=str) == sorted(((k, n, s) for (k, n, _), s in due.items()), key=str)
        want = {i: v for i, v in want.items() if i not in due}
        t.end(parallelism)
        assert t.tasks.rows == len(want)


def test_firings_come_in_order() -> None:
    assert sorted([Firing(2, 1, 0, 2, None), Firing(1, 3, 0, 1, "x"), Firing(1, 2, 5, 1, None)])[0].order == 2
