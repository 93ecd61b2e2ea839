"""FromChangelog: rows as changes, of the kind that a column of texts says. No state: what is taken back was there, or will
be, as in a table of changes without a key."""

from __future__ import annotations

from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from sqlstream.batches import HIDDEN_TYPES, OP, WM, Delta, Kind
from sqlstream.errors import DataError, NotSupported
from sqlstream.operators.base import Operator, OperatorContext, PhysicalNode, Traits
from sqlstream.operators.distribution import Spread, places_in
from sqlstream.operators.lowering import Lowering, first_changing, lower
from sqlstream.plan import nodes
from sqlstream.types import Schema


@dataclass(frozen=True)
class FromChangelog(PhysicalNode):
    """`op`: the column of the texts; `kinds`: what they mean."""

    op: int
    kinds: tuple[tuple[str, Kind], ...]
    output: Schema
    called: str = field(default="op", compare=False)

    name = "FromChangelog"
    changes = "FROM_CHANGELOG gives changes"

    def __post_init__(self) -> None:
        self.derive(self.output, Traits(append_only=False, row_wm=self.inputs[0].traits.row_wm))

    def distribution(self) -> tuple[tuple[int, ...] | None, ...]:
        return (None,)

    def spread(self) -> Spread | None:
        placed = self.placed(0)
        there = [i for i in range(len(self.inputs[0].schema)) if i != self.op]
        return None if placed is None else placed.moved(places_in(there))

    def details(self) -> str:
        op = self.inputs[0].schema[self.op].name
        return f"op={op}, op_mapping=[{', '.join(f'{code}={k.name}' for code, k in self.kinds)}]"

    def operator(self, context: OperatorContext) -> Operator:
        return FromChangelogOperator(self, context)


@lower.register(nodes.FromChangelog)
def _from_changelog(node: nodes.FromChangelog, job: Lowering) -> PhysicalNode:
    below = job.lower(node.input)
    if not below.traits.append_only:
        cause = first_changing(below)
        raise NotSupported(
            f"FROM_CHANGELOG takes rows that stay, and its table's can change: {cause.changes}",
            hint=f"TO_CHANGELOG makes rows of changes; or {cause.once}",
        )
    return FromChangelog((below,), node.op, node.kinds, node.schema, node.called)


class FromChangelogOperator(Operator):
    """The running half."""

    def __init__(self, node: FromChangelog, context: OperatorContext) -> None:
        super().__init__(context)
        self.node, self.schema = node, node.arrow_schema()
        self.codes = pa.array([code for code, _ in node.kinds], node.inputs[0].schema[node.op].type.arrow())
        self.kinds = pa.array([k for _, k in node.kinds], HIDDEN_TYPES[OP])

    def step(self, inputs: list[Delta]) -> Delta:
        return Delta([self._changes(b) for b in inputs[0].batches if b.num_rows], inputs[0].time)

    def _changes(self, b: pa.RecordBatch) -> pa.RecordBatch:
        node, width = self.node, len(self.node.inputs[0].schema)
        found = pc.index_in(b.column(node.op), self.codes)
        if found.null_count:
            raise self._unknown(b.slice(pc.index(found.is_null(), True).as_py(), 1))
        columns = [c for i, c in enumerate(b.columns[:width]) if i != node.op]
        marks = [b.column(b.schema.get_field_index(WM))] if node.traits.row_wm else []
        return pa.RecordBatch.from_arrays([*columns, self.kinds.take(found), *marks], schema=self.schema)

    def _unknown(self, row: pa.RecordBatch) -> DataError:
        schema = self.node.inputs[0].schema
        name, code = self.node.called, row.column(self.node.op)[0].as_py()
        names = [name if i == self.node.op else c.name for i, c in enumerate(schema)]
        shown = ", ".join(f"{n} = {row.column(i)[0].as_py()!r}" for i, n in enumerate(names))
        return DataError(
            f"FROM_CHANGELOG: {name} is {'NULL' if code is None else repr(code)}, which is no kind of change, in the row {shown}",
            hint=f"there are {', '.join(code for code, _ in self.node.kinds)}; op_mapping names others, WHERE leaves rows out",
        )
