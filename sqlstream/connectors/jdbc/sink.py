"""Rows of a table as rows of a database's: written as they come, and again after a failure (at least once).

With a PRIMARY KEY that does no harm: a row takes the place of the one of its key. `'sink.delivery-guarantee' =
'exactly-once'` is in `staging.py`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from sqlstream.connectors.jdbc.database import Database, DbConnection, Disconnected, Passing
from sqlstream.connectors.jdbc.databases import database_at
from sqlstream.connectors.jdbc.target import APPEND, DELETE, UPSERT, Change, Target
from sqlstream.connectors.jdbc.url import Address
from sqlstream.connectors.upsert import UpsertWriter
from sqlstream.contracts import Committable, Sink, SinkCommitter, SinkTask, SinkWriter, TableContext

LONGEST_REST = 10.0  # seconds between two tries


@dataclass(frozen=True)
class Writes:
    """How rows are written. `exactly_once`: with checkpoints. Else so many rows, or µs, after which what came is written (0:
    each epoch). `retries`: of a write that failed for a reason that may pass."""

    exactly_once: bool = False
    max_rows: int = 100
    interval: int = 1_000_000
    retries: int = 3


class JdbcSink(Sink):
    """Table `name` of the database at `address`. Without a PRIMARY KEY rows are appended, and only such as do not change."""

    def __init__(self, table: TableContext, address: Address, name: str, writes: Writes) -> None:
        self.table, self.address, self.name, self.writes = table, address, name, writes

    @property
    def changelog(self) -> bool:  # type: ignore[override]
        return bool(self.table.primary_key)

    @property
    def update_before(self) -> bool:  # type: ignore[override]
        return not self.table.primary_key

    @property
    def primary_key(self) -> tuple[str, ...]:  # type: ignore[override]
        return self.table.primary_key

    @property
    def place(self) -> str:  # type: ignore[override]
        # All tables of a database that are written with checkpoints are written in one transaction.
        return self.address.place if self.writes.exactly_once else ""

    def writer(self, task: SinkTask) -> SinkWriter:
        from sqlstream.connectors.jdbc.staging import StagingWriter

        return StagingWriter(self, task) if self.writes.exactly_once else DirectWriter(self)

    def committer(self, task: SinkTask) -> SinkCommitter:
        from sqlstream.connectors.jdbc.staging import StagingCommitter

        return StagingCommitter(self, task) if self.writes.exactly_once else SinkCommitter()

    @property
    def database(self) -> Database:
        """Which one it is."""
        return database_at(self.address)

    def connect(self) -> DbConnection:
        """A new session."""
        return self.database.connect(self.address, f"table {self.table.name}")


class Gathered(UpsertWriter):
    """Rows that wait to be written. `take` gives what they come to: with a key one change a key."""

    def __init__(self, key: tuple[str, ...]) -> None:
        super().__init__(key)
        self._changes: list[Change] = []
        self.rows = self.bytes = 0

    def write(self, batch: pa.RecordBatch, kinds: np.ndarray | None) -> None:
        self.rows += batch.num_rows
        self.bytes += batch.nbytes
        if self._key:
            super().write(batch, kinds)
        else:
            self._batches.append(batch)

    def upsert(self, rows: pa.RecordBatch) -> None:
        self._changes.append((UPSERT, rows))

    def delete(self, keys: pa.RecordBatch) -> None:
        self._changes.append((DELETE, keys))

    def take(self) -> list[Change]:
        """What came since the last time."""
        if self._key:
            self.flush()
        elif self._batches:
            self._changes.append((APPEND, pa.concat_batches(self._batches)))
            self._batches = []
        changes, self._changes, self.rows, self.bytes = self._changes, [], 0, 0
        return changes


class Repeated:
    """Does something with a connection, and again with a new one when it failed for a reason that may pass. `keeps`: the
    connection, for the next time, until it is closed."""

    def __init__(self, connect: Callable[[], DbConnection], retries: int, keeps: bool = True) -> None:
        self._connect, self._retries, self._keeps = connect, retries, keeps
        self._connection: DbConnection | None = None

    def do(self, work: Callable[[DbConnection], None]) -> None:
        """`work` in one transaction. What it raises, when it has failed once more than there are retries."""
        for attempt in range(self._retries + 1):
            try:
                if self._connection is None:
                    self._connection = self._connect()
                with self._connection.transaction():
                    work(self._connection)
                return
            except (Disconnected, Passing):
                self.close()
                if attempt == self._retries:
                    raise
                time.sleep(min(2.0**attempt, LONGEST_REST))
            finally:
                if not self._keeps:
                    self.close()

    def first(self, work: Callable[[DbConnection], None]) -> None:
        """`do`, and nothing is left open when it fails: nobody has a thing yet that could be closed."""
        try:
            self.do(work)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """The next time there is a new connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class DirectWriter(SinkWriter):
    """Writes what has come in one transaction, when there is enough of it or it is old enough, and before a checkpoint."""

    def __init__(self, sink: JdbcSink) -> None:
        self._sink, self._writes = sink, sink.writes
        self._waiting = Gathered(sink.table.primary_key)
        self._repeated = Repeated(sink.connect, sink.writes.retries)
        self._target: tuple[DbConnection, Target] | None = None
        self._seconds = sink.table.seconds
        self._written = self._seconds()
        self._repeated.first(lambda connection: self._known(connection, None))  # says now what is wrong with the table

    def write(self, batch: pa.RecordBatch, kinds: np.ndarray | None) -> None:
        self._waiting.write(batch, kinds)
        if 0 < self._writes.max_rows <= self._waiting.rows:
            self._write()

    def flush(self) -> None:
        if self._waiting.rows and self._seconds() - self._written >= self._writes.interval / 1e6:
            self._write()

    def prepare(self, checkpoint: int) -> list[Committable]:
        self._write()
        return []

    def close(self) -> None:
        self._repeated.close()

    def _write(self) -> None:
        changes = self._waiting.take()
        self._written = self._seconds()
        if changes:
            self._repeated.do(lambda connection: self._known(connection, changes))

    def _known(self, connection: DbConnection, changes: list[Change] | None) -> None:
        if self._target is None or self._target[0] is not connection:
            t = self._sink.table
            self._target = connection, self._sink.database.target(connection, self._sink.name, t.schema, t.primary_key)
        for change in changes or ():
            self._target[1].apply(change)
