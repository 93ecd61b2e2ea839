"""Nodes that go row by row: projection, filter, the elements of collections, a row for each grouping set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlstream import expressions
from sqlstream.errors import InternalError
from sqlstream.expressions import Expr, named, selected
from sqlstream.plan.nodes.node import Node, OneInput, Prune, Pruned, in_order, moved
from sqlstream.types import BIGINT, INT, Column


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
    """Input columns, then the elements of ARRAY or MULTISET (or MAP: key, value) column `column`, a row each. INNER or LEFT."""

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


@dataclass(frozen=True)
class Expand(OneInput):
    """Each row once for each of several grouping sets. `nulled`: of each set the columns that are not in it, and are NULL
    there; `ids`: the numbers of the sets, which the last column, `$e`, has."""

    nulled: tuple[tuple[int, ...], ...]
    ids: tuple[int, ...]

    lowered_in = "expand"
    waits_for_watermark = False
    wants_arrival = False

    def __post_init__(self) -> None:
        if len(self.nulled) != len(self.ids):
            raise InternalError("Expand: sets and their numbers differ in number")
        columns = [
            replace(c, type=c.type.null(), time=None) if i in self.changed else c
            for i, c in enumerate(self.input.schema)
        ]
        self.derive((*columns, Column("$e", BIGINT.null(False))))

    @property
    def changed(self) -> set[int]:
        """The columns that are NULL in some of its rows."""
        return {c for columns in self.nulled for c in columns}

    @property
    def knows_arrival(self) -> bool:
        return self.input.knows_arrival

    def pruned(self, needed: set[int], prune: Prune) -> Pruned:
        below, at = prune(self.input, self.of_input(needed))
        nulled = tuple(tuple(at[c] for c in columns if c in at) for columns in self.nulled)
        return Expand(below, nulled, self.ids), {**at, len(self.input.schema): len(below.schema)}

    def details(self) -> str:
        names = self.input.schema.names
        sets = ("{" + ", ".join(n for i, n in enumerate(names) if i not in columns) + "}" for columns in self.nulled)
        return f"sets=[{', '.join(sets)}]"


def keep(node: Node, indexes: Sequence[int]) -> Project:
    """Only some columns, in that order."""
    exprs = tuple(expressions.Column(node.schema[i].type, i, node.schema[i].name) for i in indexes)
    return Project(node, exprs, tuple(node.schema[i] for i in indexes))
