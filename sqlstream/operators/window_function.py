"""WindowTableFunction: TUMBLE, HOP and CUMULATE put each row into its windows. No state; hidden columns go through.

A row comes once for each of its windows. Rows without a time are in no window.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlstream.batches import Delta
from sqlstream.errors import NotSupported
from sqlstream.operators.base import Operator, OperatorContext, PhysicalNode, RowByRow, Traits
from sqlstream.operators.evaluate import Evaluator
from sqlstream.operators.lowering import Lowering, lower
from sqlstream.plan import nodes
from sqlstream.plan.window_binder import no_time_attribute
from sqlstream.rendering.windows import window_sql
from sqlstream.types import as_schema


@dataclass(frozen=True)
class WindowFunction(RowByRow):
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


@lower.register(nodes.Window)
def _window(node: nodes.Window, job: Lowering) -> PhysicalNode:
    if node.spec.kind == "SESSION":
        raise NotSupported(
            "a SESSION window over rows whose arrival is not known (behind a join, UNION ALL or UNNEST) must be grouped right "
            "above it, by exactly its PARTITION BY columns, window_start and window_end",
            hint="GROUP BY window_start, window_end and the SESSION's PARTITION BY columns, which may be more",
        )
    return WindowFunction((job.lower(node.input),), node)


@lower.register(nodes.BatchTime)
def _batch_time(node: nodes.BatchTime, job: Lowering) -> PhysicalNode:
    raise no_time_attribute(f"{node.function}: '{node.called}'", node.called, node.position)


class WindowFunctionOperator(Operator):
    """The running half: one DuckDB statement a batch."""

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
                    out.append(as_schema(made, self._schema))
        return Delta(out, delta.time)

    def close(self) -> None:
        self._evaluator.close()
