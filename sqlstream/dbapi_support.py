"""What the DB-API needs below its surface: waiting that Ctrl-C gets through, parameters, Python values."""

from __future__ import annotations

import datetime
import math
import queue
import threading
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, TypeVar

import pyarrow as pa

from sqlstream.dbapi_names import ProgrammingError
from sqlstream.results import Result, Rows
from sqlstream.session import Session
from sqlstream.sql.lexer import tokenize
from sqlstream.sql.source import Source
from sqlstream.types import Type

T = TypeVar("T")
_STEP = 0.1  # seconds between looks at what else there is to do, while waiting


def wait_for(work: Callable[[], T], session: Session) -> T:
    """`work`'s value or error. KeyboardInterrupt meanwhile ends what the session runs, waits for it, and goes on.

    The work has a thread of its own, since the main one could not be interrupted inside DuckDB or a kernel.
    """
    if threading.current_thread() is not threading.main_thread():
        return work()
    values: list[T] = []
    failures: list[BaseException] = []

    def body() -> None:
        try:
            values.append(work())
        except BaseException as e:
            failures.append(e)
        done.set()

    done = threading.Event()  # and no join: one that was interrupted takes the thread for ended (bpo-45274)
    threading.Thread(target=body, name="statement", daemon=True).start()
    try:
        done.wait()
    except KeyboardInterrupt:
        session.cancel()
        done.wait()
        session.resume()
        raise
    if failures:
        raise failures[0]
    return values[0]


class Pump:
    """Takes a result's batches on a thread, at most two ahead, so that waiting for one can be interrupted."""

    def __init__(self, result: Result) -> None:
        self._result = result
        self._queue: queue.Queue[Rows | BaseException | None] = queue.Queue(2)
        self._closed = threading.Event()
        self._over = False
        self._thread = threading.Thread(target=self._run, name="rows", daemon=True)
        self._thread.start()

    def get(self, timeout: float | None) -> Rows | None:
        """The next batch with rows, None at the end. queue.Empty after `timeout` seconds; raises what ended the result."""
        if self._over:
            return None
        while True:
            try:
                item = self._queue.get(timeout=_STEP if timeout is None else timeout)
            except queue.Empty:
                if timeout is not None:
                    raise
                continue
            if item is None or isinstance(item, BaseException):
                self._over = True
                if item is not None:
                    raise item
            return item

    def close(self) -> None:
        """Ends the result and waits for it."""
        self._closed.set()
        self._result.close()
        if self._thread is not threading.current_thread():
            self._thread.join()

    def _run(self) -> None:
        batches = self._result.batches()
        try:
            for batch, kinds in batches:
                if batch.num_rows and not self._put((batch, kinds)):
                    return
            self._put(None)
        except BaseException as e:
            self._put(e)
        finally:
            close = getattr(batches, "close", None)
            if close is not None:
                close()

    def _put(self, item: Rows | BaseException | None) -> bool:
        while not self._closed.is_set():
            try:
                self._queue.put(item, timeout=_STEP)
                return True
            except queue.Full:
                continue
        return False


def bind_parameters(sql: str, parameters: Sequence[Any]) -> str:
    """`sql` with each `?` outside strings and comments replaced by a literal of the parameter's value."""
    if isinstance(parameters, (str, bytes)) or not isinstance(parameters, Sequence):
        raise ProgrammingError("parameters are a sequence, one value for each ?")
    places = [t for t in tokenize(Source(sql)) if t.key == "?"]
    if len(places) != len(parameters):
        raise ProgrammingError(f"the statement has {len(places)} parameters, {len(parameters)} were given")
    parts, at = [], 0
    for place, value in zip(places, parameters, strict=True):
        parts += [sql[at : place.start], literal(value)]
        at = place.end
    return "".join([*parts, sql[at:]])


def literal(value: Any) -> str:
    """A Python value as a SQL literal of the type it has there."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, int):
        return str(value) if value >= 0 else f"({value})"
    if isinstance(value, float):
        text = repr(value) if math.isfinite(value) else {"inf": "Infinity", "-inf": "-Infinity"}.get(str(value), "NaN")
        return f"CAST('{text}' AS DOUBLE)"
    if isinstance(value, Decimal) and value.is_finite():
        text = format(value, "f")
        return f"({text})" if value < 0 else text
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    if isinstance(value, (bytes, bytearray)):
        return f"x'{value.hex()}'"
    if isinstance(value, datetime.datetime) and value.tzinfo is None:
        return f"TIMESTAMP '{value.isoformat(' ', 'microseconds')}'"
    if isinstance(value, datetime.date) and not isinstance(value, datetime.datetime):
        return f"DATE '{value.isoformat()}'"
    if isinstance(value, datetime.time) and value.tzinfo is None:
        return f"TIME '{value.isoformat()}'"
    kind = "datetime with a time zone" if isinstance(value, datetime.datetime) else type(value).__name__
    raise ProgrammingError(f"a parameter cannot be a {kind}")


def python_values(array: pa.Array, t: Type) -> list[Any]:
    """A column as Python values: ROW and MAP are dicts, ARRAY a list, a day INTERVAL a timedelta, months an int."""
    values: list[Any] = array.to_pylist(maps_as_pydicts="lossy")
    if t.kind == "INTERVAL_DAY":
        return [None if v is None else datetime.timedelta(microseconds=v) for v in values]
    return values
