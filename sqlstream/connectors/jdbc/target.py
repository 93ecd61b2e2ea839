"""A table of a database that rows are written to: appended by COPY, or put in the places of those of their keys.

What the columns there do not take as it is (a uuid, jsonb, an enum) goes through a temporary table, as do rows that are known
by a key: COPY into it, and one statement that takes them on. Everything is done in the transaction that is open.
"""

from __future__ import annotations

import json
import re

import pyarrow as pa

from sqlstream.connectors.jdbc.postgres import Connection, quoted
from sqlstream.connectors.jdbc.postgres_table import find_table
from sqlstream.connectors.jdbc.postgres_types import Writing, writing
from sqlstream.errors import DataError, OptionError
from sqlstream.types import Schema

APPEND, UPSERT, DELETE = "append", "upsert", "delete"
Change = tuple[str, pa.RecordBatch]  # one of the above, and its rows (DELETE: keys)
_SHOWN = 500  # characters of a record in a message


class Target:
    """The table `name` for rows with the columns of `schema`, on one connection. `key`: () when rows are appended.

    OptionError where the table is not there, lacks a column or has one of another type, or does not know rows by the key.
    """

    def __init__(self, connection: Connection, name: str, schema: Schema, key: tuple[str, ...]) -> None:
        self._connection, self._where = connection, connection.where
        self.there = there = find_table(connection, name)
        self._writings = {c.name: writing(there.column(c.name, self._where), c.type, self._where) for c in schema}
        if given := next((w.column for w in self._writings.values() if w.column.given), None):
            raise OptionError(
                f"{self._where}: the database makes the values of column {given.name} itself, always",
                hint="leave it out of the table here",
                subject=given.name,
            )
        self._key = [there.column(k, self._where).name for k in key]
        if key and frozenset(self._key) not in there.unique:
            listed = ", ".join(map(quoted, self._key))
            raise OptionError(
                f"{self._where}: its PRIMARY KEY is ({', '.join(key)}), and {there.schema}.{there.name} has no unique index of "
                "these columns",
                hint=f"ALTER TABLE {there.sql} ADD PRIMARY KEY ({listed})",
            )
        self._made = set[str]()

    def apply(self, change: Change) -> None:
        """In the transaction that is open. DataError for values that the table does not take, with the record where it is known."""
        kind, rows = change
        if not rows.num_rows:
            return
        writings = [self._writings[n] for n in rows.schema.names]
        arrays = [w.values(a, self._where) for w, a in zip(writings, rows.columns, strict=True)]
        out = pa.RecordBatch.from_arrays(arrays, names=[w.column.name for w in writings])
        try:
            if kind == APPEND and all(w.sql is None for w in writings):
                self._connection.ingest(self.there.name, self.there.schema, out)
                return
            between = self._between(writings, f"sqlstream_{kind}")
            self._connection.ingest(between, None, out)
            self._connection.execute(self._taking(kind, writings, between))
            self._connection.execute(f"TRUNCATE {quoted(between)}")
        except DataError as e:
            raise self._with_record(e, rows) from e

    def _between(self, writings: list[Writing], name: str) -> str:
        """The temporary table, made if it is the first time."""
        if name not in self._made:
            columns = ", ".join(f"{quoted(w.column.name)} {_declared(w.wire)}" for w in writings)
            self._connection.execute(f"DROP TABLE IF EXISTS pg_temp.{quoted(name)}")
            self._connection.execute(f"CREATE TEMPORARY TABLE {quoted(name)} ({columns})")
            self._made.add(name)
        return name

    def _taking(self, kind: str, writings: list[Writing], between: str) -> str:
        there = self.there.sql
        if kind == DELETE:
            names = [w.column.name for w in writings]
            same = " AND ".join(f"t.{quoted(n)} = k.{w.sql or quoted(n)}" for n, w in zip(names, writings, strict=True))
            return f"DELETE FROM {there} t USING pg_temp.{quoted(between)} k WHERE {same}"
        names = [quoted(w.column.name) for w in writings]
        values = ", ".join(w.sql or n for n, w in zip(names, writings, strict=True))
        insert = f"INSERT INTO {there} ({', '.join(names)}) SELECT {values} FROM pg_temp.{quoted(between)}"
        if kind == APPEND:
            return insert
        key = ", ".join(map(quoted, self._key))
        rest = ", ".join(
            f"{n} = EXCLUDED.{n}" for n, w in zip(names, writings, strict=True) if w.column.name not in self._key
        )
        return f"{insert} ON CONFLICT ({key}) DO {f'UPDATE SET {rest}' if rest else 'NOTHING'}"

    def _with_record(self, e: DataError, rows: pa.RecordBatch) -> DataError:
        """The error with the record that COPY says it is about."""
        line = re.search(r"CONTEXT:\s+COPY \S+, line (\d+)", e.message)
        if line is None or not 0 < int(line[1]) <= rows.num_rows:
            return e
        record = json.dumps(rows.slice(int(line[1]) - 1, 1).to_pylist()[0], default=str, ensure_ascii=False)
        shown = record if len(record) <= _SHOWN else record[:_SHOWN] + "…"
        return DataError(f"{re.sub(r'; CONTEXT:.*', '', e.message)}; in {shown}")


def _declared(wire: str) -> str:
    return f"{wire[1:]}[]" if wire.startswith("_") else wire
