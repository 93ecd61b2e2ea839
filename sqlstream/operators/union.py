"""UnionAll: the rows of all inputs. No state.

Hidden columns are made the same: `_op` is +I where an input is append-only and another is not; `_wm` is the least
value, so that nothing is late, where an input has none; `_ord` goes: places in different inputs are in no order, and
the logical plan says so (`knows_arrival`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from sqlstream.batches import HIDDEN_TYPES, NO_WATERMARK, OP, WM, Delta, Kind, meet
from sqlstream.errors import InternalError
from sqlstream.operators.base import Operator, OperatorContext, PhysicalNode, Traits
from sqlstream.operators.distribution import Spread
from sqlstream.operators.lowering import Lowering, lower
from sqlstream.plan import nodes
from sqlstream.types import Schema

MISSING = {OP: int(Kind.INSERT), WM: NO_WATERMARK}


@dataclass(frozen=True)
class UnionAll(PhysicalNode):
    """`output` names the columns; the types are those of every input."""

    output: Schema

    name = "Union"
    changes = ""

    def __post_init__(self) -> None:
        for n in self.inputs:
            if n.schema.arrow() != self.output.arrow():
                raise InternalError(f"UnionAll: {n.schema.arrow()} is not {self.output.arrow()}")
        traits = [n.traits for n in self.inputs]
        self.derive(
            self.output,
            Traits(
                append_only=all(t.append_only for t in traits),
                row_wm=any(t.row_wm for t in traits),
            ),
        )

    def distribution(self) -> tuple[tuple[int, ...] | None, ...]:
        return tuple(None for _ in self.inputs)

    def spread(self) -> Spread | None:
        out = self.placed(0)
        for i in range(1, len(self.inputs)):
            other = self.placed(i)
            out = None if out is None or other is None else out.common(other)
        return out

    def details(self) -> str:
        return ""

    def operator(self, context: OperatorContext) -> Operator:
        return UnionOperator(self, context)


@lower.register(nodes.Union)
def _union(node: nodes.Union, job: Lowering) -> PhysicalNode:
    return UnionAll(tuple(job.lower(i) for i in node.all_inputs), node.schema)


class UnionOperator(Operator):
    """The running half: batches go through, with the hidden columns that the output has."""

    def __init__(self, node: UnionAll, context: OperatorContext) -> None:
        super().__init__(context)
        self.schema = node.arrow_schema()

    def step(self, inputs: list[Delta]) -> Delta:
        batches = [self._adapted(b) for d in inputs for b in d.batches if b.num_rows]
        return Delta(batches, meet([d.time for d in inputs]))

    def _adapted(self, b: pa.RecordBatch) -> pa.RecordBatch:
        if b.schema.equals(self.schema):
            return b
        columns = []
        for name in self.schema.names:
            i = b.schema.get_field_index(name)
            if i >= 0:
                columns.append(b.column(i))
            else:
                columns.append(pa.array(np.full(b.num_rows, MISSING[name]), HIDDEN_TYPES[name]))
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)
