"""PEP 249 over bounded and unbounded results.

    with sqlstream.connect(":memory:", **{"pipeline.name": "orders"}) as connection:
        cursor = connection.cursor().execute("SELECT city, COUNT(*) FROM visits WHERE day > ? GROUP BY city", [3])
        for row in cursor: ...

An unbounded SELECT returns at once; `fetchone` waits for the next row, iteration may go on without end, and closing
the cursor stops the job behind it. Where rows can change, they come as a changelog: a first column `op` says +I, -U,
+U or -D. An INSERT has ended when `execute` returns. Ctrl-C raises KeyboardInterrupt at once while waiting; a job of
an INSERT is stopped first, with a last checkpoint if it is durable.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlstream.dbapi_cursor import Cursor
from sqlstream.dbapi_names import (
    BINARY,
    DATETIME,
    NUMBER,
    ROWID,
    STRING,
    Binary,
    DatabaseError,
    DataError,
    Date,
    DateFromTicks,
    Error,
    IntegrityError,
    InterfaceError,
    InternalError,
    NotSupportedError,
    OperationalError,
    ProgrammingError,
    Time,
    TimeFromTicks,
    Timestamp,
    TimestampFromTicks,
    Warning,
    mapped,
    not_supported,
)
from sqlstream.session import Session

if TYPE_CHECKING:
    from types import TracebackType

apilevel = "2.0"
threadsafety = 1
paramstyle = "qmark"

__all__ = [
    "BINARY",
    "DATETIME",
    "NUMBER",
    "ROWID",
    "STRING",
    "Binary",
    "Connection",
    "Cursor",
    "DataError",
    "DatabaseError",
    "Date",
    "DateFromTicks",
    "Error",
    "IntegrityError",
    "InterfaceError",
    "InternalError",
    "NotSupportedError",
    "OperationalError",
    "ProgrammingError",
    "Time",
    "TimeFromTicks",
    "Timestamp",
    "TimestampFromTicks",
    "Warning",
    "apilevel",
    "connect",
    "paramstyle",
    "threadsafety",
]


def connect(path: str | os.PathLike[str] = ":memory:", **options: Any) -> Connection:
    """A connection. `path`: the directory that keeps the catalog, or ':memory:'. `options`: session options by key."""
    place = None if os.fspath(path) == ":memory:" else Path(path)
    texts = {k: str(v).lower() if isinstance(v, bool) else str(v) for k, v in options.items()}
    return Connection(place, texts)


_open: weakref.WeakSet[Connection] = weakref.WeakSet()


class Connection:
    """A session. Used by one thread at a time. As a context manager it closes at the end."""

    Warning, Error, InterfaceError, DatabaseError = Warning, Error, InterfaceError, DatabaseError
    DataError, OperationalError, IntegrityError = DataError, OperationalError, IntegrityError
    InternalError, ProgrammingError, NotSupportedError = InternalError, ProgrammingError, NotSupportedError

    def __init__(self, path: Path | None, options: dict[str, str]) -> None:
        self.messages: list[tuple[type[Exception], str]] = []
        self._closed = False
        self._cursors: weakref.WeakSet[Cursor] = weakref.WeakSet()
        with mapped():
            self._session = Session(path, options, on_message=lambda text: self.messages.append((Warning, text)))
        _open.add(self)

    def cursor(self) -> Cursor:
        self._check()
        made = Cursor(self)
        self._cursors.add(made)
        return made

    def execute(self, sql: str, parameters: Sequence[Any] | None = None) -> Cursor:
        """A new cursor that has executed `sql`."""
        return self.cursor().execute(sql, parameters)

    def commit(self) -> None:
        """Nothing to do: a statement's effect is there when it has ended."""
        self._check()

    def rollback(self) -> None:
        raise not_supported("there are no transactions to roll back", "a job's results are published by checkpoints")

    def close(self) -> None:
        """Closes the cursors, which stops their jobs. May be called again."""
        for cursor in list(self._cursors):
            cursor.close()
        self._closed = True

    def _check(self) -> None:
        if self._closed:
            raise InterfaceError("the connection is closed")

    def __enter__(self) -> Connection:
        self._check()
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, at: TracebackType | None) -> None:
        self.close()


@atexit.register
def _close_all() -> None:
    """Jobs and queries must not outlive the interpreter's other modules."""
    for connection in list(_open):
        with contextlib.suppress(Exception):
            connection.close()
