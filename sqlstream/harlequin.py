"""sqlstream in harlequin, the SQL editor of the terminal: `harlequin -a sqlstream [DIRECTORY]`.

DIRECTORY keeps the catalog. The rows of a query that does not end are those of its first seconds (`--seconds`), as many as
harlequin's limit has; then it is ended.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
from harlequin import HarlequinAdapter, HarlequinConnection, HarlequinCursor
from harlequin.autocomplete.completion import HarlequinCompletion
from harlequin.catalog import Catalog, CatalogItem
from harlequin.exception import HarlequinConfigError, HarlequinConnectionError, HarlequinQueryError
from harlequin.options import TextOption

from sqlstream.catalog.databases import CATALOG
from sqlstream.catalog.objects import Table, quoted
from sqlstream.dbapi import Connection, Cursor, Error, FetchTimeout, connect
from sqlstream.functions.scalar import SCALARS
from sqlstream.types import Type

_SECONDS = 5.0
_SHORT = {
    **dict.fromkeys(("TINYINT", "SMALLINT", "INT", "BIGINT"), "##"),
    **dict.fromkeys(("FLOAT", "DOUBLE", "DECIMAL"), "#.#"),
    **dict.fromkeys(("CHAR", "VARCHAR"), "s"),
    **dict.fromkeys(("BINARY", "VARBINARY"), "0b"),
    **dict.fromkeys(("TIMESTAMP", "TIMESTAMP_LTZ"), "dt"),
    **dict.fromkeys(("MAP", "ROW", "MULTISET"), "{}"),
    **dict.fromkeys(("INTERVAL_DAY", "INTERVAL_MONTH"), "|-|"),
    "BOOLEAN": "t/f",
    "DATE": "d",
    "TIME": "t",
    "ARRAY": "[]",
}


def short(t: Type) -> str:
    """A type in the three characters that harlequin has for it."""
    return _SHORT.get(t.kind, "?")


class SqlStreamCursor(HarlequinCursor):
    """The rows of one query. `seconds`: how long one is followed that does not end."""

    def __init__(self, cursor: Cursor, seconds: float) -> None:
        self._cursor = cursor
        self._seconds = seconds
        self._limit: int | None = None

    def columns(self) -> list[tuple[str, str]]:
        return [(d[0], short(d[1])) for d in self._cursor.description or ()]

    def set_limit(self, limit: int) -> SqlStreamCursor:
        self._limit = limit
        return self

    def fetchall(self) -> pa.Table | None:
        until = time.monotonic() + self._seconds
        batches: list[pa.RecordBatch] = []
        left = self._limit
        try:
            while left is None or left > 0:
                if self._cursor.endless:
                    self._cursor.timeout = max(until - time.monotonic(), 0.0)
                try:
                    batch = self._cursor.fetch_record_batch()
                except FetchTimeout:
                    break
                if batch is None:
                    break
                batches.append(batch if left is None else batch.slice(0, left))
                left = None if left is None else left - batch.num_rows
            return pa.Table.from_batches(batches, self._cursor.arrow_schema) if batches else None
        except Error as e:
            raise HarlequinQueryError(str(e), title="sqlstream") from e
        finally:
            self._cursor.close()


class SqlStreamConnection(HarlequinConnection):
    """One connection, and its catalog as a tree: database, tables and views, columns."""

    def __init__(self, directory: str, seconds: float, init_message: str = "") -> None:
        self.init_message = init_message
        self._seconds = seconds
        try:
            self._connection: Connection = connect(directory)
        except Error as e:
            raise HarlequinConnectionError(str(e), title="sqlstream could not open the catalog") from e

    def execute(self, query: str) -> HarlequinCursor | None:
        cursor = self._connection.cursor()
        try:
            cursor.execute(query)
        except Error as e:
            raise HarlequinQueryError(str(e), title="sqlstream") from e
        return None if cursor.description is None else SqlStreamCursor(cursor, self._seconds)

    def cancel(self) -> None:
        self._connection.cancel()

    def close(self) -> None:
        self._connection.close()

    def get_catalog(self) -> Catalog:
        session = self._connection.session
        relations: dict[str, list[CatalogItem]] = {name: [] for name in session.catalog.databases()}
        for identity in session.catalog.names():
            if (found := session.catalog.find(identity)) is None:
                continue
            name = found.local_name
            identifier = f"{quoted(found.database)}.{quoted(name)}"
            columns = [
                CatalogItem(f"{identifier}.{quoted(c.name)}", quoted(c.name), c.name, short(c.type))
                for c in session.columns_of(found)
            ]
            kind = "t" if isinstance(found, Table) else "v"
            relations[found.database].append(CatalogItem(identifier, quoted(name), name, kind, columns))
        return Catalog(
            items=[CatalogItem(f"{quoted(CATALOG)}.{quoted(n)}", quoted(n), n, "db", r) for n, r in relations.items()]
        )

    def get_completions(self) -> list[HarlequinCompletion]:
        names = sorted({f.name for f in SCALARS.values() if not f.operator})
        return [HarlequinCompletion(n, type_label="fn", value=n, priority=1000, context=None) for n in names]


class SqlStreamAdapter(HarlequinAdapter):
    """What harlequin starts."""

    ADAPTER_DETAILS = "Streaming SQL: Flink's, over files and streams."
    IMPLEMENTS_CANCEL = True
    ADAPTER_OPTIONS = [
        TextOption(
            "seconds",
            description=f"How long a query without end is followed; {_SECONDS:g} by default.",
            default=f"{_SECONDS:g}",
        )
    ]

    def __init__(self, conn_str: Sequence[str], seconds: str | float | None = None, **_: Any) -> None:
        if len(conn_str) > 1:
            raise HarlequinConfigError(f"one directory, not {len(conn_str)}: {', '.join(conn_str)}", title="sqlstream")
        self._directory = conn_str[0] if conn_str else ":memory:"
        try:
            self._seconds = _SECONDS if seconds is None else float(seconds)
        except ValueError:
            raise HarlequinConfigError(f"--seconds is a number, not {seconds}", title="sqlstream") from None

    @property
    def connection_id(self) -> str:
        """What harlequin's history goes by."""
        return self._directory

    def connect(self) -> SqlStreamConnection:
        return SqlStreamConnection(self._directory, self._seconds)
