"""DuckDB as a database of connector 'jdbc': files, by the library that the engine stands on. Columns come and go as Arrow's.

All connections of this process to a file share one database in memory; while one is open no other process may open the file, unless all
open it to read alone (?access_mode=read_only).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa

from sqlstream.connectors.jdbc.database import Database, DbConnection, Passing, Placed, Staging, Writing
from sqlstream.connectors.jdbc.keys import in_quotes, joined, rows_of, texts_of
from sqlstream.connectors.jdbc.places import Ordering, in_order
from sqlstream.connectors.jdbc.query import Query
from sqlstream.connectors.jdbc.readings import Reading
from sqlstream.connectors.jdbc.sqlite_database import of_file
from sqlstream.connectors.jdbc.tables import DbColumn, DbTable, meanings, nearest, whole_numbers
from sqlstream.connectors.jdbc.target import APPEND, DELETE, Target
from sqlstream.connectors.jdbc.url import Address, Parts
from sqlstream.contracts import Split
from sqlstream.duck import FAILURES
from sqlstream.errors import Canceled, DataError, InternalError, OptionError, RunError, SqlStreamError, did_you_mean
from sqlstream.expressions import Literal
from sqlstream.functions.failures import plain
from sqlstream.literals import literal_text
from sqlstream.types import (
    BIGINT,
    BOOLEAN,
    BYTES_TYPE,
    DATE,
    DOUBLE,
    FLOAT,
    INT,
    SMALLINT,
    STRING,
    TIME,
    TINYINT,
    Schema,
    Type,
    array,
    decimal,
    timestamp,
    timestamp_ltz,
)

ROWS = 65_536  # of an answer that come at once
_INTEGERS = (
    "TINYINT",
    "SMALLINT",
    "INTEGER",
    "BIGINT",
    "UTINYINT",
    "USMALLINT",
    "UINTEGER",
    "UBIGINT",
    "HUGEINT",
    "UHUGEINT",
)
_FLOATS = ("FLOAT", "DOUBLE")
_TIMESTAMPS = ("TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS")
_ZONED = ("TIMESTAMP WITH TIME ZONE",)
_NUMBERS = (*_INTEGERS, *_FLOATS, "DECIMAL")
# By the kind of a type here: columns that a cast makes such of; what does not fit is its error. Strings are made of anything.
_READ = {
    "BOOLEAN": ("BOOLEAN",), "TINYINT": _INTEGERS, "SMALLINT": _INTEGERS, "INT": _INTEGERS, "BIGINT": _INTEGERS,
    "FLOAT": _NUMBERS, "DOUBLE": _NUMBERS, "DECIMAL": (*_INTEGERS, "DECIMAL"), "DATE": ("DATE",), "TIME": ("TIME",),
    "TIMESTAMP": _TIMESTAMPS, "TIMESTAMP_LTZ": _ZONED, "BINARY": ("BLOB",), "VARBINARY": ("BLOB",),
}  # fmt: skip
_OF_THERE = {
    "BOOLEAN": BOOLEAN, "TINYINT": TINYINT, "SMALLINT": SMALLINT, "INTEGER": INT, "BIGINT": BIGINT, "UTINYINT": SMALLINT,
    "USMALLINT": INT, "UINTEGER": BIGINT, "UBIGINT": decimal(20, 0), "HUGEINT": decimal(38, 0), "FLOAT": FLOAT, "DOUBLE": DOUBLE,
    "BLOB": BYTES_TYPE, "DATE": DATE, "TIME": TIME, **dict.fromkeys(_TIMESTAMPS, timestamp(6)), _ZONED[0]: timestamp_ltz(6),
}  # fmt: skip
_LOCKED = "Could not set lock on file"


class Connection(DbConnection):
    """One session with the file at `address.database`, which is there. Parameters: ?"""

    def __init__(self, address: Address, where: str) -> None:
        self.where, self._path = where, address.database
        if not os.path.exists(self._path):
            raise OptionError(
                f"{where}: option 'url': there is no file {self._path}",
                hint="duckdb makes one with its tables",
                subject="url",
            )
        with self._told():
            self._connection = duckdb.connect(
                self._path, read_only=address.parameters["access_mode"].lower() == "read_only"
            )
            self._connection.execute("SET TimeZone = 'UTC'")
            if "schema" in address.parameters:
                self._connection.execute(f"USE {_quoted(address.parameters['schema'])}")

    def execute(self, sql: str, parameters: tuple[Any, ...] = ()) -> None:
        with self._told():
            self._connection.execute(sql, parameters or None).fetchall()

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with self._told():
            found: list[tuple[Any, ...]] = self._connection.execute(sql).fetchall()
            return found

    def stream(self, sql: str, readings: Sequence[Reading] = ()) -> Iterator[pa.RecordBatch]:
        with self._told(), self._connection.sql(sql).to_arrow_reader(ROWS) as found:
            yield from found

    def taking(self, rows: pa.RecordBatch, sql: str) -> None:
        """A statement over `rows`, which are called sqlstream_rows."""
        with self._told():
            self._connection.register("sqlstream_rows", rows)
            try:
                self._connection.execute(sql).fetchall()
            finally:
                with suppress(duckdb.Error):  # a transaction that has failed takes nothing but its end
                    self._connection.unregister("sqlstream_rows")

    def cancel(self) -> None:
        with suppress(Exception):
            self._connection.interrupt()

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            with suppress(duckdb.Error):
                self._connection.close()

    @contextmanager
    def _told(self) -> Iterator[None]:
        if self.closed:
            raise InternalError("a connection that is closed")
        try:
            yield
        except (*FAILURES, pa.ArrowInvalid, OSError) as e:
            told = self._translated(e)
            raise told from (ConnectionError(str(e)) if told.transient else e)

    def _translated(self, e: Exception) -> SqlStreamError:
        said = plain(str(e)) or type(e).__name__
        told = f"{self.where}: {said}"
        if isinstance(e, duckdb.InterruptException):
            return Canceled("the query was canceled")
        if _LOCKED in str(e):
            return Passing(
                f"{self.where}: {self._path} is open in another process: {said}",
                hint="DuckDB lets one process write, or several read: ?access_mode=read_only in 'url', for all who only read",
            )
        if "with a different configuration" in str(e):
            return OptionError(
                f"{self.where}: {self._path} is open in this process already, and not in the same way",
                hint="?access_mode=read_only in 'url' of all tables of the file, or of none",
                subject="url",
            )
        if isinstance(e, duckdb.TransactionException):
            return Passing(told)  # two have changed a row at a time
        if isinstance(e, (duckdb.CatalogException, duckdb.BinderException, duckdb.ParserException)):
            return OptionError(told)
        if isinstance(e, (duckdb.IOException, duckdb.OutOfMemoryException, OSError)):
            return RunError(told)
        return DataError(told)


@dataclass(frozen=True)
class DuckWriting:
    """Columns go as they are; DuckDB assigns one type to the other, and what does not fit is its error."""

    column: DbColumn

    def values(self, rows: pa.Array, where: str) -> pa.Array:
        """As they are."""
        return rows


class DuckTarget(Target):
    """By one connection."""

    def __init__(
        self, database: Database, connection: Connection, name: str, schema: Schema, key: tuple[str, ...]
    ) -> None:
        super().__init__(database, connection, name, schema, key)
        self._connection = connection

    def take(self, kind: str, writings: Sequence[Writing], rows: pa.RecordBatch) -> None:
        names = [_quoted(w.column.name) for w in writings]
        plain_rows = rows.rename_columns([f"r{i}" for i in range(len(names))])  # whatever stands in names
        if kind == DELETE:
            same = " AND ".join(f"t.{n} = k.r{i}" for i, n in enumerate(names))
            self._connection.taking(plain_rows, f"DELETE FROM {self.there.sql} t USING sqlstream_rows k WHERE {same}")
            return
        insert = f"INSERT INTO {self.there.sql} ({', '.join(names)}) SELECT * FROM sqlstream_rows"
        if kind != APPEND:
            key = [_quoted(k) for k in self._key]
            rest = ", ".join(f"{n} = EXCLUDED.{n}" for n in names if n not in key)
            insert += f" ON CONFLICT ({', '.join(key)}) DO {f'UPDATE SET {rest}' if rest else 'NOTHING'}"
        self._connection.taking(plain_rows, insert)


class DuckDB(Database):
    """The version that the engine has."""

    kind = "duckdb"
    drivers = ("org.duckdb.DuckDBDriver",)
    staging = Staging(
        (
            "CREATE TABLE IF NOT EXISTS sqlstream_staged (owner VARCHAR, batch VARCHAR, part INTEGER, rows BLOB, "
            "PRIMARY KEY (owner, batch, part))",
            'CREATE TABLE IF NOT EXISTS sqlstream_checkpoints (owner VARCHAR PRIMARY KEY, checkpoint BIGINT, "at" TIMESTAMPTZ)',
        )
    )
    alike = {
        **dict.fromkeys(("TINYINT", "SMALLINT", "INT", "BIGINT"), _INTEGERS), "DECIMAL": (*_INTEGERS, "DECIMAL"),
        "DATE": ("DATE",), "TIMESTAMP": ("TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS"), "TIMESTAMP_LTZ": _ZONED, "BOOLEAN": ("BOOLEAN",),
        "CHAR": ("VARCHAR",), "VARCHAR": ("VARCHAR",),
    }  # fmt: skip
    numbers = _NUMBERS
    decimals = ("DECIMAL",)
    ranges = whole_numbers(
        TINYINT=8, SMALLINT=16, INTEGER=32, BIGINT=64, UTINYINT=-8, USMALLINT=-16, UINTEGER=-32, UBIGINT=-64
    )

    def address(self, parts: Parts, connect_timeout: int, where: str) -> Address:
        parameters = dict(parts.parameters)
        if parts.java and "duckdb.read_only" in parameters:  # of Java's driver
            read_only = parameters.pop("duckdb.read_only").lower() == "true"
            parameters["access_mode"] = "read_only" if read_only else "read_write"
        mode = parameters.get("access_mode", "automatic").lower()
        if mode not in ("automatic", "read_only", "read_write"):
            raise OptionError(f"{where}: option 'url': access_mode is read_only or read_write, and not '{mode}'")
        given = Parts(
            parts.kind, parts.java, "", "", parts.path, parts.directory, parts.user, parts.password, parameters
        )
        return of_file(given, where, ("access_mode", "schema"), {"access_mode": "automatic"})

    def connect(self, address: Address, where: str) -> Connection:
        return Connection(address, where)

    def find_table(self, connection: DbConnection, name: str) -> DbTable:
        mine = "database_name = current_database() AND NOT internal"
        there = connection.rows(
            f"SELECT schema_name, table_name FROM duckdb_tables() WHERE {mine} "
            f"UNION ALL SELECT schema_name, view_name FROM duckdb_views() WHERE {mine}"
        )
        ((current,),) = connection.rows("SELECT current_schema()")
        found = None
        for schema, meant in meanings(name):
            if found is None:
                in_schema = nearest(schema or current, sorted({s for s, _ in there}), connection.where)
                table = nearest(meant, [t for s, t in there if s == in_schema], connection.where)
                found = None if table is None else (in_schema, table)
        if found is None:
            names = [t if s == current else f"{s}.{t}" for s, t in there]
            raise OptionError(
                f"{connection.where}: the database has no table '{name}'",
                hint=did_you_mean(name, names, "tables"),
                subject=name,
            )
        schema, table = str(found[0]), str(found[1])
        of = f"database_name = current_database() AND schema_name = {self.text(schema)} AND table_name = {self.text(table)}"
        columns = connection.rows(
            f"SELECT column_name, data_type, NOT is_nullable, is_generated FROM duckdb_columns() WHERE {of} "
            "ORDER BY column_index"
        )
        by_name = {n: _column(n, t, not_null, given) for n, t, not_null, given in columns}
        sets = connection.rows(
            f"SELECT constraint_type, constraint_column_names FROM duckdb_constraints() WHERE {of} "
            "AND constraint_type IN ('PRIMARY KEY', 'UNIQUE')"
        )
        indexes = connection.rows(f"SELECT expressions FROM duckdb_indexes() WHERE {of} AND is_unique")
        unique = [frozenset(c) for _, c in sets]
        unique += [frozenset(p.strip().strip('"') for p in e.strip("[]").split(",")) for (e,) in indexes]
        key = next((tuple(c) for kind, c in sets if kind == "PRIMARY KEY"), ())
        return DbTable(schema, table, f"{_quoted(schema)}.{_quoted(table)}", by_name, tuple(unique), key)

    def has_table(self, connection: DbConnection, name: str) -> bool:
        where = (
            f"database_name = current_database() AND schema_name = current_schema() AND table_name = {self.text(name)}"
        )
        return bool(connection.rows(f"SELECT 1 FROM duckdb_tables() WHERE {where}"))

    def type_of(self, column: DbColumn) -> Type:
        if column.type.endswith("[]"):
            return array(self.type_of(_column(column.name, column.type[:-2])))
        if column.base == "DECIMAL":
            digits = column.type.partition("(")[2].partition(",")[0]
            return decimal(int(digits), column.scale or 0)
        return _OF_THERE.get(column.base, STRING)

    def reading(self, column: DbColumn, t: Type, where: str) -> Reading:
        told = f"{where}: column {column.name} ({column.type})"
        element = _column(column.name, column.type[:-2]) if column.type.endswith("[]") else None
        listed = t.kind == "ARRAY" and element is not None and self._reads(element, t.element)
        if listed or self._reads(column, t):
            return Reading(f"CAST({_quoted(column.name)} AS {t.duckdb()})", t, told)
        raise OptionError(
            f"{told} is no {t.null()}",
            hint=f"declare it {self.type_of(column)}; STRING reads anything",
            subject=column.name,
        )

    def _reads(self, column: DbColumn, t: Type) -> bool:
        return t.is_string or column.base in _READ.get(t.kind, ())

    def constant(self, e: Literal, t: Type, column: DbColumn) -> str | None:
        if t.kind == "BOOLEAN":
            return "TRUE" if e.value else "FALSE"
        word, _, quoted_part = literal_text(e.value, e.type).partition(" ")
        if not quoted_part.startswith("'"):
            return None
        return f"{'TIMESTAMPTZ' if word == 'TIMESTAMP_LTZ' else word} {quoted_part}"

    def batches(
        self,
        connection: DbConnection,
        query: Query,
        split: Split,
        position: Any,
        key: tuple[str, ...],
        snapshot: str | None,
    ) -> Placed:
        """By the primary key; without one by the rows' numbers, in whose order DuckDB gives them."""
        there = query.there
        connection.execute("SET preserve_insertion_order = true")
        connection.execute("BEGIN")
        names = there.key or tuple(there.column(k, query.where).name for k in key)
        if names or not _has_numbers(connection, there):
            by = [Ordering(f"t.{_quoted(n)}", f"CAST(t.{_quoted(n)} AS VARCHAR)", self.text) for n in names]
            return in_order(connection, query, by, position)
        number = Ordering("t.rowid", "t.rowid", lambda v: str(int(v)))
        return in_order(connection, query, [number], position, sorts=False)

    def asked(self, columns: Sequence[DbColumn], types: Sequence[Type], keys: Sequence[pa.Array]) -> str | None:
        constants = [in_quotes(texts_of(k)) for k in keys]
        names = ", ".join(f"k{i}" for i in range(len(keys)))
        typed = ", ".join(f"CAST(k{i} AS {t.duckdb()})" for i, t in enumerate(types))
        sides = [
            f"CAST(t.{_quoted(c.name)} AS VARCHAR)" if t.is_string and c.base != "VARCHAR" else f"t.{_quoted(c.name)}"
            for c, t in zip(columns, types, strict=True)
        ]
        side = sides[0] if len(sides) == 1 else f"({', '.join(sides)})"
        return f"{side} IN (SELECT {typed} FROM (VALUES {joined(rows_of(constants))}) k({names}))"

    def writing(self, column: DbColumn, t: Type, where: str) -> Writing:
        scalar = t.element if t.kind == "ARRAY" else t
        base = column.type.removesuffix("[]").partition("(")[0] if t.kind == "ARRAY" else column.base
        if scalar.kind not in (*_READ, "CHAR", "VARCHAR"):
            raise OptionError(
                f"{where}: column {column.name}: {t.null()} cannot be written to a database",
                hint="JSON_STRING(…) makes a string of it, which a JSON column takes",
                subject=column.name,
            )
        numbers = scalar.is_numeric and base in _NUMBERS
        times = scalar.kind in ("DATE", "TIMESTAMP") and base in ("DATE", *_TIMESTAMPS)
        same = base in _READ.get(scalar.kind, ()) and (t.kind == "ARRAY") == column.type.endswith("[]")
        if numbers or times or same or scalar.is_string or base == "VARCHAR":
            return DuckWriting(column)
        raise OptionError(
            f"{where}: {t.null()} cannot be written to column {column.name}, which is {column.type} in the database",
            hint=f"declare it {self.type_of(column)}, and CAST in the query",
            subject=column.name,
        )

    def target(self, connection: DbConnection, name: str, schema: Schema, key: tuple[str, ...]) -> Target:
        assert isinstance(connection, Connection)
        return DuckTarget(self, connection, name, schema, key)


DATABASE = DuckDB()


def _quoted(name: str) -> str:
    return DATABASE.quoted(name)


def _column(name: str, declared: str, not_null: bool = False, given: bool = False) -> DbColumn:
    base = declared if declared.endswith("[]") else declared.partition("(")[0]
    scale = int(declared.partition(",")[2].strip(" )")) if base == "DECIMAL" else None
    return DbColumn(name, base, declared, {"TIMESTAMP_S": 0, "TIMESTAMP_MS": 3}.get(base, scale), not_null, given)


def _has_numbers(connection: DbConnection, there: DbTable) -> bool:
    """Whether it is a table and no view; one with a column of its own that is called rowid counts as such."""
    if any(c.lower() == "rowid" for c in there.columns):
        return False
    of = f"database_name = current_database() AND schema_name = '{there.schema.replace(chr(39), chr(39) * 2)}'"
    return bool(
        connection.rows(
            f"SELECT 1 FROM duckdb_tables() WHERE {of} AND table_name = '{there.name.replace(chr(39), chr(39) * 2)}'"
        )
    )
