"""A table of PostgreSQL and its changes as one split: first what it has (the snapshot of the moment in which the slot was made),
then the slot's stream from that moment on. Nothing is missed and nothing comes twice.

Positions are `{"snapshot": a scan's, "lsn": the slot's beginning}` and then `{"lsn": the end of a transaction, "skip": rows
behind it}`. The slot is told that a place is confirmed when a checkpoint is complete that has it. A job that dies in the
snapshot reads the rest of the table as it is later, and then the stream from the slot's beginning: for rows with a key that comes to
the same once the stream has come to that later moment; without a key it is refused.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import pyarrow as pa

from sqlstream.batches import OP
from sqlstream.connectors.derive import Derivation
from sqlstream.connectors.jdbc.postgres import Connection, quoted
from sqlstream.connectors.jdbc.postgres_table import find_table
from sqlstream.connectors.jdbc.scan import JdbcReader, JdbcSource
from sqlstream.connectors.jdbc.tables import DbTable
from sqlstream.connectors.jdbc.url import Address
from sqlstream.connectors.postgres_cdc import snapshot
from sqlstream.connectors.postgres_cdc.changes import Changes
from sqlstream.connectors.postgres_cdc.replication import Replication, Stream
from sqlstream.contracts import LookupCache, ScanRequest, Source, SourceBatch, Split, SplitReader, TableContext
from sqlstream.errors import CheckpointError

_lock = threading.Lock()
_confirmed: dict[
    tuple[str, str], int
] = {}  # of this process's slots, by place and name: up to where a checkpoint has come


@dataclass(frozen=True)
class Slot:
    """How a table's changes are streamed. `heartbeat`: µs after which the place of a quiet stream is passed on."""

    name: str
    publication: str
    autocreate: str
    initial: bool
    heartbeat: int


class CdcSource(Source):
    """`schema_name`.`table_name` of the database at `address`."""

    bounded = False
    settled = True
    append_only = False

    def __init__(self, table: TableContext, address: Address, schema_name: str, table_name: str, slot: Slot) -> None:
        self.table, self.address, self.slot = table, address, slot
        self.name = f"{quoted(schema_name)}.{quoted(table_name)}"

    @property
    def where(self) -> str:
        """What errors begin with."""
        return f"table {self.table.name}"

    def connect(self) -> Connection:
        """A new session."""
        return Connection(self.address, self.where)

    def key_of(self, there: DbTable) -> tuple[str, ...]:
        """The PRIMARY KEY's columns, as they are called there."""
        return tuple(there.column(k, self.where).name for k in self.table.primary_key)

    def splits(
        self,
        known: tuple[Split, ...] = (),
        positions: Mapping[str, Any] = MappingProxyType({}),
        finished: Collection[str] = (),
    ) -> list[Split]:
        if known:
            return list(known)
        connection = self.connect()
        try:
            there = find_table(connection, self.name)
            snapshot.check(connection, there, self.key_of(there))
            return [Split("0", {"slot": self.slot.name})]
        finally:
            connection.close()

    def unreadable(
        self, known: tuple[Split, ...], positions: Mapping[str, Any], finished: Collection[str]
    ) -> str | None:
        return f"{self.where}: a replication slot gives its changes once"

    def reader(self, split: Split, position: Any, request: ScanRequest, first_row: int = 0) -> SplitReader:
        return CdcReader(self, split, position, request, first_row)

    def checkpointed(self, positions: Mapping[str, Any]) -> None:
        position = positions.get("0")
        if position is not None and "snapshot" not in position:
            with _lock:
                key = (self.address.place, self.slot.name)
                _confirmed[key] = max(_confirmed.get(key, 0), int(position["lsn"]))

    def confirmed(self) -> int:
        """Up to where a checkpoint is complete, in this process; 0: none was."""
        with _lock:
            return _confirmed.get((self.address.place, self.slot.name), 0)


class CdcReader(SplitReader):
    """The split's: the snapshot, then the stream."""

    def __init__(self, source: CdcSource, split: Split, position: Any, request: ScanRequest, first_row: int) -> None:
        self._source, self._split, self._request = source, split, request
        self._position = position
        self._row = first_row
        self._derivation = Derivation(request)
        self._changes: Changes | None = None
        self._replication: Replication | None = None
        self._stream: Stream | None = None
        self._snapshot: JdbcReader | None = None
        self._lsn = self._given = self._skip = (
            0  # the last whole transaction's end; rows behind it that were given, are to be passed
        )
        self._found: tuple[pa.RecordBatch, int | None] | None = None  # rows that were not given yet, and where they end
        self._at = 0
        self._passed_on = time.monotonic()

    @property
    def finished(self) -> bool:
        return False

    def rest(self, wake: Callable[[], None]) -> bool:
        return self._stream is not None and self._found is None and self._stream.rest(wake)

    def poll(self, max_rows: int) -> SourceBatch | None:
        if max_rows <= 0:
            return None
        if self._changes is None:
            self._begin()
        assert self._changes is not None
        if self._snapshot is not None:
            got = self._snapshot.poll(max_rows)
            if got is not None:
                position = {"snapshot": got.position, "lsn": self._lsn}
                return self._batch(self._changes.snapshot(got.batch), position)
            self._snapshot.close()
            self._snapshot = None
            self._start()
            return self._batch(self._changes.nothing(), {"lsn": self._lsn, "skip": 0}, drained=True)
        return self._streamed(self._changes, max_rows)

    def _streamed(self, changes: Changes, max_rows: int) -> SourceBatch | None:
        assert self._stream is not None
        while self._found is None:
            part = self._stream.next()
            if part is None:
                return None
            if not part.messages:
                if part.ends is not None and (quiet := self._moved(part.ends)) is not None:
                    return quiet
                continue
            assert part.relation is not None
            rows = changes.rows(part.relation, part.messages, part.time)
            passed = min(self._skip, rows.num_rows)
            self._skip -= passed
            self._found, self._at = (rows, part.ends), passed
            if passed == rows.num_rows:
                self._found = None
                if part.ends is not None and (quiet := self._moved(part.ends)) is not None:
                    return quiet
        rows, ends = self._found
        n = min(max_rows, rows.num_rows - self._at)
        piece = rows.slice(self._at, n)
        self._at += n
        self._given += n
        if self._at == rows.num_rows:
            self._found = None
            if ends is not None:
                self._lsn, self._given = ends, 0
        return self._batch(piece, {"lsn": self._lsn, "skip": self._given})

    def _moved(self, place: int) -> SourceBatch | None:
        """The stream has come to `place`, without rows. That is passed on behind the rows of a transaction, which are whole now, and
        now and then, so that the slot lets go of what is before."""
        behind_rows = self._given > 0
        self._lsn, self._given, self._skip = max(self._lsn, place), 0, 0
        if not behind_rows and time.monotonic() - self._passed_on < self._source.slot.heartbeat / 1e6:
            return None
        assert self._changes is not None
        return self._batch(self._changes.nothing(), {"lsn": self._lsn, "skip": 0}, drained=True)

    def _batch(self, rows: pa.RecordBatch, position: Any, drained: bool = False) -> SourceBatch:
        self._passed_on = time.monotonic()
        op = rows.column(OP)
        plain = pa.RecordBatch.from_arrays(rows.columns[:-1], names=rows.schema.names[:-1])
        if not plain.num_columns:  # only what is computed is read
            plain = pa.RecordBatch.from_arrays([pa.repeat(pa.scalar(1, pa.int32()), rows.num_rows)], names=["one"])
            out = self._derivation.of(plain).append_column(OP, op)
            out = out.drop_columns(["one"]) if not self._request.columns else out
        else:
            out = self._derivation.of(plain).append_column(OP, op)
        made = SourceBatch(out, self._row, position, drained)
        self._row += rows.num_rows
        return made

    def _begin(self) -> None:
        source, slot = self._source, self._source.slot
        connection = source.connect()
        try:
            there = find_table(connection, source.name)
            key = source.key_of(there)
            made = Changes(self._request, there, key, source.address.database, source.where)
            snapshot.check(connection, there, key)
            exported = None
            if self._position is None:
                snapshot.publish(connection, there, slot.publication, slot.autocreate)
                self._replication = Replication(source.address, source.where)
                begun = snapshot.begin(connection, self._replication, slot.name, bool(key), slot.initial)
                self._lsn, exported = begun.lsn, begun.snapshot
            else:
                self._lsn = int(self._position["lsn"])
                snapshot.go_on(connection, slot.name, self._lsn)
                self._replication = Replication(source.address, source.where)
        finally:
            connection.close()
        self._changes = made
        at = None if self._position is None else self._position.get("snapshot")
        if self._position is None and slot.initial or at is not None:
            if at is not None and not key:
                raise CheckpointError(
                    f"{source.where}: the job ended while it read what the table had, and rows without a PRIMARY KEY cannot be gone on "
                    "with",
                    hint="PRIMARY KEY (…) NOT ENFORCED; or start anew with --fresh",
                )
            columns = tuple(c for c in self._request.columns if c.path[0] != "$metadata")
            scan = JdbcSource(source.table, source.address, source.name, None, 0, LookupCache())
            request = replace(ScanRequest(columns), zone=self._request.zone)
            # Not the blocks that were there when the split was made: the slot came later, and with it the snapshot.
            self._snapshot = JdbcReader(scan, self._split, at, request, 0, 0, exported or "")
        else:
            self._skip = self._given = 0 if self._position is None else int(self._position.get("skip", 0))
            self._start()

    def _start(self) -> None:
        """The stream, from `_lsn` on."""
        source, replication = self._source, self._replication
        assert replication is not None and self._changes is not None
        replication.begin(source.slot.name, self._lsn, source.slot.publication)
        there = self._changes.there
        self._stream = Stream(replication, self._lsn, there.schema, there.name, source.confirmed)

    def close(self) -> None:
        if self._snapshot is not None:
            self._snapshot.close()
        if self._stream is not None:
            self._stream.close()
        elif self._replication is not None:
            self._replication.close()
