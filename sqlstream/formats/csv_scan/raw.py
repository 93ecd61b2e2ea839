"""Values of types that the scanner has no loop for (BYTES, intervals), of their text."""

from __future__ import annotations

import duckdb
import pyarrow as pa

from sqlstream.duck import Given
from sqlstream.formats.conversion import convert
from sqlstream.formats.scan.plan import ColumnPlan
from sqlstream.types import rename_array


class RawValues:
    """By a statement."""

    def __init__(self, plan: ColumnPlan, cursor: duckdb.DuckDBPyConnection) -> None:
        self._names = [f"x{c.string}" for c in plan.raw]
        values = ", ".join(f"{convert(c.type.null(), n)} AS {n}" for n, c in zip(self._names, plan.raw, strict=True))
        self._sql = f"SELECT {values} FROM raw_texts"
        self._types = [c.type.arrow() for c in plan.raw]
        self._given = Given(cursor, "raw_texts")

    def __call__(self, texts: list[pa.Array]) -> list[pa.Array]:
        """Raises DuckDB's errors."""
        if not len(texts[0]):
            return [pa.array([], t) for t in self._types]
        table = self._given.run(self._sql, pa.RecordBatch.from_arrays(texts, names=self._names))
        return [rename_array(pa.concat_arrays(c.chunks), t) for c, t in zip(table.columns, self._types, strict=True)]
