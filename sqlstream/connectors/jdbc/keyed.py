"""Rows of a database's table by keys, for lookup joins: one query for all keys that an epoch wants.

How keys are written in it, and which no row can have, is the database's (`Database.asked`).
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import pyarrow as pa

from sqlstream.connectors.jdbc.database import Database, DbConnection, Disconnected, Passing
from sqlstream.connectors.jdbc.query import Query
from sqlstream.connectors.jdbc.scan import JdbcSource
from sqlstream.connectors.jdbc.tables import DbColumn
from sqlstream.contracts import KeyedReader, ScanRequest
from sqlstream.types import Type

KEYS_A_QUERY = 20_000
LONGEST_REST = 10.0  # seconds between two tries


class JdbcKeyedReader(KeyedReader):
    """`retries`: of a query that failed for a reason that may pass."""

    def __init__(self, source: JdbcSource, request: ScanRequest, keys: tuple[int, ...], retries: int) -> None:
        self._source, self._request, self._keys, self._retries = source, request, keys, retries
        self._connection: DbConnection | None = None
        self._asked: Asked | None = None

    def rows(self, keys: Sequence[pa.Array]) -> pa.RecordBatch:
        found: list[pa.RecordBatch] = []
        for at in range(0, len(keys[0]), KEYS_A_QUERY):
            found += self._repeated([k.slice(at, KEYS_A_QUERY) for k in keys])
        if not found:
            schema = self._request.arrow_schema()
            return pa.RecordBatch.from_arrays([pa.array([], f.type) for f in schema], schema=schema)
        return found[0] if len(found) == 1 else pa.concat_batches(found)

    def _repeated(self, keys: list[pa.Array]) -> list[pa.RecordBatch]:
        attempt = 0
        while True:
            try:
                return self._found(keys)
            except (Disconnected, Passing):
                self.close()
                if attempt == self._retries:
                    raise
                time.sleep(min(2.0**attempt, LONGEST_REST))
                attempt += 1

    def _found(self, keys: list[pa.Array]) -> list[pa.RecordBatch]:
        if self._connection is None:
            self._connection = self._source.connect()
            self._asked = None
        if self._asked is None:
            self._asked = Asked.of(self._source, self._connection, self._request, self._keys)
        query, sql = self._asked.query, self._asked.sql(keys)
        if sql is None:
            return []
        return [query.rows(b) for b in self._connection.stream(sql, query.readings) if b.num_rows]

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class Asked:
    """The statement, but for the keys."""

    def __init__(self, database: Database, query: Query, columns: list[DbColumn], types: list[Type]) -> None:
        self._database, self.query, self._columns, self._types = database, query, columns, types

    @staticmethod
    def of(source: JdbcSource, connection: DbConnection, request: ScanRequest, keys: tuple[int, ...]) -> Asked:
        """Looks the table up. OptionError where it is not what it is declared to be, or cannot be asked by such keys."""
        query = Query.of(source.database, connection, source.name, request, source.where)
        for k in keys:
            source.database.check_key(query.columns[k], request.columns[k].type, source.where)
        columns, types = [query.columns[k] for k in keys], [request.columns[k].type for k in keys]
        return Asked(source.database, query, columns, types)

    def sql(self, keys: list[pa.Array]) -> str | None:
        """None: no row can have any of these keys."""
        wanted = self._database.asked(self._columns, self._types, keys)
        return None if wanted is None else self.query.sql((wanted,))
