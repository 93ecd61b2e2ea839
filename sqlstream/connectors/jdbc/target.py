"""A table of a database that rows are written to: appended, or put in the places of those of their keys.

Everything is done in the transaction that is open.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import pyarrow as pa

from sqlstream.connectors.jdbc.database import Database, DbConnection, Writing
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
        return DataError(f"{self.told(e)}; in {shown}")
