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
        key = self._key(path)
        held = self.blocks[key]
        return {"name": key, "size": len(held) if isinstance(held, bytes) else held.size, "type": "file"}

    def exists(self, path: str, **kwargs: Any) -> bool:
        return self._key(path) in self.blocks

    def modified(self, path: str) -> datetime:
        """Now: nothing of it may be cached."""
        return datetime.now(UTC)

    def glob(self, path: str, maxdepth: int | None = None, **kwargs: Any) -> list[str]:
        return [self._key(path)]

    def _open(self, path: str, mode: str = "rb", **kwargs: Any) -> Any:
        held = self.blocks[self._key(path)]
        return _Block(held) if isinstance(held, bytes) else _Lent(held)


class _Block(io.BytesIO):
    @property
    def size(self) -> int:
        return len(self.getbuffer())


class _Lent(io.RawIOBase):
    """A file that stays open when DuckDB closes it, and that DuckDB opens more than once."""

    def __init__(self, file: Any) -> None:
        self._file, self._at = file, 0
        self.size: int = file.size

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


def own_cursor() -> duckdb.DuckDBPyConnection:
    """A cursor of this process's instance; for one thread at a time."""
    with _lock:
        pid = os.getpid()
        if pid not in _instances:
            # with Flink's functions as macros: filters and watermarks are evaluated while decoding
            connection = duck.connect(1)
            connection.register_filesystem(_bytes)
            _instances[pid] = connection
        return _instances[pid].cursor()


@atexit.register
def _close() -> None:
    """Before the interpreter ends: the binding reports connections that outlive it as leaks on standard error."""
    for pid, connection in [*_instances.items()]:
        with contextlib.suppress(duckdb.Error):  # in the middle of a call on a thread that cannot be stopped
            connection.close()
            del _instances[pid]


class Slot:
    """A file for DuckDB, `path`: a prepared statement reads one block after another.

    `with slot.holding(data)` puts bytes, or a binary file that knows its size, and takes them away again.
    """

    def __init__(self) -> None:
        self._name = str(next(_bytes.numbers))
        self.path = f"sqlbytes://{self._name}"
        weakref.finalize(self, _bytes.blocks.pop, self._name, None)

    @contextlib.contextmanager
    def holding(self, data: Any) -> Iterator[str]:
        _bytes.blocks[self._name] = data
        try:
            yield self.path
        finally:
            _bytes.blocks[self._name] = b""
