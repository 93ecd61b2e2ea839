"""Runs an iterator on a thread of its own, a few items ahead, in order."""

from __future__ import annotations

import atexit
import weakref
from collections import deque
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

import sqlstream.formats.cursor  # noqa: F401  before `_close` is registered: at the end DuckDB closes after it
from sqlstream.threads import condition, start

T = TypeVar("T")
PATIENCE = 5.0  # seconds that the interpreter's end waits for a thread

_open: weakref.WeakSet[DecodeAhead[Any]] = weakref.WeakSet()


class DecodeAhead(Generic[T]):
    """`next()` gives the iterator's items in order, None at its end; an exception comes at its place among them.

    At most `depth` items wait. `close()` stops the thread at its next item; the iterator is closed on that thread,
    since a DuckDB result must not be freed while another thread reads it.
    """

    def __init__(self, items: Iterator[T], depth: int = 3) -> None:
        self._items = items
        self._depth = depth
        self._ready: deque[T] = deque()
        self._condition = condition()
        self._error: BaseException | None = None
        self._ended = False
        self._closed = False
        _open.add(self)
        self._thread = start("sqlstream-decode", self._run)

    def _run(self) -> None:
        try:
            for item in self._items:
                with self._condition:
                    self._condition.wait_for(lambda: len(self._ready) < self._depth or self._closed)
                    if self._closed:
                        break
                    self._ready.append(item)
                    self._condition.notify_all()
        except BaseException as e:  # handed to the reader's thread, whatever it is
            self._error = e
        finally:
            if (close := getattr(self._items, "close", None)) is not None:
                close()
            with self._condition:
                self._ended = True
                self._condition.notify_all()

    @property
    def ended(self) -> bool:
        """Whether no item is left."""
        with self._condition:
            return not self._ready and (self._ended or self._closed)

    @property
    def waiting(self) -> bool:
        """Whether `next` has something to give, or to raise, now."""
        with self._condition:
            return bool(self._ready) or self._ended or self._closed

    def next(self, patience: float | None = None) -> T | None:
        """The next item; waits until it is there, `patience` seconds at most. None: the end, also when closed, or there
        was none in time. Raises what the iterator raised."""
        with self._condition:
            self._condition.wait_for(lambda: self._ready or self._ended or self._closed, patience)
            if self._ready:
                item = self._ready.popleft()
                self._condition.notify_all()
                return item
            error, self._error = self._error, None
        if error is not None:
            raise error
        return None

    def close(self, patience: float | None = None) -> None:
        """Ends the thread, and waits for that; `patience` seconds at most."""
        with self._condition:
            self._closed = True
            self._ready.clear()
            self._condition.notify_all()
        self._thread.join(patience)


@atexit.register
def _close() -> None:
    """Readers that nobody closed: their threads must not be in DuckDB, nor in compiled code, when it is freed."""
    for each in [*_open]:
        each.close(PATIENCE)
