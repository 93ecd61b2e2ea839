"""SQLite: a connection by Python's own module, and what its errors mean.

A file is locked as a whole while somebody writes to it, so statements are short: an answer is taken in full before it is given,
and a transaction that writes begins with the lock (BEGIN IMMEDIATE).
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from operator import length_hint
from typing import Any, ClassVar
from urllib.parse import quote

import pyarrow as pa

from sqlstream.connectors.jdbc.database import DbConnection, Passing
from sqlstream.connectors.jdbc.readings import Reading
from sqlstream.connectors.jdbc.url import Address
from sqlstream.errors import Canceled, DataError, InternalError, OptionError, RunError, SqlStreamError

ROWS = 20_000  # that become columns at once
_LOCKED = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_OF_DATA = (sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_RANGE)


class Connection(DbConnection):
    """One session with the file at `address.database`, which is there. Parameters: ?"""

    begin: ClassVar[str] = "BEGIN IMMEDIATE"

    def __init__(self, address: Address, where: str) -> None:
        self.where, self._path = where, address.database
        self.failed: int | None = None  # of rows that were written and not taken, the number of the first
        if not os.path.exists(self._path):
            raise OptionError(
                f"{where}: option 'url': there is no file {self._path}",
                hint="sqlite3 makes one with its tables",
                subject="url",
            )
        mode = "ro" if address.parameters.get("mode", "").lower() == "ro" else "rw"
        wait = float(address.parameters["busy_timeout"]) / 1000
        with self._told():
            self._connection = sqlite3.connect(
                f"file:{quote(self._path)}?mode={mode}", wait, isolation_level=None, check_same_thread=False, uri=True
            )
            for name in ("foreign_keys", "journal_mode", "synchronous"):
                if name in address.parameters:
                    self._connection.execute(f"PRAGMA {name} = {address.parameters[name]}")

    def execute(self, sql: str, parameters: tuple[Any, ...] = ()) -> None:
        with self._told():
            self._connection.execute(sql, parameters)

    def many(self, sql: str, columns: Sequence[list[Any]]) -> None:
        """A statement for each row of columns. `failed` is the row that an error is about."""
        rows = [*zip(*columns, strict=True)]
        left = iter(rows)
        try:
            with self._told():
                self._connection.executemany(sql, left)
        except SqlStreamError:
            self.failed = len(rows) - length_hint(left) - 1
            raise

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with self._told():
            return self._connection.execute(sql).fetchall()

    def stream(self, sql: str, readings: Sequence[Reading] = ()) -> Iterator[pa.RecordBatch]:
        with self._told():
            cursor = self._connection.execute(sql)
            # In full: what is not taken to its end keeps the file locked for those who write.
            found = []
            while rows := cursor.fetchmany(ROWS):
                columns = [*zip(*rows, strict=True)]
                arrays = [_array(c, r) for c, r in zip(columns, readings, strict=False)]
                arrays += [pa.array(c) for c in columns[len(readings) :]]
                found.append(pa.RecordBatch.from_arrays(arrays, names=[f"c{i}" for i in range(len(arrays))]))
        yield from found

    def cancel(self) -> None:
        with suppress(Exception):
            self._connection.interrupt()

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._connection.close()

    @contextmanager
    def _told(self) -> Iterator[None]:
        if self.closed:
            raise InternalError("a connection that is closed")
        try:
            yield
        except sqlite3.Error as e:
            told = self._translated(e)
            raise told from (ConnectionError(str(e)) if told.transient else e)

    def _translated(self, e: sqlite3.Error) -> SqlStreamError:
        code = getattr(e, "sqlite_errorcode", None)
        primary = None if code is None else code & 0xFF
        if primary in _LOCKED:
            return Passing(
                f"{self.where}: {e}: another process, or another connection of this one, writes to {self._path}",
                hint="'PRAGMA journal_mode = WAL' lets others read meanwhile; ?busy_timeout=… (ms) in 'url' waits for longer",
            )
        if primary == sqlite3.SQLITE_INTERRUPT:
            return Canceled("the query was canceled")
        if primary in _OF_DATA:
            return DataError(f"{self.where}: {e}")
        if primary == sqlite3.SQLITE_NOTADB:
            return OptionError(f"{self.where}: {self._path} is no database of SQLite ({e})", subject="url")
        if primary == sqlite3.SQLITE_READONLY:
            return OptionError(f"{self.where}: {self._path}: {e}", subject="url")
        return RunError(f"{self.where}: {e}")


def _array(values: Sequence[Any], reading: Reading) -> pa.Array:
    """A column of Python's values. DataError for one of another kind: SQLite lets any column have any."""
    try:
        if reading.wire is not None and pa.types.is_integer(reading.wire):
            found = pa.array(values)  # what is told its type loses what stands behind the point
            if pa.types.is_floating(found.type):
                found = pa.array([int(v) if isinstance(v, float) and v.is_integer() else v for v in values])
            return found.cast(reading.wire)
        return pa.array(values, reading.wire)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as e:
        raise DataError(f"{reading.where} has a value that is no {reading.type.null()}: {e}") from e
