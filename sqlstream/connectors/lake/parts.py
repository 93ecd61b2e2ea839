"""Parquet files as a task writes them: gathered by partition, encoded in large row groups, closed when they have their size.

Arrow's columns are encoded as they come; nothing is done row by row. Rows are gathered first, since small row groups cost their
readers more than they cost here, up to a bound for all partitions together. Of the files a bounded number is open.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from sqlstream.connectors.file_store import reported
from sqlstream.connectors.lake.grouping import Key
from sqlstream.errors import RunError

GROUP_BYTES = 32 << 20  # of Arrow's columns, in a row group
GROUP_ROWS = 262_144
GATHERED = 128 << 20  # bytes that all partitions together wait with
OPEN = 64  # files that are written at the same time


@dataclass(frozen=True)
class Written:
    """A file that is whole and durable."""

    path: str
    key: Key
    rows: int
    size: int
    metadata: Any  # Parquet's


@dataclass
class _Part:
    key: Key
    batches: list[pa.RecordBatch] = field(default_factory=list)
    rows: int = 0
    bytes: int = 0
    path: str = ""
    file: Any = None
    writer: Any = None
    collected: list[Any] = field(default_factory=list)


class Parts:
    """`schema`: the files'. `create`: a new file for a partition, its path and itself, open. `remove`: it will not be wanted.
    `target`: bytes at which a file is closed. `settings`: Arrow's, of its ParquetWriter."""

    def __init__(
        self,
        schema: pa.Schema,
        create: Callable[[Key], tuple[str, Any]],
        remove: Callable[[str], None],
        target: int,
        settings: Mapping[str, Any],
    ) -> None:
        self._schema, self._create, self._remove = schema, create, remove
        self._target, self._settings = target, dict(settings)
        self._parts: dict[Key, _Part] = {}
        self._open: dict[Key, _Part] = {}  # the one last written at the end
        self._waiting = 0
        self._done: list[Written] = []

    def write(self, key: Key, rows: pa.RecordBatch) -> None:
        """Rows of one partition, of the files' schema."""
        if not rows.num_rows:
            return
        part = self._parts.get(key)
        if part is None:
            part = self._parts[key] = _Part(key)
        size = rows.nbytes
        part.batches.append(rows)
        part.rows, part.bytes = part.rows + rows.num_rows, part.bytes + size
        self._waiting += size
        if part.bytes >= GROUP_BYTES or part.rows >= GROUP_ROWS:
            self._encode(part)
        if self._waiting >= GATHERED:
            for other in sorted(self._parts.values(), key=lambda p: p.bytes, reverse=True):
                self._encode(other)
                if self._waiting < GATHERED // 2:
                    break

    def finish(self) -> list[Written]:
        """All that was written since the last time, as files."""
        for part in list(self._parts.values()):
            self._encode(part)
            self._close(part)
        self._parts.clear()
        done, self._done = self._done, []
        return done

    def discard(self) -> None:
        """What was not given by `finish` goes."""
        for part in list(self._open.values()):
            self._drop(part)
        self._parts.clear()
        for written in self._done:
            with contextlib.suppress(OSError, RunError):
                self._remove(written.path)
        self._done = []

    def _encode(self, part: _Part) -> None:
        if not part.rows:
            return
        table = pa.Table.from_batches(part.batches, self._schema)
        self._waiting -= part.bytes
        part.batches, part.rows, part.bytes = [], 0, 0
        try:
            if part.writer is None:
                self._begin(part)
            with reported(part.path, "write"):
                part.writer.write_table(table, row_group_size=max(table.num_rows, 1))
                full = part.file.tell() >= self._target
        except RunError:
            self._drop(part)
            raise
        self._open[part.key] = self._open.pop(part.key)
        if full:
            self._close(part)

    def _begin(self, part: _Part) -> None:
        while len(self._open) >= OPEN:
            self._close(next(iter(self._open.values())))
        part.path, part.file = self._create(part.key)
        self._open[part.key] = part
        part.collected = []
        with reported(part.path, "write"):
            part.writer = pq.ParquetWriter(
                part.file, self._schema, metadata_collector=part.collected, **self._settings
            )  # fmt: skip

    def _close(self, part: _Part) -> None:
        if part.writer is None:
            return
        try:
            with reported(part.path, "write"):
                part.writer.close()
                size = part.file.tell()
                part.file.flush()
                if _is_of_the_system(part.file):
                    os.fsync(part.file.fileno())
                part.file.close()
        except RunError:
            self._drop(part)
            raise
        metadata = part.collected[0]
        self._done.append(Written(part.path, part.key, metadata.num_rows, size, metadata))
        self._forget(part)

    def _drop(self, part: _Part) -> None:
        if part.file is not None:
            with contextlib.suppress(OSError, pa.ArrowException):
                part.file.close()
            with contextlib.suppress(OSError, RunError):
                self._remove(part.path)
        self._forget(part)

    def _forget(self, part: _Part) -> None:
        part.writer = part.file = None
        self._open.pop(part.key, None)
        if not part.rows:
            self._parts.pop(part.key, None)


def _is_of_the_system(file: Any) -> bool:
    try:
        return isinstance(file.fileno(), int)
    except (OSError, AttributeError, ValueError, NotImplementedError, pa.ArrowException):
        return False
