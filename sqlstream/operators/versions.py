"""Versions: records of changes as rows that only come, each with whether it leaves a row. No state."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from sqlstream.batches import OP, Delta, Kind, hidden
from sqlstream.errors import InternalError
from sqlstream.operators.base import Operator, OperatorContext, PhysicalNode, RowByRow, Traits
from sqlstream.operators.lowering import Lowering, lower
from sqlstream.plan import nodes
from sqlstream.types import Schema


@dataclass(frozen=True)
class Versions(RowByRow):
    """The input's columns, then BOOLEAN: false of a -D. A -U says nothing."""

    output: Schema

    name = "Versions"

    def __post_init__(self) -> None:
        below = self.inputs[0].traits
        if below.append_only:
            raise InternalError("Versions takes changes")
        self.derive(self.output, Traits(row_wm=below.row_wm, arrival=below.arrival))

    def details(self) -> str:
        return ""

    def operator(self, context: OperatorContext) -> Operator:
        return VersionsOperator(self, context)


@lower.register(nodes.Versions)
def _versions(node: nodes.Versions, job: Lowering) -> PhysicalNode:
    return Versions((job.lower(node.input),), node.schema)


class VersionsOperator(Operator):
    """The running half."""

    def __init__(self, node: Versions, context: OperatorContext) -> None:
        super().__init__(context)
        self.schema, self.width, self.hidden = node.arrow_schema(), len(node.inputs[0].schema), node.traits.hidden

    def step(self, inputs: list[Delta]) -> Delta:
        (delta,) = inputs
        return Delta([self._told(b) for b in delta.batches if b.num_rows], delta.time)

    def _told(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        op = hidden(batch, OP)
        assert op is not None
        says = op != Kind.UPDATE_BEFORE
        if not says.all():
            batch, op = batch.filter(pa.array(says)), op[says]
        columns = [*batch.columns[: self.width], pa.array(np.asarray(op != Kind.DELETE))]
        columns += [batch.column(batch.schema.get_field_index(h)) for h in self.hidden]
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)
