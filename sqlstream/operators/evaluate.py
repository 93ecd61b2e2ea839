"""Scalar expressions over a batch: one DuckDB statement, run on every batch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pyarrow as pa

from sqlstream import duck
from sqlstream.functions.user import UserFunction


class Evaluator:
    """`select` (alias, SQL) pairs over the batch's columns by name, of the rows where `where` is true, in order.

    `used`: the Python functions that the SQL calls, as rendering has found them.

    Runs on the calling thread; DuckDB releases Python's lock while it works. One thread at a time may use it.
    """

    def __init__(
        self,
        select: Sequence[tuple[str, str]],
        where: str | None = None,
        time_zone: str = "UTC",
        used: Iterable[UserFunction] = (),
    ) -> None:
        columns = ", ".join(f"{sql} AS {alias}" for alias, sql in select)
        self._open(f"SELECT {columns} FROM input" + (f" WHERE {where}" if where else ""), time_zone, used)

    @classmethod
    def of(cls, sql: str, time_zone: str = "UTC", used: Iterable[UserFunction] = ()) -> Evaluator:
        """Any query over the relation `input`."""
        made = cls.__new__(cls)
        made._open(sql, time_zone, used)
        return made

    @staticmethod
    def constant(sql: str, time_zone: str = "UTC") -> pa.RecordBatch:
        """The rows of a query over nothing."""
        con = duck.shared(time_zone)
        try:
            return one_batch(con.sql(sql).to_arrow_table())
        except Exception as e:
            raise duck.translate(e) from None
        finally:
            con.close()

    def _open(self, sql: str, time_zone: str, used: Iterable[UserFunction]) -> None:
        self._sql = sql
        self._connection = duck.shared(time_zone)
        duck.prepare_functions(self._connection, used)
        self._input = duck.Given(self._connection, "input")

    def run(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The query over a batch as `input`. Its errors come as ours, DataError for a value that fails."""
        try:
            return one_batch(self._input.run(self._sql, batch))
        except Exception as e:
            raise duck.translate(e) from None

    def close(self) -> None:
        """Its connection is gone; not to be run any more."""
        self._connection.close()


def one_batch(table: pa.Table) -> pa.RecordBatch:
    """A table as a single batch; copies only when it has several chunks."""
    batches = table.to_batches()
    if len(batches) == 1:
        return batches[0]
    if not batches:
        return pa.RecordBatch.from_arrays([pa.array([], f.type) for f in table.schema], schema=table.schema)
    return table.combine_chunks().to_batches()[0]
