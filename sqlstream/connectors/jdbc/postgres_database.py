"""PostgreSQL as a database of connector 'jdbc': by ADBC's driver over libpq (`postgres.py`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sqlstream.connectors.jdbc.database import Database, DbConnection, Placed, Staging
from sqlstream.connectors.jdbc.places import Ordering, in_order
from sqlstream.connectors.jdbc.postgres import Connection, quoted, text
from sqlstream.connectors.jdbc.postgres_table import HEAP, PARTITIONED, PostgresTable, find_table
from sqlstream.connectors.jdbc.postgres_target import PostgresTarget
from sqlstream.connectors.jdbc.postgres_types import PostgresWriting, reading, type_of, writing
from sqlstream.connectors.jdbc.query import Query
from sqlstream.connectors.jdbc.readings import Reading
from sqlstream.connectors.jdbc.tables import DbColumn, DbTable, whole_numbers
from sqlstream.connectors.jdbc.target import Target
from sqlstream.connectors.jdbc.url import Address, Parts
from sqlstream.contracts import Split
from sqlstream.errors import OptionError, did_you_mean
from sqlstream.expressions import Literal
from sqlstream.literals import literal_text
from sqlstream.types import Schema, Type

BLOCKS = 4096  # of the table (32 MiB) a query: what going on in the middle reads again at most
_INTEGERS = ("int2", "int4", "int8")
_TEXTS = ("text", "varchar", "bpchar")
_ARRAYS = {
    "BOOLEAN": "bool", "TINYINT": "int2", "SMALLINT": "int2", "INT": "int4", "BIGINT": "int8", "DECIMAL": "numeric",
    "DATE": "date", "TIME": "time", "TIMESTAMP": "timestamp", "TIMESTAMP_LTZ": "timestamptz",
}  # fmt: skip
_UUID = "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"  # as PostgreSQL writes one: no other text is that of a row
# Of PostgreSQL's Java driver: what a parameter is to libpq.
_JAVA = {
    "user": "user",
    "password": "password",
    "ApplicationName": "application_name",
    "connectTimeout": "connect_timeout",
    "loginTimeout": "connect_timeout",
    "sslmode": "sslmode",
    "sslrootcert": "sslrootcert",
    "sslcert": "sslcert",
    "sslkey": "sslkey",
    "sslpassword": "sslpassword",
    "options": "options",
    "gssEncMode": "gssencmode",
    "channelBinding": "channel_binding",
}
_ANY, _PRIMARY = "any", "primary"
_SERVERS = {
    "any": _ANY, "primary": _PRIMARY, "master": _PRIMARY, "secondary": "standby", "slave": "standby",
    "preferSecondary": "prefer-standby", "preferSlave": "prefer-standby",
}  # fmt: skip


class PostgreSQL(Database):
    """15 and later are tried."""

    kind = "postgresql"
    drivers = ("org.postgresql.Driver",)
    staging = Staging(
        (
            "CREATE TABLE IF NOT EXISTS sqlstream_staged (owner text, batch text, part int, rows bytea, "
            "PRIMARY KEY (owner, batch, part))",
            # compressed already
            "ALTER TABLE sqlstream_staged ALTER COLUMN rows SET STORAGE EXTERNAL",
            "CREATE TABLE IF NOT EXISTS sqlstream_checkpoints (owner text PRIMARY KEY, checkpoint bigint, at timestamptz)",
        ),
        lock=" FOR UPDATE",
        # A server that says so has them, whatever it was configured to.
        durable="SET LOCAL synchronous_commit = on",
        # of several that make them at once one does
        alone="SELECT pg_advisory_xact_lock(7379616173)::text",
    )
    alike = {
        **dict.fromkeys(("TINYINT", "SMALLINT", "INT", "BIGINT"), _INTEGERS),
        "DECIMAL": ("numeric", *_INTEGERS), "DATE": ("date",), "TIMESTAMP": ("timestamp",), "TIMESTAMP_LTZ": ("timestamptz",),
        "BOOLEAN": ("bool",), "CHAR": _TEXTS, "VARCHAR": _TEXTS,
    }  # fmt: skip
    numbers = (*_INTEGERS, "numeric")
    decimals = ("numeric",)
    lengths = ("varchar", "bpchar")
    ranges = whole_numbers(int2=16, int4=32, int8=64)

    def address(self, parts: Parts, connect_timeout: int, where: str) -> Address:
        if not parts.database:
            raise OptionError(f"{where}: option 'url' names no database", hint="…//host:port/database")
        parameters = dict(parts.parameters)
        if parts.java:
            parameters = _from_java(parameters, where)
        defaults = {
            "client_encoding": "UTF8",  # names and values go through in it, whatever the database has
            "connect_timeout": str(connect_timeout),
            "application_name": "sqlstream",
            # A server that has vanished without a word is missed, and not waited for.
            "keepalives_idle": "30",
            "keepalives_interval": "10",
            "keepalives_count": "3",
            "tcp_user_timeout": "60000",
        }
        parameters.pop("client_encoding", None)
        return Address(parts.kind, parts.hosts, parts.database, parts.user, parts.password, {**defaults, **parameters})

    def connect(self, address: Address, where: str) -> Connection:
        return Connection(address, where)

    def text(self, value: str) -> str:
        return text(value)

    def find_table(self, connection: DbConnection, name: str) -> PostgresTable:
        return find_table(_own(connection), name)

    def has_table(self, connection: DbConnection, name: str) -> bool:
        return bool(connection.rows(f"SELECT to_regclass({text(name)}) IS NOT NULL")[0][0])

    def type_of(self, column: DbColumn) -> Type:
        return type_of(column)

    def reading(self, column: DbColumn, t: Type, where: str) -> Reading:
        return reading(column, t, where)

    def constant(self, e: Literal, t: Type, column: DbColumn) -> str | None:
        if t.kind == "BOOLEAN":
            return "TRUE" if e.value else "FALSE"
        word, _, quoted_part = literal_text(e.value, e.type).partition(" ")  # DATE '…', TIMESTAMP_LTZ '… … UTC'
        if not quoted_part.startswith("'"):
            return None
        return f"{'timestamptz' if word == 'TIMESTAMP_LTZ' else word} {quoted_part}"

    def of_split(self, there: DbTable) -> dict[str, Any]:
        return {"blocks": there.blocks if isinstance(there, PostgresTable) else 0}

    def batches(
        self,
        connection: DbConnection,
        query: Query,
        split: Split,
        position: Any,
        key: tuple[str, ...],
        snapshot: str | None,
    ) -> Placed:
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        if snapshot:
            connection.execute(f"SET TRANSACTION SNAPSHOT {text(snapshot)}")
        there = query.there
        assert isinstance(there, PostgresTable)
        if there.kind in HEAP and there.alone and "from" not in split.info and _by_blocks(connection):
            # what was there when the split was made; or, of a snapshot, at that moment or later
            blocks = there.blocks if snapshot is not None else int(split.info["blocks"])
            return _by_block(connection, query, blocks, position)
        if there.kind in HEAP or there.kind == PARTITIONED:
            return _by_place(connection, query, position)
        # What has no places (a view, a table of another server), by the PRIMARY KEY that is declared.
        names = [f"t.{quoted(there.column(k, query.where).name)}" for k in key]
        return in_order(connection, query, [Ordering(n, f"{n}::text", text) for n in names], position)

    def check_key(self, column: DbColumn, t: Type, where: str) -> None:
        digits = column.type.partition("timestamp(")[2][:1]
        super().check_key(_with_digits(column, int(digits)) if digits else column, t, where)

    def asked(self, columns: Sequence[DbColumn], types: Sequence[Type], keys: Sequence[pa.Array]) -> str | None:
        """The keys go as arrays, made of Arrow's columns outside Python, and are compared with the column as it is there, so that an
        index is of use. Keys that no row can have (a string with NUL, text that is no uuid) are not asked for."""
        possible = pa.array(np.ones(len(keys[0]), np.bool_))
        for k, c in zip(keys, columns, strict=True):
            if pa.types.is_string(k.type):
                possible = pc.and_(possible, pc.invert(pc.match_substring(k, "\0")))
            if c.base == "uuid":
                possible = pc.and_(possible, pc.match_substring_regex(k, _UUID))
        keys = [k.filter(possible) for k in keys]
        if not len(keys[0]):
            return None
        pairs = list(zip(columns, types, keys, strict=True))
        arrays = [f"{text(_array_text(k))}::{_array_type(c, t)}[]" for c, t, k in pairs]
        sides = [_side(c, t) for c, t, _ in pairs]
        if len(pairs) == 1:
            return f"{sides[0]} = ANY ({arrays[0]})"
        names = ", ".join(f"k{i}" for i in range(len(pairs)))
        return f"({', '.join(sides)}) IN (SELECT {names} FROM unnest({', '.join(arrays)}) AS k({names}))"

    def writing(self, column: DbColumn, t: Type, where: str) -> PostgresWriting:
        return writing(column, t, where)

    def target(self, connection: DbConnection, name: str, schema: Schema, key: tuple[str, ...]) -> Target:
        return PostgresTarget(self, _own(connection), name, schema, key)

    def parameter(self, n: int) -> str:
        return f"${n}"


DATABASE = PostgreSQL()


def _own(connection: DbConnection) -> Connection:
    assert isinstance(connection, Connection)
    return connection


def _with_digits(column: DbColumn, digits: int) -> DbColumn:
    return DbColumn(column.name, column.base, column.type, digits, column.not_null, column.given)


def _by_block(connection: DbConnection, query: Query, blocks: int, position: Any) -> Placed:
    """Some blocks of the table a query. Position: the place of the last row, its block and its number there."""
    place = None if position is None else str(position["place"])
    at = 0 if place is None else int(place[1:].partition(",")[0])
    # a query whose filter is narrow may find its rows by an index: they are put in order
    order = " ORDER BY t.ctid" if len(query.conditions) else ""
    while at < blocks:
        end = min((at // BLOCKS + 1) * BLOCKS, blocks)
        begin = f"ctid >= '({at},0)'" if place is None else f"ctid > {text(place)}::tid"
        for found in connection.stream(query.sql((begin, f"ctid < '({end},0)'"), ("ctid::text",), order)):
            places = found.column(found.num_columns - 1)
            yield query.rows(found), lambda n, places=places: {"place": places[n - 1].as_py()}  # type: ignore[misc]
        at, place = end, None


def _by_place(connection: DbConnection, query: Query, position: Any) -> Placed:
    """One query in the order of the rows' places. Position: the place of the last row."""
    more: tuple[str, ...] = ()
    if position is not None:
        part, place = int(position["part"]), str(position["place"])
        more = (f"(tableoid, ctid) > ({part}::oid, {text(place)}::tid)",)
    extra = ("tableoid::int8", "ctid::text")
    for found in connection.stream(query.sql(more, extra, " ORDER BY t.tableoid, t.ctid")):
        parts, places = found.column(found.num_columns - 2), found.column(found.num_columns - 1)
        yield (
            query.rows(found),
            lambda n, parts=parts, places=places: {"part": parts[n - 1].as_py(), "place": places[n - 1].as_py()},  # type: ignore[misc]
        )


def _by_blocks(connection: DbConnection) -> bool:
    """Whether the server reads ranges of blocks, and no others (PostgreSQL 14)."""
    return bool(connection.rows("SELECT current_setting('server_version_num')::int >= 140000")[0][0])


def _side(column: DbColumn, t: Type) -> str:
    """The column as it is compared."""
    name = f"t.{quoted(column.name)}"
    return name if not t.is_string or column.base in (*_TEXTS, "uuid") else f"{name}::text"


def _array_type(column: DbColumn, t: Type) -> str:
    if t.is_string:
        return column.base if column.base in ("uuid", "bpchar") else "text"
    if t.kind == "DECIMAL" and column.base in _INTEGERS:
        return "numeric"
    return _ARRAYS[t.kind]


def _array_text(values: pa.Array) -> str:
    """'{…}' of values none of which is NULL."""
    if pa.types.is_timestamp(values.type):
        values = pc.strftime(values, "%Y-%m-%d %H:%M:%S" + ("+00" if values.type.tz else ""))
    texts = values.cast(pa.string())
    if not pa.types.is_integer(values.type) and not pa.types.is_decimal(values.type):
        for found, instead in (("\\", "\\\\"), ('"', '\\"')):
            texts = pc.replace_substring(texts, found, instead)
        texts = pc.binary_join_element_wise(pa.scalar('"'), texts, pa.scalar('"'), "")
    whole = pa.ListArray.from_arrays(pa.array([0, len(texts)], pa.int32()), texts)
    return "{" + str(pc.binary_join(whole, ",")[0].as_py()) + "}"


def _from_java(given: Mapping[str, str], where: str) -> dict[str, str]:
    """Parameters of PostgreSQL's Java driver as libpq's; those that mean nothing here are refused by name."""
    out: dict[str, str] = {}
    options: list[str] = []
    for key, value in given.items():
        if key == "currentSchema":
            options.append(f"-csearch_path={value.replace(' ', '')}")
        elif key == "ssl":
            if value.lower() in ("", "true"):  # the driver then verifies the host
                out.setdefault("sslmode", "verify-full")
        elif key == "targetServerType" and value in _SERVERS:
            out["target_session_attrs"] = _SERVERS[value]
        elif key == "options":
            options.append(value)
        elif key in _JAVA:
            out[_JAVA[key]] = value
        else:
            known = [*_JAVA, "currentSchema", "ssl", "targetServerType"]
            raise OptionError(
                f"{where}: option 'url': parameter '{key}' means nothing here",
                hint=did_you_mean(key, known, "parameters"),
                subject=key,
            )
    if options:
        out["options"] = " ".join(options)
    return out
