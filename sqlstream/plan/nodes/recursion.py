"""WITH RECURSIVE: rows, and what follows from them, until nothing new does."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sqlstream.plan.nodes.node import Node, Prune, Pruned
from sqlstream.plan.nodes.rows import keep
from sqlstream.types import Column


@dataclass(frozen=True)
class RecursiveRef(Node):
    """The rows of a Recursion, where its own step reads them; also (`number` > 0) the place of another relation in a step.

    `level`: how many recursions stand around, so that those of one name are told apart.
    """

    name: str
    columns: tuple[Column, ...]
    level: int = 0
    number: int = 0

    lowered_in = "recursion"
    waits_for_watermark = False
    wants_arrival = False
    knows_arrival = False

    def __post_init__(self) -> None:
        self.derive(self.columns)

    def pruned(self, needed: set[int], prune: Prune) -> Pruned:
        return self, {i: i for i in range(len(self.columns))}

    def details(self) -> str:
        return self.name


@dataclass(frozen=True)
class Recursion(Node):
    """The rows of `anchor`, those that `step` makes of them, of these again, and so on. UNION (`distinct`): each row once,
    and what is there already makes nothing new; UNION ALL: as often as it is made.

    `step` reads `ref`, in each branch of its Unions once. Columns are those of `ref`.
    """

    anchor: Node
    step: Node
    ref: RecursiveRef
    distinct: bool

    lowered_in = "recursion"
    waits_for_watermark = False
    wants_arrival = False
    knows_arrival = False

    def __post_init__(self) -> None:
        self.derive(self.ref.columns)

    @property
    def inputs(self) -> tuple[Node, ...]:
        return (self.anchor, self.step)

    def with_inputs(self, inputs: tuple[Node, ...]) -> Node:
        return replace(self, anchor=inputs[0], step=inputs[1])

    def pruned(self, needed: set[int], prune: Prune) -> Pruned:
        at = {i: i for i in range(len(self.schema))}  # all columns tell a row from another

        def whole(node: Node) -> Node:
            below, where = prune(node, set(at))
            exact = len(below.schema) == len(at) and where == at
            return below if exact else keep(below, [where[i] for i in at])

        return replace(self, anchor=whole(self.anchor), step=whole(self.step)), at

    def details(self) -> str:
        return f"{self.ref.name}, {'UNION' if self.distinct else 'UNION ALL'}"
