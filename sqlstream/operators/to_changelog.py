"""ToChangelog: the changes of its input as rows that stay, with a column for their kind. No state.

The input comes through a Changelog, so that an epoch's changes are net, and in an order in which they can be applied.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sqlstream.batches import OP, Delta, Kind
from sqlstream.operators.base import Operator, OperatorContext, PhysicalNode, Traits
from sqlstream.operators.changelog import Changelog
from sqlstream.operators.distribution import Spread
from sqlstream.operators.lowering import Lowering, lower
from sqlstream.plan import nodes
from sqlstream.types import Schema


@dataclass(frozen=True)
class ToChangelog(PhysicalNode):
    """`codes`: the texts of the kinds that are told; `output`: the first `partition` columns, by which rows are put together,
    that of the texts, then the others; `blank`: columns that are NULL in rows that are deleted."""

    codes: tuple[tuple[Kind, str], ...]
    output: Schema
    partition: int = 0
    blank: tuple[int, ...] = ()

    name = "ToChangelog"
    changes = ""

    def __post_init__(self) -> None:
        self.derive(self.output, Traits())

    def distribution(self) -> tuple[tuple[int, ...] | None, ...]:
        return (tuple(range(self.partition)) or None,)

    def spread(self) -> Spread | None:
        placed = self.placed(0)
        return None if placed is None else placed.moved(lambda c: (c + (c >= self.partition),))

    def details(self) -> str:
        names = self.inputs[0].schema.names
        text = f"op={self.output[self.partition].name}, op_mapping=[{', '.join(f'{k.name}={code}' for k, code in self.codes)}]"
        if self.partition:
            text = f"partition=[{', '.join(names[: self.partition])}], {text}"
        return text + (f", null when deleted=[{', '.join(names[i] for i in self.blank)}]" if self.blank else "")

    def operator(self, context: OperatorContext) -> Operator:
        return ToChangelogOperator(self, context)


@lower.register(nodes.ToChangelog)
def _to_changelog(node: nodes.ToChangelog, job: Lowering) -> PhysicalNode:
    below = job.lower(node.input)
    if not below.traits.append_only:
        below = job.once((node, "changes"), lambda: Changelog((below,), below.traits.key))
    return ToChangelog((below,), node.codes, node.schema, node.partition, node.blank)


class ToChangelogOperator(Operator):
    """The running half."""

    def __init__(self, node: ToChangelog, context: OperatorContext) -> None:
        super().__init__(context)
        self.node, self.width, self.schema = node, len(node.output) - 1, node.arrow_schema()
        codes = dict(node.codes)
        self.texts = pa.array([codes.get(k) for k in Kind], self.schema.field(node.partition).type)
        self.told = np.array([k in codes for k in Kind])

    def step(self, inputs: list[Delta]) -> Delta:
        batches = [self._rows(b) for b in inputs[0].batches if b.num_rows]
        return Delta([b for b in batches if b.num_rows], inputs[0].time)

    def _rows(self, b: pa.RecordBatch) -> pa.RecordBatch:
        at = b.schema.get_field_index(OP)
        kinds = np.full(b.num_rows, Kind.INSERT, np.int8) if at < 0 else b.column(at).to_numpy()
        columns, at = b.columns[: self.width], self.node.partition
        if self.node.blank and (deleted := kinds == Kind.DELETE).any():
            for i in self.node.blank:
                columns[i] = pc.if_else(pa.array(deleted), pa.scalar(None, columns[i].type), columns[i])
        texts = self.texts.take(pa.array(kinds))
        out = pa.RecordBatch.from_arrays([*columns[:at], texts, *columns[at:]], schema=self.schema)
        told = self.told[kinds]
        return out if told.all() else out.filter(pa.array(told))
