"""Where a job begins with tables: what the server must be, a place of its log, and what the tables hold at that moment.

MariaDB says with a consistent snapshot which place of the log it stands at. For MySQL the tables are locked against writes for the moment in
which the snapshot begins and the place is read: who writes to them waits, and what is committed is before both or behind both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlstream.connectors.changes import Place
from sqlstream.connectors.jdbc.database import Placed
from sqlstream.connectors.jdbc.databases import database_at
from sqlstream.connectors.jdbc.mysql import Connection, text
from sqlstream.connectors.jdbc.mysql_database import BLOCK, described, ordering
from sqlstream.connectors.jdbc.places import in_order
from sqlstream.connectors.jdbc.query import Query
from sqlstream.connectors.jdbc.tables import DbTable
from sqlstream.connectors.jdbc.url import Address
from sqlstream.connectors.mysql_cdc import gtids
from sqlstream.connectors.mysql_cdc.binlog import Followed
from sqlstream.contracts import ScanRequest, SourceBatch
from sqlstream.errors import CheckpointError, OptionError, RunError

_SYSTEM = ("mysql", "information_schema", "performance_schema", "sys")
_UNREADABLE = (
    "uuid",
    "inet4",
    "inet6",
    "geometry",
    "point",
    "linestring",
    "polygon",
    "multipoint",
    "multilinestring",
    "multipolygon",
)


@dataclass(frozen=True)
class Server:
    """What streams. `kind`: MySQL's or MariaDB's, whose ids differ. `name`: tells it from others that have the same changes."""

    kind: str
    name: str


def server_of(connection: Connection) -> Server:
    """OptionError unless the log has rows, whole, and says which columns they have."""
    wanted = (("log_bin", ("ON", "1"), "log_bin"), ("binlog_format", ("ROW",), "binlog_format = ROW"),
              ("binlog_row_image", ("FULL",), "binlog_row_image = FULL"),
              ("binlog_row_metadata", ("FULL",), "binlog_row_metadata = FULL (MySQL 8.0, MariaDB 10.5, or later)"))  # fmt: skip
    found = dict(connection.rows("SHOW GLOBAL VARIABLES WHERE Variable_name IN ('log_bin', 'binlog_format', 'binlog_row_image', 'binlog_row_metadata')"))  # fmt: skip
    for name, values, hint in wanted:
        said = found.get(name)
        if said is None and name == "binlog_format":
            continue  # MySQL without other formats
        if said is None or said.upper() not in values:
            raise OptionError(
                f"{connection.where}: the server has {name} = {said or 'nothing'}: its log does not have what changes",
                hint=f"in its configuration, or by SET GLOBAL: {hint}",
            )
    ((version, number, host, port),) = connection.rows("SELECT VERSION(), @@server_id, @@hostname, @@port")
    kind = gtids.MARIADB if "mariadb" in str(version).lower() else gtids.MYSQL
    name = f"{number}@{host}:{port}" if kind == gtids.MARIADB else str(connection.rows("SELECT @@server_uuid")[0][0])
    return Server(kind, name)


def charsets_of(connection: Connection) -> dict[int, str]:
    """The charsets of the server's collations, by their numbers."""
    sql = "SELECT id, character_set_name FROM information_schema.collations WHERE id IS NOT NULL"
    found = dict(connection.rows(sql))
    more = connection.rows(
        "SELECT 1 FROM information_schema.columns WHERE table_schema = 'information_schema' AND column_name = 'ID' "
        "AND table_name = 'COLLATION_CHARACTER_SET_APPLICABILITY'"
    )
    if more:  # MariaDB, whose newer collations are of several charsets
        found.update(connection.rows("SELECT id, character_set_name FROM information_schema.collation_character_set_applicability WHERE id IS NOT NULL"))  # fmt: skip
    return {int(n): str(c) for n, c in found.items()}


def tables_of(connection: Connection, followed: Followed) -> list[DbTable]:
    """Those that the patterns mean, by name. OptionError when there is none."""
    listed = connection.rows(
        "SELECT table_schema, table_name FROM information_schema.tables WHERE table_type IN ('BASE TABLE', 'SYSTEM VERSIONED') "
        f"AND table_schema NOT IN ({', '.join(map(text, _SYSTEM))}) ORDER BY 1, 2"
    )
    found = [(str(d), str(t)) for d, t in listed if followed.has(str(d), str(t))]
    if not found:
        raise OptionError(
            f"{connection.where}: no table is called '{followed.tables}' in a database called '{followed.databases}'",
            hint="both are regular expressions of whole names: shop, orders_\\d+",
            subject=followed.tables,
        )
    return [described(connection, d, t) for d, t in found]


def check(tables: Sequence[DbTable], columns: Sequence[tuple[str, Any]], address: Address, where: str) -> None:
    """OptionError unless each of the tables has the columns, of types that they may be here. `columns`: names and types."""
    kind = database_at(address)
    for there in tables:
        for name, t in columns:
            column = there.column(name, where)
            kind.reading(column, t, where)
            if column.base in _UNREADABLE:
                raise OptionError(
                    f"{where}: column {column.name} ({column.type}): such values are not read from a log of changes",
                    hint="leave it out",
                    subject=name,
                )


def place_now(connection: Connection) -> Place:
    """Where the log ends."""
    for statement in ("SHOW BINARY LOG STATUS", "SHOW MASTER STATUS"):
        try:
            rows = connection.rows(statement)
        except (OptionError, RunError):
            continue
        if rows:
            place: Place = {"file": str(rows[0][0]), "pos": int(rows[0][1])}
            return _with_gtids(connection, place, str(rows[0][4]) if len(rows[0]) > 4 else "")
    raise OptionError(
        f"{connection.where}: the server does not say where its log is",
        hint="GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* (MariaDB: BINLOG MONITOR); and log_bin",
    )


def _with_gtids(connection: Connection, place: Place, executed: str) -> Place:
    """MariaDB says by a function which ids a place stands behind; MySQL says it with the place."""
    if not executed:
        found = (
            connection.rows(f"SELECT BINLOG_GTID_POS({text(str(place['file']))}, {place['pos']})")
            if _maria(connection)
            else []
        )
        executed = str(found[0][0] or "") if found else ""
    return {**place, "gtid": executed.replace("\n", "")} if executed else place


def _maria(connection: Connection) -> bool:
    return "mariadb" in str(connection.rows("SELECT VERSION()")[0][0]).lower()


def earliest(connection: Connection) -> Place:
    """Where what there is of the log begins."""
    rows = connection.rows("SHOW BINARY LOGS")
    return {"file": str(rows[0][0]), "pos": 4}


def begin(connection: Connection, tables: Sequence[DbTable], address: Address) -> Place:
    """Begins a transaction that sees the tables at a moment; the place of the log at that moment."""
    connection.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    snapshot = "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"
    if _maria(connection):
        connection.execute(snapshot)
        found = dict(
            connection.rows("SHOW STATUS WHERE Variable_name IN ('Binlog_snapshot_file', 'Binlog_snapshot_position')")
        )
        if found.get("Binlog_snapshot_file"):
            place: Place = {"file": found["Binlog_snapshot_file"], "pos": int(found["Binlog_snapshot_position"])}
            return _with_gtids(connection, place, "")
    return locked(connection, tables, address, snapshot)


def locked(connection: Connection, tables: Sequence[DbTable], address: Address, snapshot: str) -> Place:
    """The same by locks, of another connection: a moment in which nobody writes to the tables."""
    holder = Connection(address, connection.where)
    try:
        holder.execute("SET SESSION lock_wait_timeout = 60")
        try:
            holder.execute("LOCK TABLES " + ", ".join(f"{t.sql} READ" for t in tables))
        except RunError as e:
            raise RunError(
                f"{e.message}: a snapshot begins with a lock of the tables, which is held for a moment",
                hint="GRANT LOCK TABLES, SELECT on the database",
            ) from e
        place = place_now(holder)
        connection.execute(snapshot)
        holder.execute("UNLOCK TABLES")
        return place
    finally:
        holder.close()


class TableSnapshot:
    """Rows of tables, one behind the other, in an open transaction. Positions: `{"table": …, "place": a scan's}`."""

    def __init__(
        self, connection: Connection, tables: Sequence[DbTable], request: ScanRequest, address: Address, position: Any
    ) -> None:
        self._connection, self._request, self._address = connection, request, address
        self._position = position
        first = None if position is None else str(position["table"])
        self._left = [t for t in tables if first is None or t.sql >= first]
        self._batches: Placed | None = None
        self.table: DbTable | None = None  # whose rows were given last
        self._found: Any = None
        self._at = 0

    def poll(self, max_rows: int) -> SourceBatch | None:
        """Some rows of one table; None: that was all."""
        while self._found is None:
            if self._batches is None:
                if not self._left:
                    return None
                self.table = self._left.pop(0)
                self._batches = self._scan(self.table)
            got = next(self._batches, None)
            if got is None:
                self._batches = None
            else:
                self._found, self._at = got, 0
        rows, place = self._found
        assert self.table is not None
        piece = rows.slice(self._at, max_rows)
        self._at += piece.num_rows
        if self._at == rows.num_rows:
            self._found = None
        return SourceBatch(piece, 0, {"table": self.table.sql, "place": place(self._at)})

    def _scan(self, there: DbTable) -> Placed:
        query = Query.of(database_at(self._address), self._connection, there.sql, self._request, self._connection.where)
        same = self._position is not None and self._position["table"] == there.sql
        if same and not there.key:
            raise CheckpointError(
                f"{self._connection.where}: the job ended while it read what {there.sql} had, which has no primary key to go on by",
                hint="start anew with --fresh",
            )
        by = [ordering(there.columns[k]) for k in there.key]
        return in_order(self._connection, query, by, self._position["place"] if same else None, BLOCK)

    def close(self) -> None:
        """Ends the transaction."""
        self._connection.close()


def with_zone(address: Address, zone: str) -> Address:
    """Whose TIMESTAMP columns are in a zone, where they are TIMESTAMP here."""
    return replace(address, parameters={**address.parameters, "time_zone": zone})
