"""Derived columns, and the engine's exact Arrow types, for readers that do not decode with one DuckDB statement."""

from __future__ import annotations

import contextlib
from functools import cached_property

import pyarrow as pa

from sqlstream.contracts import ScanRequest
from sqlstream.duck import Given
from sqlstream.types import rename_array


class Derivation:
    """Appends the derived columns of `request` to batches (c0, c1, …). For one thread at a time."""

    def __init__(self, request: ScanRequest) -> None:
        self._request = request
        self._computed = dict(request.computed)
        self._statements: dict[frozenset[str], str] = {}

    def of(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The batch with the derived columns behind its own; rows and their order stay. Raises DuckDB's errors."""
        if not self._request.derived:
            return batch
        made = {}
        for alias, compute in self._computed.items():
            with contextlib.suppress(pa.ArrowInvalid):
                made[alias] = compute(batch)
        if len(made) < len(self._request.derived):
            made |= self._by_statement(batch, frozenset(made))
        for alias, _ in self._request.derived:
            batch = batch.append_column(pa.field(alias, made[alias].type), made[alias])
        return batch

    def _by_statement(self, batch: pa.RecordBatch, made: frozenset[str]) -> dict[str, pa.Array]:
        """Those that are not made yet."""
        sql = self._statements.get(made)
        if sql is None:
            left = (f"{expression} AS {alias}" for alias, expression in self._request.derived if alias not in made)
            sql = self._statements[made] = f"SELECT {', '.join(left)} FROM derived"
        table = self._given.run(sql, batch).combine_chunks()
        columns = zip(table.column_names, table.columns, strict=True)
        return {name: c.chunk(0) if c.num_chunks else pa.array([], c.type) for name, c in columns}

    @cached_property
    def _given(self) -> Given:
        # here: it brings fsspec along, which a query without tables does not need
        from sqlstream.formats.cursor import scan_cursor

        return Given(scan_cursor(self._request), "derived")


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
