"""Calls of a process table function's methods: what they get, what they give, and what they raise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import pyarrow as pa

from sqlstream.batches import Kind
from sqlstream.errors import DataError, SqlStreamError
from sqlstream.expressions import Literal
from sqlstream.functions import user
from sqlstream.keyed_state.states import KeyedStates
from sqlstream.keyed_state.timers import TimerService
from sqlstream.process_functions.function import Context, ProcessTableFunction, Row
from sqlstream.process_functions.signature import Signature
from sqlstream.python_values import ValueMismatch, arrow_values, python_values

SHOWN = 300  # letters of a row in a message


class UserCalls:
    """One object of the class, and the rows that it gave in an epoch.

    rows     as they were given; with each, as lists:
    keys     the number of the key at hand
    sources  the number of the row that `eval` was called for, or -1
    micros   the event time of that row or timer, µs
    marks    the watermark that the row carries on
    """

    def __init__(
        self, declared: Signature, arguments: dict[str, Literal], states: KeyedStates, timers: TimerService | None
    ) -> None:
        self._declared, self._states, self._timers = declared, states, timers
        self.rows: list[Any] = []
        self.keys: list[int] = []
        self.sources: list[int] = []
        self.micros: list[int | None] = []
        self.marks: list[int] = []
        self._at: tuple[int | None, int] = (None, 0)
        self._source = -1
        self._names: list[tuple[Any, ...]] = []
        self._context = Context(self._collect)
        self._context._timers, self._context._states = timers, states
        self._function = self._made()
        self._arguments = {name: _python(value) for name, value in arguments.items()}

    def _made(self) -> ProcessTableFunction:
        made: Any = user.load(self._declared.path)
        try:
            function: ProcessTableFunction = made()
            for attribute, d in self._declared.states:
                setattr(function, attribute, self._states.views[d.name])
            function.open()
        except Exception as e:
            self._raise(e, "when it begins")
        return function

    def begin(self, keys: list[tuple[Any, ...]]) -> None:
        """An epoch with these keys."""
        self._names = keys
        self.clear()

    def clear(self) -> None:
        """The epoch's rows have gone on."""
        for rows in (self.rows, self.keys, self.sources, self.micros, self.marks):
            rows.clear()

    def at(self, key: int, time: Any, micros: int | None, mark: int) -> None:
        """What follows is for this key, at this event time and watermark."""
        self._states.key.at = key
        self._at = micros, mark
        self._context._key, self._context._time, self._context._timer = self._names[key], time, None

    def evaluate(self, row: Row, number: int, kind: Kind) -> None:
        """`eval` of a row."""
        self._source, self._context._kind = number, kind
        try:
            self._take(self._function.eval(self._context, row, **self._arguments), "eval")
        except Exception as e:
            self._raise(e, f"in eval, {_short(repr(row))}{self._of_key()}")

    def on_timer(self, name: str | None) -> None:
        """`on_timer` of a timer."""
        self._source = -1
        self._context._timer = name
        function: Callable[[Context], Any] = getattr(self._function, "on_timer")  # noqa: B009
        try:
            self._take(function(self._context), "on_timer")
        except Exception as e:
            timer = f"'{name}'" if name is not None else "without a name"
            self._raise(e, f"in on_timer, timer {timer} at {self._context.time()}{self._of_key()}")

    def results(self) -> list[pa.Array]:
        """The columns of all rows. DataError for one that is not of the declared type."""
        t = self._declared.result.null(False)
        try:
            made = arrow_values(self.rows, t)
        except ValueMismatch as e:
            hint = f"its result_type is {self._declared.result.text()}"
            key = self._names[self.keys[e.at]]
            of = f" (partition {_short(repr(key))})" if key else ""
            raise DataError(f"process table function {self._declared.path}: {e}{of}", hint=hint) from None
        return list(made.flatten()) if t.kind == "ROW" else [made]

    def close(self) -> None:
        """The end of the job."""
        try:
            self._function.close()
        except Exception as e:
            self._raise(e, "when it ends")

    def _take(self, given: Any, method: str) -> None:
        if given is None:
            return
        if not isinstance(given, list | Iterator):
            raise TypeError(f"{method} returned {_short(repr(given))}: rows are yielded, or given to ctx.collect")
        for row in given:
            self._collect(row)

    def _collect(self, row: Any) -> None:
        self.rows.append(row)
        self.keys.append(self._states.key.at)
        self.sources.append(self._source)
        self.micros.append(self._at[0])
        self.marks.append(self._at[1])

    def _of_key(self) -> str:
        key = self._context.partition_key()
        return f", partition {_short(repr(key))}" if key else ""

    def _raise(self, e: Exception, where: str) -> NoReturn:
        message = e.message if isinstance(e, SqlStreamError) else f"{type(e).__name__}: {e}"
        hint = e.hint if isinstance(e, SqlStreamError) else None
        text = f"process table function {self._declared.path}: {message}{user.place_of(e)}, {where}"
        raise DataError(text, hint=hint) from e


def _python(value: Literal) -> Any:
    (made,) = python_values(pa.array([value.value], value.type.arrow()), value.type)
    return made


def _short(text: str) -> str:
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"
