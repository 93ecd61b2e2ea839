"""A table of PostgreSQL and its changes as one split: first what it has (the snapshot of the moment in which the slot was made),
then the slot's stream from that moment on. Nothing is missed and nothing comes twice.

Positions are `{"snapshot": a scan's, "lsn": the slot's beginning}` and then `{"lsn": the end of a transaction, "skip": rows
behind it}`. The slot is told that a place is confirmed when a checkpoint is complete that has it. A job that dies in the
snapshot reads the rest of the table as it is later, and then the stream from the slot's beginning: for rows with a key that comes to
the same once the stream has come to that later moment; without a key it is refused.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import pyarrow as pa

from sqlstream.connectors.changes import ChangeReader, Place
from sqlstream.connectors.jdbc.postgres import Connection, quoted
from sqlstream.connectors.jdbc.postgres_table import find_table
from sqlstream.connectors.jdbc.scan import JdbcReader, JdbcSource
from sqlstream.connectors.jdbc.tables import DbTable
from sqlstream.connectors.jdbc.url import Address
from sqlstream.connectors.postgres_cdc import snapshot
from sqlstream.connectors.postgres_cdc.changes import Changes
from sqlstream.connectors.postgres_cdc.replication import Replication, Stream, number_of
from sqlstream.contracts import LookupCache, ScanRequest, Source, Split, SplitReader, TableContext
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


class CdcReader(ChangeReader):
    """The split's: the snapshot, then the stream."""

    def __init__(self, source: CdcSource, split: Split, position: Any, request: ScanRequest, first_row: int) -> None:
        super().__init__(request, first_row, source.slot.heartbeat)
        self._source, self._split = source, split
        self._position = position
        self._changes: Changes | None = None
        self._replication: Replication | None = None

    @property
    def _made(self) -> Changes:
        assert self._changes is not None
        return self._changes

    def scanned(self, got: pa.RecordBatch) -> pa.RecordBatch:
        return self._made.snapshot(got)

    def changed(self, part: Any) -> pa.RecordBatch:
        return self._made.rows(part.relation, part.messages, part.time)

    def nothing(self) -> pa.RecordBatch:
        return self._made.nothing()

    def begin(self) -> None:
        source, slot = self._source, self._source.slot
        connection = source.connect()
        try:
            there = find_table(connection, source.name)
            key = source.key_of(there)
            made = Changes(self._request, there, key, source.address.database, source.where)
            snapshot.check(connection, there, key)
            wanted = [
                there.column(c.path[0], source.where).name for c in self._request.columns if c.path[0] != "$metadata"
            ]
            snapshot.check_generated(connection, there, slot.publication, [*wanted, *key])
            exported = None
            if self._position is None:
                snapshot.publish(connection, there, slot.publication, slot.autocreate)
                self._replication = Replication(source.address, source.where)
                begun = snapshot.begin(connection, self._replication, slot.name, bool(key), slot.initial)
                lsn, exported = begun.lsn, begun.snapshot
            else:
                lsn = int(self._position["lsn"])
                snapshot.go_on(connection, slot.name, lsn)
                self._replication = Replication(source.address, source.where)
        finally:
            connection.close()
        self._changes, self.place = made, {"lsn": lsn}
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
            self.snapshot = JdbcReader(scan, self._split, at, request, 0, 0, exported or "")
        else:
            self.go_on(0 if self._position is None else int(self._position.get("skip", 0)))

    def behind(self) -> Callable[[Place], int | None]:
        connection = self._source.connect()
        try:
            ((end,),) = connection.rows(
                "SELECT (CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END)::text"
            )
        finally:
            connection.close()
        return lambda place: number_of(end) - int(place["lsn"])

    def start(self) -> None:
        source, replication, lsn = self._source, self._replication, int(self.place["lsn"])
        assert replication is not None
        replication.begin(source.slot.name, lsn, source.slot.publication)
        there = self._made.there
        self.stream = Stream(replication, lsn, there.schema, there.name, source.confirmed)

    def close(self) -> None:
        super().close()
        if self.stream is None and self._replication is not None:
            self._replication.close()
