"""What a database is to connector 'jdbc': the seam between what all have in common and the modules of each.

A database is a `Database` (a description without state, in the registry `databases.py`), the `DbConnection` that it makes, a
`Target`, which takes rows into a table, and how its columns are read and written (`readings.py`). Scans, lookups, sinks and exactly-once
writing know nothing else of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import pyarrow as pa

from sqlstream.connectors.jdbc.readings import Reading
from sqlstream.connectors.jdbc.tables import DbColumn, DbTable
from sqlstream.connectors.jdbc.url import Address, Parts
from sqlstream.contracts import Split
from sqlstream.errors import InternalError, OptionError, RunError, SqlStreamError
from sqlstream.expressions import Literal
from sqlstream.types import Schema, Type

if TYPE_CHECKING:
    from sqlstream.connectors.jdbc.query import Query
    from sqlstream.connectors.jdbc.target import Target

Place = Callable[[int], Any]  # the position behind the first n rows of a batch
Placed = Iterator[tuple[pa.RecordBatch, Place]]


class Disconnected(RunError):
    """The server is gone, or was not there: another attempt may find it."""

    transient = True


class Passing(RunError):
    """The server could not do it now."""

    transient = True


class DbConnection:
    """One session. Errors are ours and begin with `where` ("table t"). Not for several threads at once."""

    where: str
    closed: bool = False

    def execute(self, sql: str, parameters: tuple[Any, ...] = ()) -> None:
        """A statement whose answer is not looked at. Parameters: as `Database.parameter` marks them."""
        raise InternalError("DbConnection.execute")

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """A small answer as Python values."""
        raise InternalError("DbConnection.rows")

    def stream(self, sql: str, readings: Sequence[Reading] = ()) -> Iterator[pa.RecordBatch]:
        """The rows of an answer as they come, many at a time. `readings`: of the first columns, whose `wire` they have; what is behind
        them is numbers or texts."""
        raise InternalError("DbConnection.stream")

    begin: ClassVar[str] = "BEGIN"

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing of what is done within."""
        self.execute(self.begin)
        try:
            yield
        except BaseException:
            with suppress(SqlStreamError):
                self.execute("ROLLBACK")
            raise
        self.execute("COMMIT")

    def cancel(self) -> None:
        """Ends the statement that runs, from any thread."""

    def close(self) -> None:
        """Also in the middle of an answer."""
        raise InternalError("DbConnection.close")


class Writing(Protocol):
    """How a column is written."""

    @property
    def column(self) -> DbColumn:
        """The one there."""
        ...

    def values(self, rows: pa.Array, where: str) -> pa.Array:
        """As they go. DataError for a value that the column cannot hold."""
        ...


@dataclass(frozen=True)
class Staging:
    """Tables for rows that are written exactly once: how they are made, and what statements with them have beside what is the same
    everywhere. `mine`: at the end of an INSERT, where the row may be there. `lock`: behind a SELECT, whose row is locked.
    `durable`: what a transaction begins with. `made`: said before they are made, so that of several one does."""

    tables: tuple[str, ...]
    mine: str = " ON CONFLICT DO NOTHING"
    lock: str = ""
    durable: str = ""
    alone: str = ""


class Database:
    """One kind of database. The defaults are those of SQL's standard. Without state."""

    kind: ClassVar[str]
    drivers: ClassVar[tuple[str, ...]] = ()  # classes of Java's drivers
    staging: ClassVar[Staging]
    # By the kind of a type here: what a column must be there, for both to compare alike.
    alike: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    numbers: ClassVar[tuple[str, ...]] = ()  # columns whose ranges are of numbers
    decimals: ClassVar[tuple[str, ...]] = ()  # columns with digits behind the point
    lengths: ClassVar[tuple[str, ...]] = ()  # columns of so many characters, at most, as stand in their types
    ranges: ClassVar[Mapping[str, tuple[int, int]]] = {}  # columns of whole numbers: the least and the greatest one

    # ---- where it is

    def address(self, parts: Parts, connect_timeout: int, where: str) -> Address:
        """Of a URL, which is taken apart. OptionError."""
        raise InternalError("Database.address")

    def at(self, address: Address) -> Database:
        """This one, as parameters of a URL say that it is to be read."""
        return self

    def connect(self, address: Address, where: str) -> DbConnection:
        """A new session."""
        raise InternalError("Database.connect")

    # ---- what it has

    def quoted(self, name: str) -> str:
        """An identifier, whatever is in it."""
        return '"' + name.replace('"', '""') + '"'

    def text(self, value: str) -> str:
        """A string constant, whatever is in it."""
        return "'" + value.replace("'", "''") + "'"

    def find_table(self, connection: DbConnection, name: str) -> DbTable:
        """The table that option 'table-name' means. OptionError when there is none."""
        raise InternalError("Database.find_table")

    def has_table(self, connection: DbConnection, name: str) -> bool:
        """Whether one of ours is there."""
        raise InternalError("Database.has_table")

    def type_of(self, column: DbColumn) -> Type:
        """The type here that holds what a column does."""
        raise InternalError("Database.type_of")

    # ---- reading

    def reading(self, column: DbColumn, t: Type, where: str) -> Reading:
        """How a column there is read as a type here. OptionError where it cannot be."""
        raise InternalError("Database.reading")

    def constant(self, e: Literal, t: Type, column: DbColumn) -> str | None:
        """A constant, which is not NULL, for comparing it with a column that is a `t` here. None: it cannot be."""
        raise InternalError("Database.constant")

    def of_split(self, there: DbTable) -> dict[str, Any]:
        """What a split remembers of the table as it was."""
        return {}

    def batches(
        self,
        connection: DbConnection,
        query: Query,
        split: Split,
        position: Any,
        key: tuple[str, ...],
        snapshot: str | None,
    ) -> Placed:
        """The rows of a split behind a position, with their places. `key`: the PRIMARY KEY that is declared here."""
        raise InternalError("Database.batches")

    def all_rows(self, connection: DbConnection, query: Query) -> Iterator[pa.RecordBatch]:
        """The rows of a split, c0, c1, …, in whatever order is best."""
        for found in connection.stream(query.sql(), query.readings):
            if found.num_rows:
                yield query.rows(found)

    def check_key(self, column: DbColumn, t: Type, where: str) -> None:
        """OptionError where two values may be one here, or one two there, as comparing goes."""
        timestamp_digits = 6 if column.scale is None else column.scale
        rounded = (
            t.kind == "DECIMAL"
            and column.base in self.decimals
            and (column.scale is None or column.scale > (t.scale or 0))
        )
        cut = t.is_timestamp and (t.precision or 0) < timestamp_digits
        if t.kind in ("FLOAT", "DOUBLE", "ARRAY", "BINARY", "VARBINARY") or rounded or cut:
            exact = {"DECIMAL": "with as many digits", "TIMESTAMP": "TIMESTAMP(6)", "TIMESTAMP_LTZ": "TIMESTAMP_LTZ(6)"}
            raise OptionError(
                f"{where}: column {column.name} ({column.type}), as {t.null()}, is no key that its rows can be asked for by",
                hint=f"declare it {exact[t.kind]}"
                if t.kind in exact
                else "'lookup.cache' = 'FULL' reads the table whole",
                subject=column.name,
            )

    def asked(self, columns: Sequence[DbColumn], types: Sequence[Type], keys: Sequence[pa.Array]) -> str | None:
        """The condition of rows (of a table `t`) that have one of some keys, none of which is NULL. None: no row can have any."""
        raise InternalError("Database.asked")

    # ---- writing

    def writing(self, column: DbColumn, t: Type, where: str) -> Writing:
        """How a type here is written to a column there. OptionError where it cannot be."""
        raise InternalError("Database.writing")

    def target(self, connection: DbConnection, name: str, schema: Schema, key: tuple[str, ...]) -> Target:
        """A table that rows are written to."""
        raise InternalError("Database.target")

    def parameter(self, n: int) -> str:
        """The n-th (from 1) of a statement."""
        return "?"
