"""The DuckDB instance that readers and writers decode and encode with: one for a process, a cursor for each user.

It is none of the session's: `threads` is set low, since a task decodes beside other work. Bytes, and remote files that
are open, are handed to it as files of the in-memory filesystem `sqlbytes://`, which needs no disk and copies once.
"""

from __future__ import annotations

import atexit
import contextlib
import io
import itertools
import os
import threading
import weakref
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import duckdb
from fsspec import AbstractFileSystem

from sqlstream import duck
from sqlstream.contracts import ScanRequest

_lock = threading.Lock()
_instances: dict[int, duckdb.DuckDBPyConnection] = {}


class BytesFileSystem(AbstractFileSystem):  # type: ignore[misc]
    """Blocks of bytes, or open files, by name; put through a `Slot`, read by DuckDB."""

    protocol = "sqlbytes"
    cachable = False

    def __init__(self) -> None:
        super().__init__()
        self.blocks: dict[str, Any] = {}
        self.numbers = itertools.count()

    def _key(self, path: str) -> str:
        return path.split("://")[-1]

    def info(self, path: str, **kwargs: Any) -> dict[str, Any]:
        """fsspec's: the name and size of a block."""
        key = self._key(path)
        held = self.blocks[key]
        return {"name": key, "size": len(held) if isinstance(held, bytes) else size_of(held), "type": "file"}

    def exists(self, path: str, **kwargs: Any) -> bool:
        """fsspec's: whether a slot holds the block."""
        return self._key(path) in self.blocks

    def modified(self, path: str) -> datetime:
        """Now: nothing of it may be cached."""
        return datetime.now(UTC)

    def glob(self, path: str, maxdepth: int | None = None, **kwargs: Any) -> list[str]:
        """fsspec's: a name means itself, whatever stands in it."""
        return [self._key(path)]

    def _open(self, path: str, mode: str = "rb", **kwargs: Any) -> Any:
        held = self.blocks[self._key(path)]
        return _Block(held) if isinstance(held, bytes) else _Lent(held)


def size_of(file: Any) -> int:
    """Bytes of an open file: a remote one says so, a local one is asked for its end."""
    return int(file.size) if hasattr(file, "size") else int(file.seek(0, os.SEEK_END))


class _Block(io.BytesIO):
    @property
    def size(self) -> int:
        return len(self.getbuffer())


class _Lent(io.RawIOBase):
    """A file that stays open when DuckDB closes it, and that DuckDB opens more than once."""

    def __init__(self, file: Any) -> None:
        self._file, self._at = file, 0
        self.size = size_of(file)

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset + (0, self._at, self.size)[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, size: int = -1) -> bytes:
        self._file.seek(self._at)
        data: bytes = self._file.read(size)
        self._at += len(data)
        return data


_bytes = BytesFileSystem()


def own_cursor(zone: str = "UTC") -> duckdb.DuckDBPyConnection:
    """A cursor of this process's instance, with a session's zone; for one thread at a time."""
    with _lock:
        pid = os.getpid()
        if pid not in _instances:
            # with Flink's functions as macros: filters and watermarks are evaluated while decoding
            connection = duck.connect(1)
            connection.register_filesystem(_bytes)
            _instances[pid] = connection
        connection = _instances[pid]
        return connection.cursor() if zone == "UTC" else duck.cursor(connection, zone)


class _Own(threading.local):
    """Of a thread. `process`: that it was made in."""

    process = 0
    given: duck.Given


_own = _Own()


def own_given() -> duck.Given:
    """The relation `given` of this thread, for statements over one batch after another: a new cursor for each would take longer than most
    of them."""
    if _own.process != os.getpid():
        _own.given, _own.process = duck.Given(own_cursor(), "given"), os.getpid()
    return _own.given


def scan_cursor(request: ScanRequest) -> duckdb.DuckDBPyConnection:
    """A cursor for the statements of a scan: in its zone, with the Python functions that its filter calls."""
    cursor = own_cursor(request.zone)
    duck.prepare_functions(cursor, request.functions)
    return cursor


@atexit.register
def _close() -> None:
    """Before the interpreter ends: the binding reports connections that outlive it as leaks on standard error."""
    for pid, connection in [*_instances.items()]:
        with contextlib.suppress(duckdb.Error):  # in the middle of a call on a thread that cannot be stopped
            connection.close()
            del _instances[pid]


class Slot:
    """A file for DuckDB, `path`: a prepared statement reads one block after another.

    `with slot.holding(data)` puts bytes, or an open binary file, and takes them away again.
    """

    def __init__(self) -> None:
        self._name = str(next(_bytes.numbers))
        self.path = f"sqlbytes://{self._name}"
        weakref.finalize(self, _bytes.blocks.pop, self._name, None)

    @contextlib.contextmanager
    def holding(self, data: Any) -> Iterator[str]:
        """Its path, with `data` behind it within the `with`."""
        _bytes.blocks[self._name] = data
        try:
            yield self.path
        finally:
            _bytes.blocks[self._name] = b""
