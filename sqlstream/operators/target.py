"""Target: one result of a job. Apart from the lowering, which loads every operator: batch needs targets as well."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from sqlstream.contracts import Sink as TableSink
from sqlstream.errors import BindError, DataError
from sqlstream.plan import nodes
from sqlstream.types import Schema


@dataclass(frozen=True)
class Target:
    """Where a query's rows go: into a table, or (no sink) to the caller."""

    plan: nodes.Node
    output: Schema
    table: str = ""
    sink: TableSink | None = None
    tables: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # its own and those it reads: their options
    overwrite: bool = False
    conflict: str | None = None  # ON CONFLICT DO …: NOTHING, ERROR, DEDUPLICATE

    def refuse_conflict(self, materialize: str) -> None:
        """BindError for ON CONFLICT where rows meet in no key, or nobody looks. `materialize`: option
        table.exec.sink.upsert-materialize."""
        if self.conflict is None:
            return
        clause = f"ON CONFLICT DO {self.conflict}"
        if self.sink is None or not self.sink.primary_key:
            takes = "all changes, with the row before each" if self.sink and self.sink.changelog else "inserts only"
            raise BindError(
                f"{clause}: table {self.table} takes {takes}: it does not know rows by a key",
                hint="it is for tables with a PRIMARY KEY whose connector writes by it",
            )
        if materialize == "NONE":
            raise BindError(
                f"{clause}: option 'table.exec.sink.upsert-materialize' is NONE: nobody would see that rows meet",
                hint="SET 'table.exec.sink.upsert-materialize' = 'AUTO', or leave the clause out",
            )

    @property
    def waits_for_watermark(self) -> bool:
        """Whether its sink does."""
        return self.sink is not None and self.sink.waits_for_watermark

    def refuse_nulls(self, batch: pa.RecordBatch) -> None:
        """DataError where `batch`, c0, c1, …, has a NULL for a NOT NULL column of the table."""
        refuse_nulls(self.table, self.output, batch)


def refuse_nulls(table: str, output: Schema, batch: pa.RecordBatch) -> None:
    """DataError where `batch` has a NULL for a NOT NULL column of the table."""
    for i, c in enumerate(output):
        if not c.type.nullable and batch.column(i).null_count:
            raise DataError(
                f"table {table}: NULL for column '{c.name}', which is NOT NULL",
                hint="filter such rows out (WHERE … IS NOT NULL), or declare the column nullable",
            )
