"""Target: one result of a job. Apart from the lowering, which loads every operator: batch needs targets as well."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from sqlstream.connectors.base import Sink as TableSink
from sqlstream.errors import DataError
from sqlstream.plan import nodes
from sqlstream.types import Schema


@dataclass(frozen=True)
class Target:
    """Where a query's rows go: into a table, or (no sink) to the caller."""

    plan: nodes.Node
    output: Schema
    table: str = ""
    sink: TableSink | None = None

    def refuse_nulls(self, batch: pa.RecordBatch) -> None:
        refuse_nulls(self.table, self.output, batch)


def refuse_nulls(table: str, output: Schema, batch: pa.RecordBatch) -> None:
    """DataError where `batch` has a NULL for a NOT NULL column of the table."""
    for i, c in enumerate(output):
        if not c.type.nullable and batch.column(i).null_count:
            raise DataError(
                f"table {table}: NULL for column '{c.name}', which is NOT NULL",
                hint="filter such rows out (WHERE … IS NOT NULL), or declare the column nullable",
            )
