"""Derived columns, and the engine's exact Arrow types, for readers that do not decode with one DuckDB statement."""

from __future__ import annotations

import pyarrow as pa

from sqlstream.contracts import ScanRequest
from sqlstream.duck import Given
from sqlstream.types import rename_array


class Derivation:
    """Appends the derived columns of `request` to batches (c0, c1, …). For one thread at a time."""

    def __init__(self, request: ScanRequest) -> None:
        self._sql = ""
        if request.derived:
            # here: it brings fsspec along, which a query without tables does not need
            from sqlstream.formats.cursor import scan_cursor

            expressions = ", ".join(f"{expression} AS {alias}" for alias, expression in request.derived)
            self._sql = f"SELECT {expressions} FROM derived"
            self._derived = Given(scan_cursor(request), "derived")

    def of(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The batch with the derived columns behind its own; rows and their order stay."""
        if not self._sql:
            return batch
        table = self._derived.run(self._sql, batch).combine_chunks()
        for name in table.column_names:
            column = table.column(name)
            array = column.chunk(0) if column.num_chunks else pa.array([], column.type)
            batch = batch.append_column(pa.field(name, array.type), array)
        return batch


def conform(batch: pa.RecordBatch, request: ScanRequest) -> pa.RecordBatch:
    """`batch` with c0, c1, … of exactly the engine's types (names of nested fields included); what follows stays."""
    want = request.arrow_schema()
    if all(batch.schema.field(i).type == f.type and str(batch.schema.field(i).type) == str(f.type)
           for i, f in enumerate(want)):  # fmt: skip
        return batch
    arrays = [rename_array(batch.column(i), f.type) for i, f in enumerate(want)]
    fields = list(want)
    for i in range(len(want), batch.num_columns):
        arrays.append(batch.column(i))
        fields.append(batch.schema.field(i))
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))
