"""ToChangelog: the changes of its input as rows that stay, with a column for their kind. No state.

The input comes through a Changelog, so that an epoch's changes are net, and in an order in which they can be applied.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from sqlstream.batches import OP, Delta, Kind
from sqlstream.operators.base import Operator, OperatorContext, PhysicalNode, Traits
from sqlstream.operators.changelog import Changelog
from sqlstream.operators.distribution import Spread
from sqlstream.operators.lowering import Lowering, lower
from sqlstream.plan import nodes
from sqlstream.types import Schema


@dataclass(frozen=True)
class ToChangelog(PhysicalNode):
    """`codes`: the texts of the kinds that are told; `output`: the column of the texts, then the input's."""

    codes: tuple[tuple[Kind, str], ...]
    output: Schema

    name = "ToChangelog"
    changes = ""

    def __post_init__(self) -> None:
        self.derive(self.output, Traits())

    def distribution(self) -> tuple[tuple[int, ...] | None, ...]:
        return (None,)

    def spread(self) -> Spread | None:
        placed = self.placed(0)
        return None if placed is None else placed.moved(lambda c: (c + 1,))

    def details(self) -> str:
        return f"op={self.output[0].name}, op_mapping=[{', '.join(f'{k.name}={code}' for k, code in self.codes)}]"

    def operator(self, context: OperatorContext) -> Operator:
        return ToChangelogOperator(self, context)


@lower.register(nodes.ToChangelog)
def _to_changelog(node: nodes.ToChangelog, job: Lowering) -> PhysicalNode:
    below = job.lower(node.input)
    if not below.traits.append_only:
        below = job.once((node, "changes"), lambda: Changelog((below,), below.traits.key))
    return ToChangelog((below,), node.codes, node.schema)


class ToChangelogOperator(Operator):
    """The running half."""

    def __init__(self, node: ToChangelog, context: OperatorContext) -> None:
        super().__init__(context)
        self.width, self.schema = len(node.output) - 1, node.arrow_schema()
        codes = dict(node.codes)
        self.texts = pa.array([codes.get(k) for k in Kind], self.schema.field(0).type)
        self.told = np.array([k in codes for k in Kind])

    def step(self, inputs: list[Delta]) -> Delta:
        batches = [self._rows(b) for b in inputs[0].batches if b.num_rows]
        return Delta([b for b in batches if b.num_rows], inputs[0].time)

    def _rows(self, b: pa.RecordBatch) -> pa.RecordBatch:
        at = b.schema.get_field_index(OP)
        kinds = np.full(b.num_rows, Kind.INSERT, np.int8) if at < 0 else b.column(at).to_numpy()
        out = pa.RecordBatch.from_arrays(
            [self.texts.take(pa.array(kinds)), *b.columns[: self.width]], schema=self.schema
        )
        told = self.told[kinds]
        return out if told.all() else out.filter(pa.array(told))
