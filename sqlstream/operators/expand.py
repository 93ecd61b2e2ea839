"""Expand: each row once for each grouping set of GROUPING SETS, ROLLUP or CUBE, with NULL for the columns that are not in
the set, and its number. No state; a retracted row retracts its copies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from sqlstream.batches import Delta, meet
from sqlstream.operators.base import Operator, OperatorContext, PhysicalNode, RowByRow, Traits
from sqlstream.operators.distribution import Spread, places_in
from sqlstream.operators.lowering import Lowering, lower
from sqlstream.plan import nodes
from sqlstream.types import Schema


@dataclass(frozen=True)
class Expand(RowByRow):
    """`nulled`: of each set the columns that are NULL; `ids`: the sets' numbers, for the last column."""

    nulled: tuple[tuple[int, ...], ...]
    ids: tuple[int, ...]
    output: Schema

    name = "Expand"

    def __post_init__(self) -> None:
        t = self.inputs[0].traits
        # A row and the number of its set identify a copy, unless a column of the key is NULL in some.
        key = (*t.key, len(self.output) - 1) if t.key and not self._changed() & set(t.key) else ()
        self.derive(self.output, Traits(t.append_only, key, t.row_wm, t.arrival))

    def _changed(self) -> set[int]:
        return {c for columns in self.nulled for c in columns}

    def spread(self) -> Spread | None:
        placed, changed = self.placed(0), self._changed()
        kept = [None if i in changed else i for i in range(len(self.output) - 1)]
        return None if placed is None else placed.moved(places_in(kept))

    def details(self) -> str:
        names = self.inputs[0].schema.names
        sets = ("{" + ", ".join(n for i, n in enumerate(names) if i not in columns) + "}" for columns in self.nulled)
        return f"sets=[{', '.join(sets)}]"

    def operator(self, context: OperatorContext) -> Operator:
        return ExpandOperator(self, context)


@lower.register(nodes.Expand)
def _expand(node: nodes.Expand, job: Lowering) -> PhysicalNode:
    return Expand((job.lower(node.input),), node.nulled, node.ids, node.schema)


class ExpandOperator(Operator):
    """The running half: columns are shared by the copies."""

    def __init__(self, node: Expand, context: OperatorContext) -> None:
        super().__init__(context)
        self.node, self.schema = node, node.arrow_schema()

    def step(self, inputs: list[Delta]) -> Delta:
        sets = list(zip(self.node.nulled, self.node.ids, strict=True))
        batches = [self._copy(b, *s) for b in inputs[0].batches if b.num_rows for s in sets]
        return Delta(batches, meet([d.time for d in inputs]))

    def _copy(self, b: pa.RecordBatch, nulled: tuple[int, ...], number: int) -> pa.RecordBatch:
        width = len(self.node.output) - 1
        columns = [
            pa.nulls(b.num_rows, self.schema.field(i).type) if i in nulled else c
            for i, c in enumerate(b.columns[:width])
        ]
        hidden = b.columns[width : width + len(self.node.traits.hidden)]
        ids = pa.array(np.full(b.num_rows, number, np.int64))
        return pa.RecordBatch.from_arrays([*columns, ids, *hidden], schema=self.schema)
