"""What users subclass and what they get. Names and meaning are those of Flink's process table functions."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Collection, Iterable
from enum import Enum
from operator import itemgetter
from typing import TYPE_CHECKING, Any, ClassVar

from sqlstream.batches import Kind
from sqlstream.errors import DataError

if TYPE_CHECKING:  # state has compiled loops, which a session without streams does without
    from sqlstream.keyed_state.states import KeyedStates
    from sqlstream.keyed_state.timers import TimerService


class ArgumentTrait(Enum):
    """What a function asks of its table argument.

    SET_SEMANTIC_TABLE     rows are processed by key (PARTITION BY), with state and timers of the key
    ROW_SEMANTIC_TABLE     each row by itself, in any task: no PARTITION BY, no state
    OPTIONAL_PARTITION_BY  without PARTITION BY all rows are of one key, in one task
    PASS_COLUMNS_THROUGH   the output begins with all of the row's columns, and not with those of PARTITION BY
    REQUIRE_ON_TIME        the call must have `on_time`
    SUPPORT_UPDATES        its rows may change: `ctx.row_kind()` says what a row does
    """

    SET_SEMANTIC_TABLE = "SET_SEMANTIC_TABLE"
    ROW_SEMANTIC_TABLE = "ROW_SEMANTIC_TABLE"
    OPTIONAL_PARTITION_BY = "OPTIONAL_PARTITION_BY"
    PASS_COLUMNS_THROUGH = "PASS_COLUMNS_THROUGH"
    REQUIRE_ON_TIME = "REQUIRE_ON_TIME"
    SUPPORT_UPDATES = "SUPPORT_UPDATES"


class Row(tuple[Any, ...]):
    """A row of the table argument: values by place, by name (`row["price"]`), and as attributes (`row.price`)."""

    __slots__ = ()
    names: ClassVar[tuple[str, ...]] = ()
    _places: ClassVar[dict[str, int]] = {}

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            if key not in self._places:
                raise KeyError(f"{key} (columns: {', '.join(self.names)})")
            key = self._places[key]
        return tuple.__getitem__(self, key)

    def __getattr__(self, name: str) -> Any:
        if name in self._places:
            return tuple.__getitem__(self, self._places[name])
        raise AttributeError(f"there is no column '{name}' (columns: {', '.join(self.names)})")

    def __repr__(self) -> str:
        return "Row(" + ", ".join(f"{n}={v!r}" for n, v in zip(self.names, self, strict=False)) + ")"

    def as_dict(self) -> dict[str, Any]:
        """Values by the columns' names."""
        return dict(zip(self.names, self, strict=True))


def row_class(names: tuple[str, ...]) -> type[Row]:
    """The class of rows of such columns: one that is called like something that tuples have is reached by [ ]."""
    members: dict[str, Any] = {"__slots__": (), "names": names, "_places": {n: i for i, n in enumerate(names)}}
    for i, n in enumerate(names):
        if not hasattr(Row, n):
            members[n] = property(itemgetter(i))
    return type("Row", (Row,), members)


class Context:
    """What `eval` and `on_timer` get besides the row: time, timers, the key, and where rows go."""

    def __init__(self, collect: Callable[[Any], None]) -> None:
        self._collect = collect
        self._timers: TimerService | None = None
        self._states: KeyedStates | None = None
        self._key: tuple[Any, ...] = ()
        self._time: datetime.datetime | None = None
        self._timer: str | None = None
        self._kind = Kind.INSERT

    def collect(self, row: Any) -> None:
        """A row of the result, as `yield` gives it: a tuple, list or dict of a ROW's fields, else a value."""
        self._collect(row)

    def partition_key(self) -> tuple[Any, ...]:
        """The values of the PARTITION BY columns."""
        return self._key

    def time(self) -> datetime.datetime | None:
        """In `eval` the row's `on_time`, in `on_timer` the time for which the timer was registered."""
        return self._time

    def row_kind(self) -> str:
        """In `eval`: what the row does to its table, as Flink prints it: +I, -U, +U or -D."""
        return self._kind.text

    def current_timer(self) -> str | None:
        """In `on_timer`: the timer's name, if it has one."""
        return self._timer

    def timer_service(self) -> TimerService:
        """The timers of the key."""
        if self._timers is None:
            raise DataError(
                "this function has no timers", hint="timers need a table with set semantics, and a method on_timer"
            )
        return self._timers

    def clear_all_state(self) -> None:
        """Clears all states of the key."""
        if self._states is not None:
            self._states.clear()

    def clear_all_timers(self) -> None:
        """Takes back all timers of the key."""
        if self._timers is not None:
            self._timers.clear_all_timers()

    def clear_all(self) -> None:
        """Clears states and timers of the key."""
        self.clear_all_state()
        self.clear_all_timers()


class ProcessTableFunction:
    """A function of a table's rows, with state and timers by key. Each task makes an object of the class.

        class Visits(ProcessTableFunction):
            result_type = "ROW<visit BIGINT, page STRING>"
            count = ValueStateDescriptor("count", "BIGINT")

            def eval(self, ctx, input, first=1):
                n = self.count.value() or first
                self.count.update(n + 1)
                yield n, input.page

    `eval(ctx, <table argument>, <other arguments>…)` is called for each row. The names of its parameters are those of
    SQL arguments; those behind the table are constants of the types of their hints, and may have defaults. It yields
    rows, or calls `ctx.collect`. `on_timer(ctx)`, where there is one, is called when a timer fires.
    Descriptors that are attributes of the class are states, and of its objects views of the state of the key at hand.
    """

    # SQL text: a ROW is a column a field, any other type one column.
    result_type: ClassVar[str]
    traits: ClassVar[Collection[ArgumentTrait]] = (ArgumentTrait.SET_SEMANTIC_TABLE,)

    def open(self) -> None:
        """Called once, before the first row."""

    def close(self) -> None:
        """Called once, at the end of the job."""

    eval: Callable[..., Iterable[Any] | None]
