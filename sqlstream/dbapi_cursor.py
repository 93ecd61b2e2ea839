"""The DB-API's cursor: one statement's rows, fetched one, some or all at a time, or as Arrow."""

from __future__ import annotations

import contextlib
import queue
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from sqlstream import errors
from sqlstream.batches import KIND_TEXT
from sqlstream.dbapi_names import DataError, InterfaceError, ProgrammingError, mapped, not_supported
from sqlstream.dbapi_support import Pump, bind_parameters, python_values, wait_for
from sqlstream.results import Result, unique_names
from sqlstream.session import Session
from sqlstream.sql.parser import parse_statement
from sqlstream.types import STRING, Column, Schema

if TYPE_CHECKING:
    from types import TracebackType

    from sqlstream.dbapi import Connection

_LINGER = 1.0  # seconds that `fetchmany` waits for more rows once it has one


class Cursor:
    """One statement at a time; executing the next one closes the last result."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.arraysize = 1
        self.rowcount = -1
        self.description: list[tuple[Any, ...]] | None = None
        self.row_kind: str | None = None  # of the row that was fetched last, in a changelog
        self._closed = False
        self._reset()

    def _reset(self) -> None:
        self._result: Result | None = None
        self._schema = Schema(())
        self._pump: Pump | None = None
        self._batch: pa.RecordBatch | None = None  # the batch that `_rows` was made of
        self._rows: list[tuple[Any, ...]] = []
        self._at = 0  # the next row of `_rows`
        self.description = None
        self.rowcount = -1
        self.row_kind = None

    # ---- statements

    def execute(self, sql: str, parameters: Sequence[Any] | None = None) -> Cursor:
        """Runs one statement; `?` in it are filled in from `parameters`."""
        session = self._ready()
        with mapped():
            if not isinstance(sql, str):
                raise errors.ParseError(f"a statement is a str, not {type(sql).__name__}")
            sql = bind_parameters(sql, () if parameters is None else parameters)
            try:
                statement = parse_statement(sql)
                result = wait_for(lambda: session.statement(statement), session)
            except errors.SqlStreamError as e:
                raise e.located(sql) from None
        result.place = (sql, None, statement.position)
        return self._take(result)

    def executescript(self, sql: str) -> Cursor:
        """Runs several statements; the rows of the last one can be fetched, those of others are not computed."""
        session = self._ready()

        def all_of_them() -> Result | None:
            last = None
            for result in session.execute(sql):
                if last is not None:
                    last.close()
                last = result
            return last

        with mapped():
            last = wait_for(all_of_them, session)
        return self if last is None else self._take(last)

    def executemany(self, sql: str, parameters: Sequence[Sequence[Any]]) -> Cursor:
        raise not_supported("executemany is not supported", "INSERT INTO t VALUES (…), (…) in one statement")

    def _ready(self) -> Session:
        self._check()
        self._release()
        self._reset()
        return self.connection._session

    def _take(self, result: Result) -> Cursor:
        self._result = result
        if result.kind == "INSERT" and result.progress is not None:
            self.rowcount = result.progress.rows_out
        if result.schema is not None:
            op = () if result.append_only else (Column("op", STRING.null(False)),)
            self._schema = Schema((*op, *result.schema))
            self.description = [
                (name, c.type, None, None, c.type.precision, c.type.scale, c.type.nullable)
                for name, c in zip(unique_names(self._schema), self._schema, strict=True)
            ]
        return self

    # ---- rows

    def fetchone(self) -> tuple[Any, ...] | None:
        """The next row; waits for it. None at the end."""
        if self._at >= len(self._rows) and not self._more(None):
            return None
        row = self._rows[self._at]
        self._at += 1
        if self._result is not None and not self._result.append_only:
            self.row_kind = row[0]
        return row

    def fetchmany(self, size: int | None = None) -> list[tuple[Any, ...]]:
        """Up to `size` rows: waits for the first one, then a second at most for others. [] only at the end."""
        wanted = self.arraysize if size is None else size
        rows: list[tuple[Any, ...]] = []
        until: float | None = None
        while len(rows) < wanted:
            if self._at >= len(self._rows):
                left = None if until is None else max(until - time.monotonic(), 0.0)
                try:
                    if not self._more(left):
                        break
                except queue.Empty:
                    break
            taken = self._rows[self._at : self._at + wanted - len(rows)]
            self._at += len(taken)
            rows += taken
            until = until or time.monotonic() + _LINGER
        if rows and self._result is not None and not self._result.append_only:
            self.row_kind = rows[-1][0]
        return rows

    def fetchall(self) -> list[tuple[Any, ...]]:
        """All rows that are left; NotSupportedError where they would never end."""
        self._check_end("fetchall")
        rows = self._rows[self._at :]
        while self._more(None):
            rows += self._rows
        self._at = len(self._rows)
        return rows

    def fetch_record_batch(self) -> pa.RecordBatch | None:
        """The next batch, or what `fetchone` has left of it; None at the end."""
        if self._batch is None or self._at >= self._batch.num_rows:
            if not self._pull(None):
                return None
            self._rows = []
        assert self._batch is not None
        batch = self._batch.slice(self._at)
        self._batch, self._rows, self._at = None, [], 0
        return batch

    def fetch_arrow_table(self) -> pa.Table:
        """All rows that are left, as one table."""
        self._check_end("fetch_arrow_table")
        batches = []
        while (batch := self.fetch_record_batch()) is not None:
            batches.append(batch)
        names = [d[0] for d in self.description or ()]
        types = [c.type.arrow_outside() for c in self._schema]
        return pa.Table.from_batches(batches, pa.schema(list(zip(names, types, strict=True))))

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return self

    def __next__(self) -> tuple[Any, ...]:
        row = self.fetchone()
        if row is None:
            raise StopIteration
        return row

    def _check_end(self, what: str) -> None:
        self._check()
        if self._result is not None and not self._result.bounded:
            raise not_supported(
                f"{what}: this query reads unbounded input and never ends", "add a LIMIT, or use fetchmany or iteration"
            )

    def _more(self, timeout: float | None) -> bool:
        """Puts the next batch into `_rows`. False at the end, queue.Empty after `timeout` seconds."""
        if not self._pull(timeout):
            return False
        assert self._batch is not None
        try:
            columns = [python_values(self._batch.column(i), c.type) for i, c in enumerate(self._schema)]
        except (ValueError, OverflowError) as e:
            raise DataError(f"a value is no Python value: {e}; fetch_record_batch gives it as Arrow") from e
        self._rows = list(zip(*columns, strict=True))
        return True

    def _pull(self, timeout: float | None) -> bool:
        """Puts the next batch that has rows into `_batch`."""
        self._check()
        if self._result is None or self.description is None:
            raise ProgrammingError("there are no rows: the last statement was no query")
        if self._pump is None:
            self._pump = Pump(self._result)
        with mapped():
            item = self._pump.get(timeout)
        if item is None:
            self._batch, self._rows, self._at = None, [], 0
            return False
        batch, kinds = item
        columns = list(batch.columns)
        if not self._result.append_only:
            codes = pa.array([0] * batch.num_rows if kinds is None else kinds, pa.int8())
            columns.insert(0, pa.DictionaryArray.from_arrays(codes, pa.array(KIND_TEXT)).dictionary_decode())
        self._batch = pa.RecordBatch.from_arrays(columns, names=[d[0] for d in self.description])
        self._rows, self._at = [], 0
        return True

    # ---- end

    def close(self) -> None:
        """Stops what still runs for the result, and waits for it. May be called again."""
        self._release()
        self._closed = True

    def _release(self) -> None:
        if self._pump is not None:
            self._pump.close()
        elif self._result is not None:
            self._result.close()
        self._pump = self._result = None

    def _check(self) -> None:
        if self._closed:
            raise InterfaceError("the cursor is closed")
        self.connection._check()

    def setinputsizes(self, sizes: Sequence[Any]) -> None:
        """PEP 249 has it; there is nothing to set."""

    def setoutputsize(self, size: int, column: int | None = None) -> None:
        """PEP 249 has it; there is nothing to set."""

    def __enter__(self) -> Cursor:
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __del__(self) -> None:
        with contextlib.suppress(Exception):
            self._release()
