"""Nodes that go row by row: projection, filter, the elements of collections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlstream import expressions
from sqlstream.errors import InternalError
from sqlstream.expressions import Expr, named, selected
from sqlstream.plan.nodes.node import Node, OneInput, Prune, Pruned, in_order, moved
from sqlstream.types import INT, Column


@dataclass(frozen=True)
class Project(OneInput):
    """One expression a column. `columns` names them and keeps time marks."""

    exprs: tuple[Expr, ...]
    columns: tuple[Column, ...]

    lowered_in = "calc"
    waits_for_watermark = False
    wants_arrival = False

    def __post_init__(self) -> None:
        if len(self.exprs) != len(self.columns):
            raise InternalError("Project: names and expressions differ in number")
        self.derive(self.columns)

    @property
    def knows_arrival(self) -> bool:
        return self.input.knows_arrival

    def pruned(self, needed: set[int], prune: Prune) -> Pruned:
        order, here = in_order(needed)
        exprs = [self.exprs[i] for i in order]
        below, at = prune(self.input, {c for e in exprs for c in e.columns()})
        return Project(below, tuple(moved(e, at) for e in exprs), tuple(self.columns[i] for i in order)), here

    def details(self) -> str:
        return selected(self.exprs, self.schema, self.input.schema)


@dataclass(frozen=True)
class Filter(OneInput):
    """Keeps rows for which `condition` is true."""

    condition: Expr

    lowered_in = "calc"
    waits_for_watermark = False
    wants_arrival = False

    def __post_init__(self) -> None:
        self.derive(self.input.schema)

    @property
    def knows_arrival(self) -> bool:
        return self.input.knows_arrival

    def pruned(self, needed: set[int], prune: Prune) -> Pruned:
        below, at = prune(self.input, needed | self.condition.columns())
        return Filter(below, moved(self.condition, at)), at

    def details(self) -> str:
        return named(self.condition, self.input.schema)


@dataclass(frozen=True)
class Unnest(OneInput):
    """Input columns, then the elements of ARRAY (or MAP: key, value) column `column`, a row each. INNER or LEFT."""

    column: int
    columns: tuple[Column, ...]
    kind: str = "INNER"
    ordinality: bool = False

    lowered_in = "unnest"
    waits_for_watermark = False
    wants_arrival = False
    knows_arrival = False  # the elements of a row stood in one place

    def __post_init__(self) -> None:
        extra = (Column("ORDINALITY", INT.null(False)),) if self.ordinality else ()
        self.derive((*self.input.schema.columns, *self.columns, *extra))

    def pruned(self, needed: set[int], prune: Prune) -> Pruned:
        below, at = prune(self.input, self.of_input(needed) | {self.column})
        old, new = len(self.input.schema), len(below.schema)
        made = replace(self, input=below, column=at[self.column])
        return made, {**at, **{old + i: new + i for i in range(len(self.schema) - old)}}

    def details(self) -> str:
        text = f"{self.kind}, column={self.input.schema[self.column].name}"
        return text + ", ordinality" if self.ordinality else text


def keep(node: Node, indexes: Sequence[int]) -> Project:
    """Only some columns, in that order."""
    exprs = tuple(expressions.Column(node.schema[i].type, i, node.schema[i].name) for i in indexes)
    return Project(node, exprs, tuple(node.schema[i] for i in indexes))
