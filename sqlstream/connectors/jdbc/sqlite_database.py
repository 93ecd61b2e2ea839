"""SQLite as a database of connector 'jdbc': files, by Python's own module (`sqlite.py`).

A column's declared type says what it should hold, and SQLite lets it hold anything: what is read is looked at value by value. Dates,
times and decimals are texts there.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sqlstream.connectors.jdbc.database import Database, DbConnection, Placed, Staging, Writing
from sqlstream.connectors.jdbc.keys import in_quotes, joined, rows_of, texts_of
from sqlstream.connectors.jdbc.places import Ordering, in_order, without_places
from sqlstream.connectors.jdbc.query import Query
from sqlstream.connectors.jdbc.readings import Reading
from sqlstream.connectors.jdbc.sqlite import Connection
from sqlstream.connectors.jdbc.tables import DbColumn, DbTable, meanings, nearest
from sqlstream.connectors.jdbc.target import APPEND, DELETE, Target
from sqlstream.connectors.jdbc.texts import of_texts
from sqlstream.connectors.jdbc.url import Address, Parts
from sqlstream.contracts import Split
from sqlstream.errors import DataError, OptionError, SqlStreamError, did_you_mean
from sqlstream.expressions import Literal
from sqlstream.types import (
    BIGINT,
    BOOLEAN,
    BYTES_TYPE,
    DATE,
    DOUBLE,
    STRING,
    TIME,
    Schema,
    Type,
    decimal,
    timestamp,
)

BLOCK = 20_000  # rows a statement, between which others may write
# What a declared type has in it, by which its family is known: SQLite's own rules, and those of dates before.
_FAMILIES = (
    ("BOOL", "boolean"), ("DATETIME", "datetime"), ("TIMESTAMP", "datetime"), ("DATE", "date"), ("TIME", "time"),
    ("INT", "integer"), ("CHAR", "text"), ("CLOB", "text"), ("TEXT", "text"), ("BLOB", "blob"), ("REAL", "real"),
    ("FLOA", "real"), ("DOUB", "real"), ("JSON", "text"), ("UUID", "text"),
)  # fmt: skip
_TYPES = {
    "boolean": BOOLEAN, "datetime": timestamp(6), "date": DATE, "time": TIME, "integer": BIGINT, "text": STRING,
    "blob": BYTES_TYPE, "real": DOUBLE,
}  # fmt: skip
# How values come from Python's module, by the kind of a type here.
_WIRES = {
    **dict.fromkeys(("BOOLEAN", "TINYINT", "SMALLINT", "INT", "BIGINT"), pa.int64()),
    **dict.fromkeys(("FLOAT", "DOUBLE"), pa.float64()),
    **dict.fromkeys(("CHAR", "VARCHAR", "DECIMAL", "DATE", "TIME", "TIMESTAMP", "TIMESTAMP_LTZ"), pa.string()),
    **dict.fromkeys(("BINARY", "VARBINARY"), pa.binary()),
}  # fmt: skip
# Parameters, and what they may be, whatever its case: SQLite itself lets through what it does not know.
_SWITCH = "on|off|true|false|yes|no|1|0"
_PARAMETERS = {
    "busy_timeout": r"\d{1,9}", "journal_mode": "delete|truncate|persist|memory|wal|off", "synchronous": "off|normal|full|extra|[0-3]",
    "foreign_keys": _SWITCH, "mode": "ro|rw",
}  # fmt: skip
_INTEGERS = ("integer", "boolean", "numeric")


@dataclass(frozen=True)
class SqliteTable(DbTable):
    """`rowid`: a name for the numbers of its rows; "": it has none."""

    rowid: str


@dataclass(frozen=True)
class SqliteReading(Reading):
    """Of Python's values, or of texts."""

    def values(self, found: pa.Array) -> pa.Array:
        t = self.type
        if t.kind == "BOOLEAN":
            return pc.not_equal(found, 0)
        return super().values(of_texts(found, t, self.where) if pa.types.is_string(found.type) else found)


@dataclass(frozen=True)
class SqliteWriting:
    """Values as SQLite keeps them: numbers, texts and bytes."""

    column: DbColumn
    type: Type

    def values(self, rows: pa.Array, where: str) -> pa.Array:
        """DataError for NaN, of which SQLite would make NULL."""
        kind = self.type.kind
        if kind in ("FLOAT", "DOUBLE") and pc.any(pc.is_nan(rows)).as_py():
            raise DataError(f"{where}: column {self.column.name}: SQLite has no NaN, and would make NULL of it")
        if kind == "BOOLEAN":
            return rows.cast(pa.int8())
        return rows.cast(pa.string()) if kind in ("DECIMAL", "DATE", "TIME", "TIMESTAMP", "TIMESTAMP_LTZ") else rows


class SqliteTarget(Target):
    """By one connection."""

    def __init__(
        self, database: Database, connection: Connection, name: str, schema: Schema, key: tuple[str, ...]
    ) -> None:
        super().__init__(database, connection, name, schema, key)
        self._connection = connection

    def take(self, kind: str, writings: Sequence[Writing], rows: pa.RecordBatch) -> None:
        quoted = self._database.quoted
        names = [w.column.name for w in writings]
        self._connection.failed = None
        columns = [c.to_pylist() for c in rows.columns]
        if kind == DELETE:
            same = " AND ".join(f"{quoted(n)} = ?" for n in names)
            self._connection.many(f"DELETE FROM {self.there.sql} WHERE {same}", columns)
            return
        listed, values = ", ".join(map(quoted, names)), ", ".join("?" * len(names))
        insert = f"INSERT INTO {self.there.sql} ({listed}) VALUES ({values})"
        if kind != APPEND:
            rest = ", ".join(f"{quoted(n)} = excluded.{quoted(n)}" for n in names if n not in self._key)
            key = ", ".join(map(quoted, self._key))
            insert += f" ON CONFLICT ({key}) DO {f'UPDATE SET {rest}' if rest else 'NOTHING'}"
        self._connection.many(insert, columns)

    def failed(self, e: DataError) -> int | None:
        return self._connection.failed


class Sqlite(Database):
    """3.31 and later."""

    kind = "sqlite"
    drivers = ("org.sqlite.JDBC",)
    staging = Staging(
        (
            "CREATE TABLE IF NOT EXISTS sqlstream_staged (owner TEXT, batch TEXT, part INTEGER, rows BLOB, "
            "PRIMARY KEY (owner, batch, part)) WITHOUT ROWID",
            "CREATE TABLE IF NOT EXISTS sqlstream_checkpoints (owner TEXT PRIMARY KEY, checkpoint INTEGER, at TEXT)",
        )
    )
    alike = {
        **dict.fromkeys(("TINYINT", "SMALLINT", "INT", "BIGINT"), ("integer",)),
        **dict.fromkeys(("CHAR", "VARCHAR"), ("text",)),
    }  # fmt: skip
    numbers = ("integer", "numeric", "real")

    def address(self, parts: Parts, connect_timeout: int, where: str) -> Address:
        found = of_file(parts, where, tuple(_PARAMETERS), {"busy_timeout": "5000"})
        for key, value in parts.parameters.items():
            if re.fullmatch(_PARAMETERS[key], value, re.I | re.A) is None:
                may = "a number of milliseconds" if key == "busy_timeout" else _PARAMETERS[key].replace("|", ", ")
                raise OptionError(f"{where}: option 'url': {key} is {may}, and not '{value}'", subject=key)
        return found

    def connect(self, address: Address, where: str) -> Connection:
        return Connection(address, where)

    def find_table(self, connection: DbConnection, name: str) -> SqliteTable:
        found = connection.rows("SELECT name, type FROM sqlite_schema WHERE type IN ('table', 'view')")
        kinds = dict(found)
        table = None
        for schema, meant in meanings(name):
            if table is None and schema in (None, "main"):
                table = nearest(meant, [*kinds], connection.where)
        if table is None:
            names = [n for n in kinds if not n.startswith("sqlite_")]
            raise OptionError(
                f"{connection.where}: the database has no table '{name}'",
                hint=did_you_mean(name, names, "tables"),
                subject=name,
            )
        said = self.text(table)
        listed = connection.rows(
            f'SELECT name, type, "notnull", pk, hidden FROM pragma_table_xinfo({said}) WHERE hidden <> 1'
        )
        columns = {n: _column(n, t, bool(not_null), hidden > 1) for n, t, not_null, _, hidden in listed}
        key = tuple(n for _, n in sorted((pk, n) for n, _, _, pk, _ in listed if pk))
        unique = [frozenset(key)] if key else []
        for index, parts in connection.rows(f'SELECT name, partial FROM pragma_index_list({said}) WHERE "unique"'):
            of = [n for (n,) in connection.rows(f"SELECT name FROM pragma_index_info({self.text(index)})")]
            if not parts and None not in of:  # no expressions
                unique.append(frozenset(of))
        rowid = "" if kinds[table] == "view" else self._rowid(connection, table, columns)
        return SqliteTable("main", table, self.quoted(table), columns, tuple(unique), key, rowid)

    def _rowid(self, connection: DbConnection, table: str, columns: dict[str, DbColumn]) -> str:
        taken = {n.lower() for n in columns}
        for name in ("rowid", "_rowid_", "oid"):
            if name not in taken:
                try:
                    connection.rows(f"SELECT {name} FROM {self.quoted(table)} LIMIT 0")
                except SqlStreamError:  # WITHOUT ROWID
                    return ""
                return name
        return ""

    def has_table(self, connection: DbConnection, name: str) -> bool:
        return bool(connection.rows(f"SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = {self.text(name)}"))

    def type_of(self, column: DbColumn) -> Type:
        if column.base == "numeric":
            digits = re.search(r"\(\s*(\d+)\s*(?:,\s*(\d+)\s*)?\)", column.type)
            fits = digits is not None and 0 < int(digits[1]) <= 38 and int(digits[2] or 0) <= int(digits[1])
            return decimal(int(digits[1]), int(digits[2] or 0)) if digits and fits else decimal(38, 18)
        return _TYPES[column.base]

    def reading(self, column: DbColumn, t: Type, where: str) -> Reading:
        name, told = self.quoted(column.name), f"{where}: column {column.name} ({column.type or 'any'})"
        if t.kind not in _WIRES:
            raise OptionError(
                f"{told} is no {t.null()}", hint=f"declare it {self.type_of(column)}", subject=column.name
            )
        as_text = t.kind == "DECIMAL" or t.is_string and column.base != "text"
        return SqliteReading(f"CAST({name} AS TEXT)" if as_text else name, t, told, _WIRES[t.kind])

    def constant(self, e: Literal, t: Type, column: DbColumn) -> str | None:
        return None  # dates and times are texts, of more than one form

    def batches(
        self,
        connection: DbConnection,
        query: Query,
        split: Split,
        position: Any,
        key: tuple[str, ...],
        snapshot: str | None,
    ) -> Placed:
        """By blocks, between which others may write: a table is of no one moment."""
        there = query.there
        assert isinstance(there, SqliteTable)
        if there.rowid:
            name = f"t.{there.rowid}"
            return in_order(connection, query, [Ordering(name, name, lambda v: str(int(v)))], position, BLOCK)
        names = [self.quoted(there.column(k, query.where).name) for k in there.key or key]
        by = [Ordering(f"t.{n}", f"quote(t.{n})", str) for n in names]
        return in_order(connection, query, by, position, BLOCK)

    def all_rows(self, connection: DbConnection, query: Query) -> Any:
        return without_places(self.batches(connection, query, Split(""), None, (), None))

    def check_key(self, column: DbColumn, t: Type, where: str) -> None:
        if t.is_integer or t.is_string:
            return
        raise OptionError(
            f"{where}: column {column.name} ({column.type or 'any'}), as {t.null()}, is no key that its rows can be asked for by: one "
            "value may be there in more than one form",
            hint="'lookup.cache' = 'FULL' reads the table whole",
            subject=column.name,
        )

    def asked(self, columns: Sequence[DbColumn], types: Sequence[Type], keys: Sequence[pa.Array]) -> str | None:
        possible = None
        for k in keys:
            if pa.types.is_string(k.type):
                whole = pc.invert(pc.match_substring(k, "\0"))
                possible = whole if possible is None else pc.and_(possible, whole)
        keys = keys if possible is None else [k.filter(possible) for k in keys]
        if not len(keys[0]):
            return None
        constants = [in_quotes(k) if pa.types.is_string(k.type) else texts_of(k) for k in keys]
        sides = [
            f"CAST(t.{self.quoted(c.name)} AS TEXT)"
            if t.is_string and c.base not in ("text", "blob")
            else f"t.{self.quoted(c.name)}"
            for c, t in zip(columns, types, strict=True)
        ]
        if len(keys) == 1:
            return f"{sides[0]} IN ({joined(constants[0])})"
        return f"({', '.join(sides)}) IN (VALUES {joined(rows_of(constants))})"

    def writing(self, column: DbColumn, t: Type, where: str) -> Writing:
        if t.kind not in _WIRES:
            raise OptionError(
                f"{where}: column {column.name}: {t.null()} cannot be written to a database",
                hint="JSON_STRING(…) makes a string of it",
                subject=column.name,
            )
        return SqliteWriting(column, t)

    def target(self, connection: DbConnection, name: str, schema: Schema, key: tuple[str, ...]) -> Target:
        assert isinstance(connection, Connection)
        return SqliteTarget(self, connection, name, schema, key)


DATABASE = Sqlite()


def of_file(parts: Parts, where: str, known: Sequence[str], defaults: dict[str, str]) -> Address:
    """The address of a database that is a file. OptionError for one in memory, a user, or parameters that mean nothing."""
    path = parts.path
    if path.startswith("//"):
        path = "/" + path.lstrip("/")
    if path.removeprefix("file:") in ("", ":memory:"):
        raise OptionError(
            f"{where}: option 'url' names no file: a database in memory ends with its connection",
            hint=f"jdbc:{parts.kind}:path/of/the/file",
            subject="url",
        )
    if parts.user is not None or parts.password is not None:
        raise OptionError(
            f"{where}: option 'username': {parts.kind} has files, and no users", hint="leave it out", subject="username"
        )
    for key in parts.parameters:
        if key not in known:
            raise OptionError(
                f"{where}: option 'url': parameter '{key}' means nothing here",
                hint=did_you_mean(key, known, "parameters"),
                subject=key,
            )
    full = os.path.realpath(os.path.join(parts.directory, path.removeprefix("file:")))
    return Address(parts.kind, "", full, None, None, {**defaults, **parts.parameters})


def _column(name: str, declared: str, not_null: bool, given: bool) -> DbColumn:
    upper = declared.upper()
    base = next((family for word, family in _FAMILIES if word in upper), "blob" if not declared else "numeric")
    return DbColumn(name, base, declared, None, not_null, given)
