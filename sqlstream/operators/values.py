"""Values: constant rows, all in the first epoch, from the first task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlstream.batches import END, Delta, Time
from sqlstream.functions.constants import literal
from sqlstream.operators.base import Operator, OperatorContext, PhysicalNode, Traits
from sqlstream.operators.distribution import Spread
from sqlstream.operators.evaluate import Evaluator
from sqlstream.operators.lowering import Lowering, lower
from sqlstream.plan import nodes
from sqlstream.types import Column, Schema, as_schema


@dataclass(frozen=True)
class Values(PhysicalNode):
    """`rows` in Python values of the types of `columns`."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Any, ...], ...]
    name = "Values"
    changes = ""

    def __post_init__(self) -> None:
        self.derive(Schema(self.columns), Traits())

    def distribution(self) -> tuple[tuple[int, ...] | None, ...]:
        return ()

    def spread(self) -> Spread | None:
        return None

    def remembers(self) -> bool:
        return True  # that the rows were given

    def details(self) -> str:
        return f"{len(self.rows)} rows"

    def operator(self, context: OperatorContext) -> Operator:
        return ValuesOperator(self, context)


@lower.register(nodes.Values)
def _values(node: nodes.Values, job: Lowering) -> PhysicalNode:
    return Values((), node.columns, node.rows)


class ValuesOperator(Operator):
    """`given` survives a restart: constant rows come once."""

    def __init__(self, node: Values, context: OperatorContext) -> None:
        super().__init__(context)
        self.node = node
        self._given = any(r.get("given") for r in context.restored)

    def step(self, inputs: list[Delta]) -> Delta:
        time = Time(END, END, False)
        if self._given or self.context.subtask != 0 or not self.node.rows:
            self._given = True
            return Delta([], time)
        self._given = True
        types = [c.type for c in self.node.columns]
        rows = ", ".join(
            "(" + ", ".join(f"CAST({literal(v, t)} AS {t.duckdb()})" for v, t in zip(r, types, strict=True)) + ")"
            for r in self.node.rows
        )
        names = ", ".join(f"c{i}" for i in range(len(types)))
        made = Evaluator.constant(f"SELECT * FROM (VALUES {rows}) v({names})", self.context.time_zone)
        return Delta([as_schema(made, self.node.arrow_schema())], time)

    def snapshot(self) -> dict[str, Any]:
        return {"given": self._given}
