"""A table of PostgreSQL that rows are written to: appended by COPY, or put in the places of those of their keys.

What the columns there do not take as it is (a uuid, jsonb, an enum) goes through a temporary table, as do rows that are known
by a key: COPY into it, and one statement that takes them on. Everything is done in the transaction that is open.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import pyarrow as pa

from sqlstream.connectors.jdbc.database import Database, Writing
from sqlstream.connectors.jdbc.postgres import Connection, quoted
from sqlstream.connectors.jdbc.postgres_types import PostgresWriting
from sqlstream.connectors.jdbc.target import APPEND, DELETE, Target
from sqlstream.errors import DataError
from sqlstream.types import Schema


class PostgresTarget(Target):
    """By one connection."""

    def __init__(
        self, database: Database, connection: Connection, name: str, schema: Schema, key: tuple[str, ...]
    ) -> None:
        super().__init__(database, connection, name, schema, key)
        self._connection = connection
        self._made = set[str]()

    def take(self, kind: str, writings: Sequence[Writing], rows: pa.RecordBatch) -> None:
        ours = [w for w in writings if isinstance(w, PostgresWriting)]
        if kind == APPEND and all(w.sql is None for w in ours):
            self._connection.ingest(self.there.name, self.there.schema, rows)
            return
        between = self._between(ours, f"sqlstream_{kind}")
        self._connection.ingest(between, None, rows)
        self._connection.execute(self._taking(kind, ours, between))
        self._connection.execute(f"TRUNCATE {quoted(between)}")

    def _between(self, writings: list[PostgresWriting], name: str) -> str:
        """The temporary table, made if it is the first time."""
        if name not in self._made:
            columns = ", ".join(f"{quoted(w.column.name)} {_declared(w.wire)}" for w in writings)
            self._connection.execute(f"DROP TABLE IF EXISTS pg_temp.{quoted(name)}")
            self._connection.execute(f"CREATE TEMPORARY TABLE {quoted(name)} ({columns})")
            self._made.add(name)
        return name

    def _taking(self, kind: str, writings: list[PostgresWriting], between: str) -> str:
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

    def failed(self, e: DataError) -> int | None:
        line = re.search(r"CONTEXT:\s+COPY \S+, line (\d+)", e.message)
        return None if line is None else int(line[1]) - 1

    def told(self, e: DataError) -> str:
        return re.sub(r"; CONTEXT:.*", "", e.message)


def _declared(wire: str) -> str:
    return f"{wire[1:]}[]" if wire.startswith("_") else wire
