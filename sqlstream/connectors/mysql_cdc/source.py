"""Tables of MySQL and their changes as one split: first what they have at a moment, then the log from that moment's place on. Nothing is
missed and nothing comes twice.

Positions are those of `connectors/changes.py`; a place is a file of the log and a position in it, with the global transaction ids before it
and the server that it is of: on another server with the same changes the ids say where to go on. A job that dies in the snapshot reads
the rest of the tables as it is later, and then the log from the place of the beginning: for rows with a key that comes to the same once
the log has come to that later moment; without a key it is refused.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import pyarrow as pa

from sqlstream.connectors.changes import ChangeReader, Place
from sqlstream.connectors.jdbc.mysql import Connection
from sqlstream.connectors.jdbc.url import Address
from sqlstream.connectors.mysql_cdc import snapshot
from sqlstream.connectors.mysql_cdc.binlog import Binlog, Followed, Stream
from sqlstream.connectors.mysql_cdc.rows import Rows
from sqlstream.connectors.mysql_cdc.snapshot import Server, TableSnapshot
from sqlstream.contracts import ScanColumn, ScanRequest, Source, Split, SplitReader, TableContext
from sqlstream.errors import CheckpointError

INITIAL, EARLIEST, LATEST, SPECIFIC, TIMESTAMP, SNAPSHOT = (
    "initial", "earliest-offset", "latest-offset", "specific-offset", "timestamp", "snapshot",
)  # fmt: skip


@dataclass(frozen=True)
class Following:
    """How tables are followed. `server`: the ids to be a replica by, from and to. `mode`: where it begins; `place`: of SPECIFIC; `since`: of
    TIMESTAMP, µs. `zone`: of TIMESTAMP columns that are TIMESTAMP here. `heartbeat`: µs after which the place of a quiet stream is passed
    on. `appends`: changes are rows."""

    tables: Followed
    server: tuple[int, int]
    mode: str
    place: Mapping[str, Any]
    since: int
    zone: str
    heartbeat: int
    appends: bool


class MysqlCdcSource(Source):
    """Of the server at `address`."""

    settled = True

    def __init__(self, table: TableContext, address: Address, following: Following) -> None:
        self.table, self.following = table, following
        self.address = snapshot.with_zone(address, following.zone)

    @property
    def bounded(self) -> bool:  # type: ignore[override]
        return self.following.mode == SNAPSHOT

    @property
    def append_only(self) -> bool:  # type: ignore[override]
        return self.following.appends

    @property
    def where(self) -> str:
        """What errors begin with."""
        return f"table {self.table.name}"

    def connect(self) -> Connection:
        """A new session."""
        return Connection(self.address, self.where)

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
            if not self.bounded:
                snapshot.server_of(connection)
            tables = snapshot.tables_of(connection, self.following.tables)
            snapshot.check(tables, [(c.name, c.type) for c in self.table.schema], self.address, self.where)
            return [Split("0")]
        finally:
            connection.close()

    def unreadable(
        self, known: tuple[Split, ...], positions: Mapping[str, Any], finished: Collection[str]
    ) -> str | None:
        return f"{self.where}: a table may have other rows now, and its server less of its log"

    def reader(self, split: Split, position: Any, request: ScanRequest, first_row: int = 0) -> SplitReader:
        return MysqlCdcReader(self, position, request, first_row)


class MysqlCdcReader(ChangeReader):
    """The split's: the snapshot, then the log."""

    def __init__(self, source: MysqlCdcSource, position: Any, request: ScanRequest, first_row: int) -> None:
        super().__init__(request, first_row, source.following.heartbeat, source.following.appends)
        self._source, self._position, self._scan = source, position, _without_metadata(request)
        types = {c.name: c.type for c in source.table.schema}
        keyed = ScanRequest(tuple(ScanColumn((k,), types[k]) for k in source.table.primary_key))
        zone, appends = source.following.zone, source.following.appends
        self._rows = Rows(request, source.table.primary_key, keyed, zone, source.where, appends)
        self._server: Server | None = None
        self._charsets: dict[int, str] = {}
        self._tables: TableSnapshot | None = None

    def streams(self) -> bool:
        return not self._source.bounded

    def scanned(self, got: pa.RecordBatch) -> pa.RecordBatch:
        assert self._tables is not None and self._tables.table is not None
        there = self._tables.table
        return self._rows.scanned(got, there.schema, there.name)

    def changed(self, part: Any) -> pa.RecordBatch:
        return self._rows.changed(part)

    def nothing(self) -> pa.RecordBatch:
        return self._rows.nothing()

    def begin(self) -> None:
        source, mode = self._source, self._source.following.mode
        connection = source.connect()
        try:
            tables = snapshot.tables_of(connection, source.following.tables)
            if self.streams():
                self._server = snapshot.server_of(connection)
                self._charsets = snapshot.charsets_of(connection)
            place, at = self._where_from(connection), None
            if self._position is not None:
                at = self._position.get("snapshot")
                if at is not None and not source.table.primary_key:
                    raise CheckpointError(
                        f"{source.where}: the job ended while it read what the table had, and rows without a PRIMARY KEY cannot be gone "
                        "on with",
                        hint="PRIMARY KEY (…) NOT ENFORCED; or start anew with --fresh",
                    )
            if at is not None or self._position is None and mode in (INITIAL, SNAPSHOT):
                snapshot.check(tables, [(c.path[0], c.type) for c in self._scan.columns], source.address, source.where)
                begun = snapshot.begin(connection, tables, source.address)
                self.place = self._named(place or begun)
                self._tables = self.snapshot = TableSnapshot(connection, tables, self._scan, source.address, at)
                return
        except BaseException:
            connection.close()
            raise
        connection.close()
        assert place is not None
        skip = int((place if self._position is None else self._position).get("skip", 0))
        self.place = self._named({k: v for k, v in place.items() if k != "skip"})
        self.go_on(skip)

    def _where_from(self, connection: Connection) -> Place | None:
        """The place in the log that reading begins at; None: that of the snapshot."""
        following = self._source.following
        if self._position is not None:
            return {k: v for k, v in self._position.items() if k not in ("snapshot", "skip")}
        if following.mode == SPECIFIC:
            return dict(following.place)
        if following.mode in (EARLIEST, TIMESTAMP):
            return snapshot.earliest(connection)
        return snapshot.place_now(connection) if following.mode == LATEST else None

    def _named(self, place: Place) -> Place:
        """With the server that it is of. On another one the ids alone say where it is."""
        if self._server is None:
            return place
        if place.get("server", self._server.name) != self._server.name:
            if not place.get("gtid"):
                raise CheckpointError(
                    f"{self._source.where}: the job has read the log of another server, and its place has no global transaction ids",
                    hint="go on with the server that it was; or start anew with --fresh",
                )
            place = {"gtid": place["gtid"]}
        return {**place, "server": self._server.name}

    def behind(self) -> Callable[[Place], int | None]:
        connection = self._source.connect()
        try:
            sizes = {str(row[0]): int(row[1]) for row in connection.rows("SHOW BINARY LOGS")}
        finally:
            connection.close()

        def left(place: Place) -> int | None:
            if not place.get("file"):  # the ids alone say where it is
                return None
            at = _number(str(place["file"]))
            return sum(n for file, n in sizes.items() if _number(file) >= at) - int(place["pos"])

        return left

    def start(self) -> None:
        source, server = self._source, self._server
        assert server is not None
        number = random.randint(*source.following.server)
        binlog = Binlog(source.address, source.where, number, server.kind)
        try:
            binlog.begin(self.place)
        except BaseException:
            binlog.close()
            raise
        since = source.following.since if source.following.mode == TIMESTAMP else 0
        self.stream = Stream(binlog, self.place, source.following.tables, self._charsets, since, server.name)


def _number(file: str) -> int:
    """Of a file of the log, binlog.000042."""
    return int(file.rpartition(".")[2])


def _without_metadata(request: ScanRequest) -> ScanRequest:
    columns = tuple(c for c in request.columns if c.path[0] != "$metadata")
    return ScanRequest(columns, zone=request.zone)
