"""UNION ALL; the other set operations are bound as groups and joins."""

from __future__ import annotations

from dataclasses import dataclass

from sqlstream.plan.nodes.node import Node, Prune, Pruned, in_order
from sqlstream.plan.nodes.rows import keep
from sqlstream.types import Column


@dataclass(frozen=True)
class Union(Node):
    """UNION ALL. Inputs have the same types; names are the first's."""

    all_inputs: tuple[Node, ...]

    lowered_in = "union"
    waits_for_watermark = False
    wants_arrival = False
    knows_arrival = False  # places in different inputs are in no order

    def __post_init__(self) -> None:
        first = self.all_inputs[0].schema
        self.derive(
            tuple(
                Column(
                    c.name,
                    c.type.null(any(n.schema[i].type.nullable for n in self.all_inputs)),
                    c.time if all(n.schema[i].time == c.time for n in self.all_inputs) else None,
                )
                for i, c in enumerate(first)
            )
        )

    @property
    def inputs(self) -> tuple[Node, ...]:
        return self.all_inputs

    def with_inputs(self, inputs: tuple[Node, ...]) -> Node:
        return Union(inputs)

    def pruned(self, needed: set[int], prune: Prune) -> Pruned:
        order, here = in_order(needed)
        inputs = []
        for i in self.all_inputs:
            below, at = prune(i, needed)
            exact = len(below.schema) == len(order) and at == here
            inputs.append(below if exact else keep(below, [at[c] for c in order]))
        return Union(tuple(inputs)), here

    def details(self) -> str:
        return ""
