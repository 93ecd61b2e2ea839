"""Unnest: a row for each element of an ARRAY, MAP or MULTISET column: the input's columns, then the element's.

No state; a retracted row retracts its elements. An element that is a ROW gives a column a field (where the output
says so), a MAP its key and value, a MULTISET each element as often as it is in it. NULL and empty give no row
(INNER) or one row of NULLs (LEFT). `ordinality`: a last INT column counts the elements from 1. A whole array in each row
of its elements is as much as its square: a Project that does not read it says so (`Unnest.without_array`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa

from sqlstream.batches import Delta, meet
from sqlstream.errors import InternalError
from sqlstream.operators.base import Operator, OperatorContext, PhysicalNode, RowByRow, Traits
from sqlstream.operators.lowering import Lowering, lower
from sqlstream.plan import nodes
from sqlstream.state.arrays import Array, plain, validity
from sqlstream.types import Schema


@dataclass(frozen=True)
class Unnest(RowByRow):
    """Takes apart `column`; `kind` is INNER or LEFT. `unread`: nobody reads the column itself, which is NULL then."""

    column: int
    kind: str
    ordinality: bool
    output: Schema
    unread: bool = field(default=False, kw_only=True, metadata=nodes.TUNING)

    name = "Unnest"

    def __post_init__(self) -> None:
        (input_,) = self.inputs
        if self.kind not in ("INNER", "LEFT"):
            raise InternalError(f"Unnest: kind {self.kind}")
        if len(self.output) - len(input_.schema) - self.ordinality not in self._widths():
            raise InternalError(f"Unnest: {len(self.output)} output columns")
        t = input_.traits
        # A row and the place in it identify an element; of a LEFT one without elements the place is NULL.
        key = (*t.key, len(self.output) - 1) if t.key and self.ordinality else ()
        # Without `_ord`: a row's elements stood in one place, and the logical plan knows no order of them.
        self.derive(self.output, Traits(t.append_only, key, t.row_wm))

    def _widths(self) -> tuple[int, ...]:
        t = self.inputs[0].schema[self.column].type
        if t.kind == "MAP":
            return (2,)
        if t.kind not in ("ARRAY", "MULTISET"):
            raise InternalError(f"Unnest of {t}")
        return (1, len(t.fields[0].type.fields)) if t.fields[0].type.kind == "ROW" else (1,)

    @property
    def splits_rows(self) -> bool:
        """Whether an element that is a ROW comes as its fields."""
        t, at = self.inputs[0].schema[self.column].type, len(self.inputs[0].schema)
        if t.kind == "MAP" or t.fields[0].type.kind != "ROW":
            return False
        several = len(self.output) - at - self.ordinality > 1
        return several or self.output[at].type.arrow() != t.fields[0].type.arrow()

    def without_array(self) -> Unnest:
        """This node for a reader that does not take the column."""
        return replace(self, unread=True)

    def details(self) -> str:
        text = f"{self.kind}, column={self.inputs[0].schema[self.column].name}"
        return text + ", ordinality" if self.ordinality else text

    def operator(self, context: OperatorContext) -> Operator:
        return UnnestOperator(self, context)


@lower.register(nodes.Unnest)
def _unnest(node: nodes.Unnest, job: Lowering) -> PhysicalNode:
    return Unnest((job.lower(node.input),), node.column, node.kind, node.ordinality, node.schema)


class UnnestOperator(Operator):
    """The running half: elements are taken by number from the column's child arrays, without a loop over rows."""

    def __init__(self, node: Unnest, context: OperatorContext) -> None:
        super().__init__(context)
        self.node, self.schema = node, node.arrow_schema()
        self.width = len(node.inputs[0].schema)

    def step(self, inputs: list[Delta]) -> Delta:
        batches = [self._unnested(b) for b in inputs[0].batches if b.num_rows]
        return Delta([b for b in batches if b.num_rows], meet([d.time for d in inputs]))

    def _unnested(self, b: pa.RecordBatch) -> pa.RecordBatch:
        node, values = self.node, plain(b.column(self.node.column))
        kind = node.inputs[0].schema[node.column].type.kind
        offsets = values.offsets.to_numpy()
        length = np.diff(offsets)
        valid = validity(values)
        if valid.size:
            length = np.where(valid, length, 0)
        children = [values.values] if kind == "ARRAY" else [values.keys, values.items]
        parent, at, place = expanded(offsets[:-1].astype(np.int64), length)
        if kind == "MULTISET":
            times = children.pop().take(pa.array(at)).to_numpy(zero_copy_only=False)
            parent, at = np.repeat(parent, times), np.repeat(at, times)
            length = np.bincount(parent, minlength=b.num_rows)
            place = expanded(np.zeros(b.num_rows, np.int64), length)[2]
        missing: Array | None = None
        if node.kind == "LEFT" and (length == 0).any():
            alone = np.flatnonzero(length == 0)
            order = np.argsort(np.concatenate([parent, alone]), kind="stable")
            missing = np.repeat([False, True], [len(parent), len(alone)])[order]
            parent = np.concatenate([parent, alone])[order]
            at, place = (np.concatenate([a, np.zeros(len(alone), np.int64)])[order] for a in (at, place))
        if node.unread:
            field = b.schema.field(node.column)
            b = b.set_column(node.column, field.with_nullable(True), pa.nulls(b.num_rows, field.type))
        rows = b.take(pa.array(parent))
        index = pa.array(at, mask=missing)
        elements = [c.take(index) for c in children]
        if node.splits_rows:
            elements = elements[0].flatten()
        if node.ordinality:
            elements.append(pa.array((place + 1).astype(np.int32), mask=missing))
        columns = [
            *rows.columns[: self.width],
            *elements,
            *rows.columns[self.width : self.width + len(node.traits.hidden)],
        ]
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)


def expanded(first: Array, length: Array) -> tuple[Array, Array, Array]:
    """Of ranges [first, first + length): for each member its range, the member, and its place in the range."""
    parent = np.repeat(np.arange(len(length)), length)
    place = np.arange(len(parent)) - np.repeat(np.cumsum(length) - length, length)
    return parent, first[parent] + place, place
