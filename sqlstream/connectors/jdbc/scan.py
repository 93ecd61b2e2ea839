"""A table of a database as a bounded source: one split, or as many ranges of a column as the options say.

A reader's rows come in the order in which the table holds them, so that a position, the place of the last row, is all that
going on needs. What changes in the table meanwhile may be read twice or not at all then, as in any scan of a database
that begins anew; within one reader's life all rows are those of one moment (REPEATABLE READ). A view has no such order: it is
read by its PRIMARY KEY if the table declares one, else from the start only.

In batch the rows of a split are one query's, in whatever order the database finds best.
"""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import duckdb
import pyarrow as pa

from sqlstream.connectors.derive import Derivation
from sqlstream.connectors.jdbc.conditions import condition
from sqlstream.connectors.jdbc.postgres import Connection, quoted, text
from sqlstream.connectors.jdbc.postgres_table import HEAP, PARTITIONED, DbTable, find_table
from sqlstream.connectors.jdbc.postgres_types import Reading, reading
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
from sqlstream.errors import CheckpointError, OptionError

BLOCKS = 4096  # of the table (32 MiB) a query: what going on in the middle reads again at most
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
        self._running: list[Connection] = []

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
            there = find_table(connection, self.name)
            for c in self.table.schema:
                reading(there.column(c.name, self.where), c.type, self.where)
            info: dict[str, Any] = {"blocks": there.blocks}
            if self.lookup.reload is not None:
                info["read"] = uuid.uuid4().hex  # that it has changed is not known: it is read again
            if self.ranges is None:
                return [Split("0", info)]
            column = there.column(self.ranges.column, self.where)
            if column.base not in ("int2", "int4", "int8", "numeric"):
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

    def running(self, connection: Connection) -> None:
        """`cancel` ends what runs there."""
        self._running = [c for c in self._running if not c.closed] + [connection]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_running": []}


@dataclass(frozen=True)
class Query:
    """What a split's rows are selected by."""

    there: DbTable
    readings: tuple[Reading, ...]
    request: ScanRequest
    conditions: tuple[str, ...]
    where: str

    @staticmethod
    def of(source: JdbcSource, connection: Connection, split: Split, request: ScanRequest) -> Query:
        """Looks the table up. OptionError when it is not what it is declared to be."""
        there = find_table(connection, source.name)
        columns = [there.column(c.path[0], source.where) for c in request.columns]
        readings = tuple(reading(d, c.type, source.where) for d, c in zip(columns, request.columns, strict=True))
        conditions = []
        if source.ranges is not None:
            column = quoted(there.column(source.ranges.column, source.where).name)
            conditions.append(f"{column} BETWEEN {split.info['from']} AND {split.info['to']}")
        if (asked := condition(request.filter, dict(enumerate(columns)))) is not None:
            conditions.append(asked)
        return Query(there, readings, request, tuple(conditions), source.where)

    def sql(self, more: tuple[str, ...] = (), extra: tuple[str, ...] = (), order: str = "") -> str:
        """The statement: columns, then `extra`, of rows for which all conditions and `more` are true. In `order` the table is
        `t`: a name alone would be that of what is selected."""
        items = ", ".join([*(r.sql for r in self.readings), *extra]) or "1"
        where = " AND ".join([*self.conditions, *more])
        return f"SELECT {items} FROM {self.there.sql} t" + (f" WHERE {where}" if where else "") + order

    def rows(self, found: pa.RecordBatch) -> pa.RecordBatch:
        """c0, c1, … of what the driver gave."""
        schema = self.request.arrow_schema()
        if not len(schema):
            return pa.RecordBatch.from_arrays([pa.repeat(pa.scalar(1, pa.int32()), found.num_rows)], names=["one"])
        arrays = [r.values(found.column(i)) for i, r in enumerate(self.readings)]
        return pa.RecordBatch.from_arrays(arrays, schema=schema)


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
                query = Query.of(self._source, connection, split, self._request)
                for found in connection.stream(query.sql()):
                    if found.num_rows:
                        yield derivation.of(query.rows(found))
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
        self._connection: Connection | None = None
        self._batches: Iterator[tuple[pa.RecordBatch, Callable[[int], Any]]] | None = None
        self._found: pa.RecordBatch | None = None  # rows that were not yet given, from `_at` on
        self._at = 0
        self._place: Callable[[int], Any] = lambda n: None  # the position behind the first n rows of `_found`
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

    def _begin(self) -> Iterator[tuple[pa.RecordBatch, Callable[[int], Any]]]:
        self._connection = connection = self._source.connect()
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        if self._snapshot:
            connection.execute(f"SET TRANSACTION SNAPSHOT {text(self._snapshot)}")
        query = Query.of(self._source, connection, self._split, self._request)
        there = query.there
        if there.kind in HEAP and there.alone and self._source.ranges is None and _by_blocks(connection):
            return self._by_block(connection, query)
        if there.kind in HEAP or there.kind == PARTITIONED:
            return self._by_place(connection, query)
        return self._by_key(connection, query)

    def _by_block(self, connection: Connection, query: Query) -> Iterator[tuple[pa.RecordBatch, Callable[[int], Any]]]:
        """Some blocks of the table a query. Position: the place of the last row, its block and its number there."""
        place = None if self._position is None else str(self._position["place"])
        at = 0 if place is None else int(place[1:].partition(",")[0])
        # what was there when the split was made; or, of a snapshot, at that moment or later
        blocks = query.there.blocks if self._snapshot is not None else int(self._split.info["blocks"])
        # a query whose filter is narrow may find its rows by an index: they are put in order
        order = " ORDER BY t.ctid" if len(query.conditions) else ""
        while at < blocks:
            end = min((at // BLOCKS + 1) * BLOCKS, blocks)
            begin = f"ctid >= '({at},0)'" if place is None else f"ctid > {text(place)}::tid"
            for found in connection.stream(query.sql((begin, f"ctid < '({end},0)'"), ("ctid::text",), order)):
                places = found.column(found.num_columns - 1)
                yield query.rows(found), lambda n, places=places: {"place": places[n - 1].as_py()}  # type: ignore[misc]
            at, place = end, None

    def _by_place(self, connection: Connection, query: Query) -> Iterator[tuple[pa.RecordBatch, Callable[[int], Any]]]:
        """One query in the order of the rows' places. Position: the place of the last row."""
        more: tuple[str, ...] = ()
        if self._position is not None:
            part, place = int(self._position["part"]), str(self._position["place"])
            more = (f"(tableoid, ctid) > ({part}::oid, {text(place)}::tid)",)
        extra = ("tableoid::int8", "ctid::text")
        for found in connection.stream(query.sql(more, extra, " ORDER BY t.tableoid, t.ctid")):
            parts, places = found.column(found.num_columns - 2), found.column(found.num_columns - 1)
            yield (
                query.rows(found),
                lambda n, parts=parts, places=places: {"part": parts[n - 1].as_py(), "place": places[n - 1].as_py()},  # type: ignore[misc]
            )

    def _by_key(self, connection: Connection, query: Query) -> Iterator[tuple[pa.RecordBatch, Callable[[int], Any]]]:
        """What has no places (a view, a table of another server), by the PRIMARY KEY that is declared. Position: the last row's."""
        names = [f"t.{quoted(query.there.column(k, query.where).name)}" for k in self._source.table.primary_key]
        listed, more = ", ".join(names), tuple[str, ...]()
        if self._position is not None:
            if not names:
                raise CheckpointError(
                    f"{query.where}: '{self._source.name}' is not a table but a view of one, without an order: reading cannot "
                    "go on in the middle",
                    hint="PRIMARY KEY (…) NOT ENFORCED says which columns tell its rows; or start anew with --fresh",
                )
            more = (f"({listed}) > ({', '.join(map(text, self._position['key']))})",)
        extra = tuple(f"{n}::text" for n in names)
        for found in connection.stream(query.sql(more, extra, f" ORDER BY {listed}" if names else "")):
            keys = [found.column(found.num_columns - len(names) + i) for i in range(len(names))]
            yield query.rows(found), lambda n, keys=keys: {"key": [k[n - 1].as_py() for k in keys]}  # type: ignore[misc]


def _by_blocks(connection: Connection) -> bool:
    """Whether the server reads ranges of blocks, and no others (PostgreSQL 14)."""
    return bool(connection.rows("SELECT current_setting('server_version_num')::int >= 140000")[0][0])
