"""`sqlstream.sql("…")`: a query's result by one call, on a connection that the module keeps."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from sqlstream.dbapi.connection import Connection, connect
from sqlstream.dbapi.cursor import Cursor
from sqlstream.dbapi.html import SHOWN, count, html_table, shown
from sqlstream.dbapi.parameters import Parameters
from sqlstream.dbapi.rows import library

if TYPE_CHECKING:
    import pandas
    import polars


class Relation:
    """The rows of a query. Those of one that ends are read once, when they are first asked for, and kept; those of one
    that does not end can be iterated over, or shown as far as they are there."""

    def __init__(self, cursor: Cursor) -> None:
        self._cursor = cursor
        self._table: pa.Table | None = None

    @property
    def columns(self) -> list[str]:
        """The names of the columns."""
        return [d[0] for d in self._cursor.description or ()]

    def arrow(self) -> pa.Table:
        """All rows as an Arrow table; NotSupportedError where they would never end."""
        if self._table is None:
            self._table = self._cursor.fetch_arrow_table()
        return self._table

    def df(self) -> pandas.DataFrame:
        """All rows as a pandas frame."""
        library("pandas")
        return self.arrow().to_pandas(maps_as_pydicts="lossy")

    def pl(self) -> polars.DataFrame:
        """All rows as a Polars frame."""
        frame: polars.DataFrame = library("polars").from_arrow(self.arrow())
        return frame

    def fetchall(self) -> list[tuple[Any, ...]]:
        """All rows as Python values."""
        if self._table is None:
            self.arrow()
        return list(self)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        """The rows as Python values: as they come, where they do not end."""
        if self._cursor.endless:
            return iter(self._cursor)
        return iter(self._cursor.python_rows(self.arrow()))

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """The rows, by Arrow's PyCapsule interface."""
        if self._cursor.endless:
            return self._cursor.__arrow_c_stream__(requested_schema)
        return self.arrow().__arrow_c_stream__(requested_schema)

    def show(self, rows: int = SHOWN) -> None:
        """Prints the first rows; of a query that does not end, those that come in the next second, taking them."""
        print(self._text(rows))

    def _repr_html_(self) -> str:
        """For notebooks: the first rows; the columns alone, where rows do not end."""
        if self._cursor.endless:
            return html_table(self.columns, self._cursor.types, [], "rows come without end: iterate, or show()")
        table = self.arrow()
        rows = self._cursor.python_rows(table.slice(0, SHOWN))
        return html_table(self.columns, self._cursor.types, rows, count(table.num_rows, len(rows)))

    def __repr__(self) -> str:
        return f"Relation({', '.join(self.columns)}), without end" if self._cursor.endless else self._text(SHOWN)

    def _text(self, most: int) -> str:
        if self._cursor.endless:
            rows, more = self._cursor.fetchmany(most), True
        else:
            table = self.arrow()
            rows, more = self._cursor.python_rows(table.slice(0, most)), table.num_rows > most
        texts = [self.columns, *([shown(v) for v in r] for r in rows)]
        widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
        lines = [" | ".join(t.ljust(w) for t, w in zip(r, widths, strict=True)).rstrip() for r in texts]
        lines.insert(1, "-+-".join("-" * w for w in widths))
        return "\n".join([*lines, *(["…"] if more else [])])


_lock = threading.Lock()
_default: list[Connection] = []


def default_connection() -> Connection:
    """The connection that the module keeps: made when it is first asked for, and anew when it was closed."""
    with _lock:
        if not _default or _default[0].closed:
            _default[:] = [connect()]
        return _default[0]


def sql(query: str, parameters: Parameters | None = None) -> Relation | None:
    """Runs a statement on the module's connection: its rows, or None for one that has none."""
    return default_connection().sql(query, parameters)
