"""WindowTableFunction: TUMBLE, HOP and CUMULATE put each row into its windows. No state; hidden columns go through.

A row comes once for each of its windows. Rows without a time are in no window.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from sqlstream.batch.render import window_sql
from sqlstream.batches import Delta
from sqlstream.operators.base import Operator, OperatorContext, PhysicalNode, Traits
from sqlstream.operators.evaluate import Evaluator
from sqlstream.plan import nodes


@dataclass(frozen=True)
class WindowFunction(PhysicalNode):
    """`window` is the logical node: its spec, time column and schema."""

    window: nodes.Window
    name = "WindowTableFunction"

    def __post_init__(self) -> None:
        below = self.inputs[0].traits
        # A row in one window only (TUMBLE) keeps its key; a copied one has the window's end in it too.
        key = below.key
        if key and self.window.spec.kind != "TUMBLE":
            key = (*key, len(self.inputs[0].schema) + 1)
        self.derive(self.window.schema, Traits(below.append_only, key, below.row_wm, below.arrival))

    def details(self) -> str:
        return self.window.details()

    def operator(self, context: OperatorContext) -> Operator:
        return WindowFunctionOperator(self, context)


class WindowFunctionOperator(Operator):
    def __init__(self, node: WindowFunction, context: OperatorContext) -> None:
        super().__init__(context)
        self._schema = node.arrow_schema()
        hidden = ", ".join(node.traits.hidden)
        self._evaluator = Evaluator.of(
            window_sql(node.window, "input", hidden or None, context.time_zone), context.time_zone
        )

    def step(self, inputs: list[Delta]) -> Delta:
        (delta,) = inputs
        out = []
        for b in delta.batches:
            if b.num_rows:
                made = self._evaluator.run(b)
                if made.num_rows:
                    arrays = [
                        made.column(i) if made.column(i).type == f.type else made.column(i).cast(f.type)
                        for i, f in enumerate(self._schema)
                    ]
                    out.append(pa.RecordBatch.from_arrays(arrays, schema=self._schema))
        return Delta(out, delta.time)

    def close(self) -> None:
        self._evaluator.close()
