"""A table of a database as a bounded source: one split, or as many ranges of a column as the options say.

A reader's rows come in the order in which the table holds them, so that a position, the place of the last row, is all that
going on needs. What changes in the table meanwhile may be read twice or not at all then, as in any scan of a database
that begins anew; within one reader's life all rows are those of one moment, where the database can do that (REPEATABLE READ). A view has
no such order: it is read by its PRIMARY KEY if the table declares one, else from the start only. How is the database's
(`Database.batches`).

In batch the rows of a split are one query's, in whatever order the database finds best.
"""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import duckdb
import pyarrow as pa

from sqlstream.connectors.derive import Derivation
from sqlstream.connectors.jdbc.database import Database, DbConnection, Place, Placed
from sqlstream.connectors.jdbc.databases import database_at
from sqlstream.connectors.jdbc.query import Query
from sqlstream.connectors.jdbc.url import Address
from sqlstream.connectors.relation import row_schema
from sqlstream.contracts import (
    KeyedCache,
    KeyedReader,
    LookupCache,
    ScanRequest,
    Source,
    SourceBatch,
    Split,
    SplitReader,
    TableContext,
)
from sqlstream.errors import OptionError

_names = itertools.count()


@dataclass(frozen=True)
class Ranges:
    """Parts of a table by the values of a column: Flink's scan.partition.*"""

    column: str
    parts: int
    low: int
    high: int

    def bounds(self) -> list[tuple[int, int]]:
        """First and last value of each part. Rows outside them are not read, as in Flink."""
        parts = min(self.parts, self.high - self.low + 1)
        size, more = divmod(self.high - self.low + 1, parts)
        out, at = [], self.low
        for n in range(parts):
            end = at + size + (n < more) - 1
            out.append((at, end))
            at = end + 1
        return out


class JdbcSource(Source):
    """Reads `name` of the database at `address`."""

    def __init__(
        self,
        table: TableContext,
        address: Address,
        name: str,
        ranges: Ranges | None,
        fetch_size: int,
        lookup: LookupCache,
        keyed: KeyedCache | None = None,
        retries: int = 3,
    ) -> None:
        self.table, self.address, self.name, self.ranges = table, address, name, ranges
        self._fetch_size = fetch_size
        self.lookup, self.keyed, self._retries = lookup, keyed, retries
        self._running: list[DbConnection] = []

    @property
    def where(self) -> str:
        """What errors begin with."""
        return f"table {self.table.name}"

    @property
    def database(self) -> Database:
        """Which one it is."""
        return database_at(self.address)

    def connect(self) -> DbConnection:
        """A new session."""
        return self.database.connect(self.address, self.where)

    def query(self, connection: DbConnection, split: Split | None, request: ScanRequest) -> Query:
        """What a split's rows are selected by. OptionError when the table is not what it is declared to be."""
        ranges = None if self.ranges is None else self.ranges.column
        info = None if split is None else split.info
        return Query.of(self.database, connection, self.name, request, self.where, ranges, info)

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
            there = self.database.find_table(connection, self.name)
            for c in self.table.schema:
                self.database.reading(there.column(c.name, self.where), c.type, self.where)
            info = self.database.of_split(there)
            if self.lookup.reload is not None:
                info["read"] = uuid.uuid4().hex  # that it has changed is not known: it is read again
            if self.ranges is None:
                return [Split("0", info)]
            column = there.column(self.ranges.column, self.where)
            if column.base not in self.database.numbers:
                raise OptionError(
                    f"{self.where}: option 'scan.partition.column': {column.name} is {column.type}, and its bounds are numbers",
                    subject="scan.partition.column",
                )
            bounds = self.ranges.bounds()
            return [Split(str(n), {"from": a, "to": b, **info}, n) for n, (a, b) in enumerate(bounds)]
        finally:
            connection.close()

    def unreadable(
        self, known: tuple[Split, ...], positions: Mapping[str, Any], finished: Collection[str]
    ) -> str | None:
        return f"{self.where}: a database's table may have other rows now"

    def reader(self, split: Split, position: Any, request: ScanRequest, first_row: int = 0) -> SplitReader:
        return JdbcReader(self, split, position, request, first_row, self._fetch_size)

    def keyed_reader(self, request: ScanRequest, keys: tuple[int, ...]) -> KeyedReader:
        from sqlstream.connectors.jdbc.keyed import JdbcKeyedReader

        return JdbcKeyedReader(self, request, keys, self._retries)

    def relation(self, connection: duckdb.DuckDBPyConnection, request: ScanRequest) -> str | None:
        name = f"_jdbc_{next(_names)}"
        connection.register(name, _Rows(self, request))
        return name

    def cancel(self) -> None:
        for c in list(self._running):
            c.cancel()

    def running(self, connection: DbConnection) -> None:
        """`cancel` ends what runs there."""
        self._running = [c for c in self._running if not c.closed] + [connection]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_running": []}


class _Rows:
    """All splits as an Arrow stream, a new one with each scan of DuckDB's."""

    def __init__(self, source: JdbcSource, request: ScanRequest) -> None:
        self._source, self._request = source, request
        self._schema = row_schema(request, True)

    def __arrow_c_schema__(self) -> Any:
        return self._schema.__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return pa.RecordBatchReader.from_batches(self._schema, self._batches()).__arrow_c_stream__(requested_schema)

    def _batches(self) -> Iterator[pa.RecordBatch]:
        derivation = Derivation(self._request)
        for split in self._source.splits():
            connection = self._source.connect()
            self._source.running(connection)
            try:
                query = self._source.query(connection, split, self._request)
                for rows in self._source.database.all_rows(connection, query):
                    yield derivation.of(rows)
            finally:
                connection.close()


class JdbcReader(SplitReader):
    """One split by one connection, which is made when the first rows are asked for. `snapshot`: the moment, as another
    session has exported it; "": now. Then all blocks are read that the table has."""

    def __init__(
        self,
        source: JdbcSource,
        split: Split,
        position: Any,
        request: ScanRequest,
        first_row: int,
        fetch_size: int,
        snapshot: str | None = None,
    ) -> None:
        self._snapshot = snapshot
        self._source, self._split, self._request = source, split, request
        self._row, self._most = first_row, fetch_size
        self._position = position
        self._derivation = Derivation(request)
        self._connection: DbConnection | None = None
        self._batches: Placed | None = None
        self._found: pa.RecordBatch | None = None  # rows that were not yet given, from `_at` on
        self._at = 0
        self._place: Place = lambda n: None  # the position behind the first n rows of `_found`
        self._finished = False

    def poll(self, max_rows: int) -> SourceBatch | None:
        if self._finished or max_rows <= 0:
            return None
        if self._batches is None:
            self._batches = self._begin()
        while self._found is None or self._at == self._found.num_rows:
            found = next(self._batches, None)
            if found is None:
                self._finished = True
                self._end()
                return None
            (self._found, self._place), self._at = found, 0
        n = min(max_rows, self._most or max_rows, self._found.num_rows - self._at)
        rows = self._found.slice(self._at, n)
        self._at += n
        out = SourceBatch(self._derivation.of(rows), self._row, self._place(self._at))
        self._row += n
        return out

    @property
    def finished(self) -> bool:
        return self._finished

    def close(self) -> None:
        self._finished = True
        self._end()

    def _end(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _begin(self) -> Placed:
        self._connection = connection = self._source.connect()
        query = self._source.query(connection, self._split, self._request)
        key = self._source.table.primary_key
        return self._source.database.batches(connection, query, self._split, self._position, key, self._snapshot)
