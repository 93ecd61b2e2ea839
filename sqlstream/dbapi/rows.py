"""The rows of a statement, fetched one, some or all at a time, as Python's values, as Arrow, pandas or Polars."""

from __future__ import annotations

import contextlib
import importlib
import queue
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from sqlstream.batches import KIND_TEXT
from sqlstream.dbapi.html import SHOWN, html_table
from sqlstream.dbapi.names import (
    DataError,
    FetchTimeout,
    InterfaceError,
    ProgrammingError,
    mapped,
    not_supported,
)
from sqlstream.dbapi.pump import Pump
from sqlstream.plan.columns import unique_names
from sqlstream.python_values import python_values
from sqlstream.results import Result
from sqlstream.types import STRING, Column, Schema

if TYPE_CHECKING:
    import pandas
    import polars

    from sqlstream.dbapi.connection import Connection

_LINGER = 1.0  # seconds that `fetchmany` waits for more rows once it has one
CHANGELOGS = ("column", "row_kind", "none")

Kinds = list[str] | None


class Rows:
    """What a cursor fetches. `timeout`: seconds that a fetch waits for its first row (None: for ever); then FetchTimeout,
    and the query goes on. `changelog`: how changes of rows come (`connect`)."""

    def __init__(self, connection: Connection, timeout: float | None, changelog: str) -> None:
        self.connection = connection
        self.timeout = timeout
        self.changelog = changelog
        self.arraysize = 1
        self.rowcount = -1
        self.description: list[tuple[Any, ...]] | None = None
        self.row_kind: str | None = None  # of the row that was fetched last, where rows can change
        self._closed = False
        self._reset()

    def _reset(self) -> None:
        self._result: Result | None = None
        self._schema = Schema(())
        self._pump: Pump | None = None
        self._ahead: list[tuple[pa.RecordBatch, Kinds]] = []  # batches that a fetch has given back
        self._batch: pa.RecordBatch | None = None  # the one that is being fetched
        self._kinds: Kinds = None  # of its rows
        self._rows: list[tuple[Any, ...]] = []  # it as Python values, where these were asked for
        self._at = 0  # its next row
        self.description = None
        self.rowcount = -1
        self.row_kind = None

    def _take(self, result: Result) -> None:
        """A statement has ended, or goes on with these rows."""
        if not result.append_only and self.changelog == "none":
            result.close()
            raise not_supported(
                "the rows of this query change, and 'changelog' is 'none'",
                "changelog='column' gives the changes; a bounded query has final rows in batch mode",
            )
        self._result = result
        if result.kind == "INSERT" and result.progress is not None:
            self.rowcount = result.progress.rows_out
        if result.schema is not None:
            self._pump = Pump(result)
            changes = not result.append_only and self.changelog == "column"
            op = (Column("op", STRING.null(False)),) if changes else ()
            self._schema = Schema((*op, *result.schema))
            self.description = [
                (name, c.type, None, None, c.type.precision, c.type.scale, c.type.nullable)
                for name, c in zip(unique_names(self._schema), self._schema, strict=True)
            ]

    # ---- rows

    def fetchone(self) -> tuple[Any, ...] | None:
        """The next row; waits for it, FetchTimeout after `timeout` seconds. None at the end."""
        rows = self._some(1, None)
        return rows[0] if rows else None

    def fetchmany(self, size: int | None = None) -> list[tuple[Any, ...]]:
        """Up to `size` rows: waits for the first one as `fetchone` does, then a second at most for others. [] only at
        the end."""
        wanted = self.arraysize if size is None else size
        rows = self._some(wanted, None)
        until = time.monotonic() + _LINGER
        with contextlib.suppress(FetchTimeout):
            while 0 < len(rows) < wanted:
                more = self._some(wanted - len(rows), until)
                if not more:
                    break
                rows += more
        return rows

    def fetchall(self) -> list[tuple[Any, ...]]:
        """All rows that are left; NotSupportedError where they would never end."""
        self._check_end("fetchall")
        self._gather()
        rows: list[tuple[Any, ...]] = []
        while more := self._some(None, None):
            rows += more
        return rows

    def _some(self, most: int | None, until: float | None) -> list[tuple[Any, ...]]:
        """The next rows of one batch, `most` at most. [] at the end."""
        if most == 0 or not self._pull(until):
            return []
        assert self._batch is not None
        if not self._rows:
            self._rows = self._python(self._batch)
        rows = self._rows[self._at :] if most is None else self._rows[self._at : self._at + most]
        self._at += len(rows)
        if self._kinds is not None:
            self.row_kind = self._kinds[self._at - 1]
        return rows

    def _python(self, batch: pa.RecordBatch) -> list[tuple[Any, ...]]:
        try:
            columns = [python_values(batch.column(i), c.type) for i, c in enumerate(self._schema)]
        except (ValueError, OverflowError) as e:
            raise DataError(f"a value is no Python value: {e}; fetch_record_batch gives it as Arrow") from e
        return list(zip(*columns, strict=True))

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return self

    def __next__(self) -> tuple[Any, ...]:
        row = self.fetchone()
        if row is None:
            raise StopIteration
        return row

    def peek(self, most: int) -> list[tuple[Any, ...]]:
        """The next rows of those that are there first, `most` at most, which stay to be fetched. [] at the end."""
        if not self._pull(None):
            return []
        assert self._batch is not None
        return self._python(self._batch.slice(self._at, most))

    # ---- as Arrow, pandas, Polars

    def fetch_record_batch(self) -> pa.RecordBatch | None:
        """The next batch, or what is left of one whose rows were fetched; waits as `fetchone` does. None at the end."""
        if not self._pull(None):
            return None
        assert self._batch is not None
        batch = self._batch.slice(self._at)
        if self._kinds is not None:
            self.row_kind = self._kinds[-1]
        self._batch, self._rows, self._at = None, [], 0
        return batch

    def fetch_record_batches(self) -> Iterator[pa.RecordBatch]:
        """The batches that are left, as they come."""
        while (batch := self.fetch_record_batch()) is not None:
            yield batch

    def fetch_record_batch_reader(self) -> pa.RecordBatchReader:
        """The batches that are left, as an Arrow reader."""
        return pa.RecordBatchReader.from_batches(self.arrow_schema, self.fetch_record_batches())

    def fetch_arrow_table(self) -> pa.Table:
        """All rows that are left, as one table; NotSupportedError where they would never end."""
        self._check_end("fetch_arrow_table")
        self._gather()
        return pa.Table.from_batches(list(self.fetch_record_batches()), self.arrow_schema)

    def arrow(self) -> pa.Table:
        """`fetch_arrow_table`, by its short name."""
        return self.fetch_arrow_table()

    def df(self) -> pandas.DataFrame:
        """All rows that are left, as a pandas frame."""
        library("pandas")
        return self.fetch_arrow_table().to_pandas(maps_as_pydicts="lossy")

    def pl(self) -> polars.DataFrame:
        """All rows that are left, as a Polars frame."""
        frame: polars.DataFrame = library("polars").from_arrow(self.fetch_arrow_table())
        return frame

    @property
    def arrow_schema(self) -> pa.Schema:
        """The columns as Arrow has them. ProgrammingError where there are none."""
        self._there()
        names = unique_names(self._schema)
        return pa.schema([(n, c.type.arrow_outside()) for n, c in zip(names, self._schema, strict=True)])

    def __arrow_c_schema__(self) -> object:
        """The columns, by Arrow's PyCapsule interface."""
        return self.arrow_schema.__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """The rows that are left, by Arrow's PyCapsule interface, for `pa.table(cursor)`, `pl.DataFrame(cursor)`, DuckDB's
        `FROM cursor`. Nothing is copied; those of an unbounded query come without end."""
        return self.fetch_record_batch_reader().__arrow_c_stream__(requested_schema)

    # ---- what they are taken from

    def _check_end(self, what: str) -> None:
        self._check()
        if self._result is not None and not self._result.bounded:
            raise not_supported(
                f"{what}: this query reads unbounded input and never ends", "add a LIMIT, or use fetchmany or iteration"
            )

    def _gather(self) -> None:
        """Waits for all batches. FetchTimeout loses none of them."""
        batches: list[tuple[pa.RecordBatch, Kinds]] = []
        rest = self._pull(None)
        first = (self._batch, self._kinds, self._rows, self._at)
        try:
            while rest:
                self._batch = None
                rest = self._pull(None)
                if rest:
                    batches.append((self._batch, self._kinds))
        finally:
            self._ahead = batches + self._ahead
            self._batch, self._kinds, self._rows, self._at = first

    def _pull(self, until: float | None) -> bool:
        """Sees to it that `_batch` has a row to be fetched. False at the end; FetchTimeout when none comes `until` then, by
        default within `timeout`."""
        self._check()
        result = self._there()
        if self._batch is not None and self._at < self._batch.num_rows:
            return True
        self._batch, self._rows, self._at = None, [], 0
        if self._ahead:
            self._batch, self._kinds = self._ahead.pop(0)
            return True
        assert self._pump is not None
        timeout = self.timeout if until is None else max(until - time.monotonic(), 0.0)
        try:
            with mapped():
                item = self._pump.get(timeout)
        except queue.Empty:
            raise FetchTimeout(f"no row came within {timeout:g} s; the query goes on: fetch again") from None
        if item is None:
            return False
        batch, kinds = item
        columns = list(batch.columns)
        if not result.append_only:
            codes = pa.array([0] * batch.num_rows if kinds is None else kinds, pa.int8())
            texts = pa.DictionaryArray.from_arrays(codes, pa.array(KIND_TEXT)).dictionary_decode()
            self._kinds = texts.to_pylist()
            if self.changelog == "column":
                columns.insert(0, texts)
        self._batch = pa.RecordBatch.from_arrays(columns, names=[d[0] for d in self.description or ()])
        return True

    @property
    def types(self) -> list[str]:
        """The columns' types, as SQL has them."""
        return [c.type.text() for c in self._schema]

    def _repr_html_(self) -> str | None:
        """For notebooks: the next rows, which stay to be fetched; the columns alone, where rows do not end."""
        if self._closed or self._result is None or self.description is None:
            return None
        rows = [] if self.endless else self.peek(SHOWN)
        note = "rows come without end" if self.endless else "the next rows, which stay to be fetched"
        return html_table([d[0] for d in self.description], self.types, rows, note)

    @property
    def endless(self) -> bool:
        """Whether the rows of the statement never end."""
        return self._result is not None and not self._result.bounded

    @property
    def changing(self) -> bool:
        """Whether the rows of the statement are changes, of which some take others back."""
        return self._result is not None and not self._result.append_only

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def python_rows(self, data: pa.Table | pa.RecordBatch) -> list[tuple[Any, ...]]:
        """Rows that were fetched as Arrow, as Python values."""
        batches = [data] if isinstance(data, pa.RecordBatch) else data.to_batches()
        return [row for batch in batches for row in self._python(batch)]

    def _there(self) -> Result:
        if self._result is None or self.description is None:
            raise ProgrammingError("there are no rows: the last statement was no query")
        return self._result

    def _release(self) -> None:
        pump, result = self._pump, self._result
        self._pump = self._result = None
        if pump is not None:
            pump.close()
        elif result is not None:
            result.close()

    def _check(self) -> None:
        if self._closed:
            raise InterfaceError("the cursor is closed")
        self.connection._check()


def library(name: str) -> Any:
    """pandas or Polars, which are not installed with sqlstream."""
    try:
        return importlib.import_module(name)
    except ImportError:
        raise not_supported(f"{name} is not installed", f"pip install 'sqlstream-engine[{name}]'") from None
