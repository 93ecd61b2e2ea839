"""A table of a database that rows are written to: appended, or put in the places of those of their keys.

Everything is done in the transaction that is open.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc

from sqlstream.connectors.jdbc.database import Database, DbConnection, Writing
from sqlstream.connectors.jdbc.tables import DbColumn
from sqlstream.errors import DataError, InternalError, OptionError
from sqlstream.types import Schema

APPEND, UPSERT, DELETE = "append", "upsert", "delete"
Change = tuple[str, pa.RecordBatch]  # one of the above, and its rows (DELETE: keys)
_SHOWN = 500  # characters of a record in a message


class Target:
    """The table `name` for rows with the columns of `schema`, on one connection. `key`: () when rows are appended.

    OptionError where the table is not there, lacks a column or has one of another type, or does not know rows by the key.
    """

    def __init__(
        self, database: Database, connection: DbConnection, name: str, schema: Schema, key: tuple[str, ...]
    ) -> None:
        self._database, self._where = database, connection.where
        self.there = there = database.find_table(connection, name)
        self._writings = {
            c.name: database.writing(there.column(c.name, self._where), c.type, self._where) for c in schema
        }
        if given := next((w.column for w in self._writings.values() if w.column.given), None):
            raise OptionError(
                f"{self._where}: the database makes the values of column {given.name} itself, always",
                hint="leave it out of the table here",
                subject=given.name,
            )
        self._key = [there.column(k, self._where).name for k in key]
        if key and frozenset(self._key) not in there.unique:
            listed = ", ".join(map(database.quoted, self._key))
            raise OptionError(
                f"{self._where}: its PRIMARY KEY is ({', '.join(key)}), and {there.schema}.{there.name} has no unique index of "
                "these columns",
                hint=f"ALTER TABLE {there.sql} ADD PRIMARY KEY ({listed})",
            )

    def apply(self, change: Change) -> None:
        """In the transaction that is open. DataError for values that the table does not take, with the record where it is known."""
        kind, rows = change
        if not rows.num_rows:
            return
        writings = [self._writings[n] for n in rows.schema.names]
        arrays = [w.values(a, self._where) for w, a in zip(writings, rows.columns, strict=True)]
        out = pa.RecordBatch.from_arrays(arrays, names=[w.column.name for w in writings])
        try:
            self.take(kind, writings, out)
        except DataError as e:
            n = self.failed(e)
            raise e if n is None or not 0 <= n < rows.num_rows else self._with_record(e, rows, n) from e

    def check(self, change: Change) -> None:
        """Before it is done, without the database. DataError for values that it would not take, as far as that is known of types: numbers
        that are too large, texts that are too long. Constraints alone the database knows."""
        kind, rows = change
        for name, values in zip(rows.schema.names, rows.columns, strict=True):
            writing = self._writings[name]
            writing.values(values, self._where)
            wrong = None if kind == DELETE else self._beyond(writing.column, values)
            if wrong is not None and (first := pc.index(wrong, True).as_py()) >= 0:
                column = writing.column
                e = DataError(f"{self._where}: column {column.name} ({column.type}) cannot hold a value")
                raise self._with_record(e, rows, first)

    def _beyond(self, column: DbColumn, values: pa.Array) -> pa.Array | None:
        """Which values are; None: none can be."""
        database, t = self._database, values.type
        said = re.search(r"\((\d+)(?:, *(\d+))?\)", column.type)
        if pa.types.is_string(t) and column.base in database.lengths and said is not None:
            # spaces at the end are cut
            return pc.greater(pc.utf8_length(pc.utf8_rtrim(values, " ")), int(said[1]))
        if pa.types.is_integer(t) and column.base in database.ranges:
            least, greatest = database.ranges[column.base]
            wide = values.cast(pa.decimal128(38))
            return pc.or_(pc.less(wide, Decimal(least)), pc.greater(wide, Decimal(greatest)))
        whole = int(said[1]) - int(said[2] or 0) if said is not None else 38
        if (pa.types.is_integer(t) or pa.types.is_decimal(t)) and column.base in database.decimals and whole < 38:
            wide = values.cast(pa.decimal128(38)) if pa.types.is_integer(t) else values
            limit = pa.scalar(Decimal(10**whole), pa.decimal256(whole + 1))  # Arrow brings both to one scale
            return pc.greater_equal(pc.abs(wide).cast(pa.decimal256(38, wide.type.scale)), limit)
        return None

    def take(self, kind: str, writings: Sequence[Writing], rows: pa.RecordBatch) -> None:
        """Does it, to rows that are as they go."""
        raise InternalError("Target.take")

    def failed(self, e: DataError) -> int | None:
        """The number of the row that an error of `take` is about, if it is known."""
        return None

    def told(self, e: DataError) -> str:
        """The error without what `failed` has read of it."""
        return e.message

    def _with_record(self, e: DataError, rows: pa.RecordBatch, n: int) -> DataError:
        record = json.dumps(rows.slice(n, 1).to_pylist()[0], default=str, ensure_ascii=False)
        shown = record if len(record) <= _SHOWN else record[:_SHOWN] + "…"
        return DataError(f"{self.told(e)}; in {shown}", hint=e.hint)
