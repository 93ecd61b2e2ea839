"""INNER JOINs in a row are put in an order in which those come first that give no row twice: by unique keys.

`FROM sales JOIN returns ON … JOIN customers ON …`, where customers are told by a key: with the customers first a stream
keeps each sale with its customer, and else each pair of a sale and a return. Of two such inputs the one with a condition of its
own comes first. An input that is equal to none of those before it waits for one that it is equal to. Sizes are not known: all
else stays as it was written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlstream.expressions import Call, Column, Expr, conjunction, conjuncts, shift, substitute
from sqlstream.functions.scalar import volatile
from sqlstream.plan import nodes
from sqlstream.plan.joins import join
from sqlstream.plan.unique_keys import is_unique
from sqlstream.types import BOOLEAN

MOST = 12  # inputs: of more every order that begins with another one would take long to look at


def reorder_joins(node: nodes.Node) -> nodes.Node:
    """The rule: each tree of regular INNER joins, with Projects that only move columns between them."""
    if _joins(node):
        chain = _Chain()
        columns = chain.add(node)
        if 2 < len(chain.inputs) <= MOST:
            chain.inputs = [reorder_joins(i) for i in chain.inputs]
            order = chain.order()
            if order != list(range(len(order))):
                made = chain.joined(order, columns, node)
                if made is not None:
                    return made
    return node.with_inputs(tuple(map(reorder_joins, node.inputs))) if node.inputs else node


def _joins(node: nodes.Node) -> bool:
    """Whether it is a join of two rows as they are, at any time."""
    return (
        isinstance(node, nodes.Join)
        and node.kind == "INNER"
        and _regular(node)
        and node.ttl == (None, None)
        and not (node.residual is not None and volatile(node.residual))
    )


def _regular(node: nodes.Node) -> bool:
    """Whether the join that `node` is, or is a Project of, takes its rows at any time."""
    while isinstance(node, nodes.Project):
        node = node.input
    return not isinstance(node, nodes.Join) or (node.bounds is None and node.windowed is None)


@dataclass
class _Chain:
    """`inputs` as written, the columns of all of them in a row, and `conditions` over these."""

    inputs: list[nodes.Node] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    conditions: list[Expr] = field(default_factory=list)

    def add(self, node: nodes.Node) -> list[Expr]:
        """Takes a tree apart; its columns over those of the inputs."""
        if isinstance(node, nodes.Project) and _moves(node) and (_joins(node.input) or _moved_joins(node.input)):
            below = tuple(self.add(node.input))
            return [substitute(e, below) for e in node.exprs]
        if isinstance(node, nodes.Join) and _joins(node):
            left, right = self.add(node.input), self.add(node.right)
            for a, b, safe in zip(node.left_keys, node.right_keys, node.null_safe, strict=True):
                self.conditions.append(Call(BOOLEAN, "IS NOT DISTINCT FROM" if safe else "=", (left[a], right[b])))
            self.conditions += [substitute(c, (*left, *right)) for c in conjuncts(node.residual)]
            return [*left, *right]
        start = sum(len(i.schema) for i in self.inputs)
        self.inputs.append(node)
        self.starts.append(start)
        return [Column(c.type, start + i, c.name) for i, c in enumerate(node.schema)]

    def order(self) -> list[int]:
        """The best order: with the fewest joins that may give a row twice, of these the one that begins as written."""
        return min((self._from(first) for first in range(len(self.inputs))), key=lambda found: found[0])[1]

    def _from(self, first: int) -> tuple[int, list[int]]:
        order, multiply = [first], 0
        while len(order) < len(self.inputs):
            rest = [i for i in range(len(self.inputs)) if i not in order]
            ranks = {i: self._rank(i, order) for i in rest}
            best = min(rest, key=lambda i: ranks[i])
            multiply += ranks[best][0]
            order.append(best)
        return multiply, order

    def _rank(self, i: int, there: list[int]) -> tuple[int, bool]:
        """How well an input goes next: 0: each row of those `there` meets one of it at most, 1: by a key, 2: by none."""
        keys = self._keys(i, there)
        if not keys:
            return 2, False
        unique = is_unique(self.inputs[i], keys)
        return (0, not _filtered(self.inputs[i])) if unique else (1, False)

    def _keys(self, i: int, there: list[int]) -> set[int]:
        """The columns of an input that are equal to something of those `there`."""
        own = range(self.starts[i], self.starts[i] + len(self.inputs[i].schema))
        found = set()
        for c in self.conditions:
            if isinstance(c, Call) and c.function in ("=", "IS NOT DISTINCT FROM"):
                for a, b in (c.args, c.args[::-1]):
                    others = {self._of(x) for x in b.columns()}
                    if isinstance(a, Column) and a.index in own and others and others <= set(there):
                        found.add(a.index - own.start)
        return found

    def _of(self, column: int) -> int:
        return max(i for i, start in enumerate(self.starts) if start <= column)

    def joined(self, order: Sequence[int], columns: list[Expr], was: nodes.Node) -> nodes.Node | None:
        """The joins in this order, with the columns of what it was; None where one of them would go by time: by windows, or within
        an interval, of inputs that no other join had taken the time from. Such a join drops what is late."""
        made = self.inputs[order[0]]
        at = {self.starts[order[0]] + i: i for i in range(len(made.schema))}
        waiting = list(self.conditions)
        for n in order[1:]:
            width, right = len(made.schema), self.inputs[n]
            at.update({self.starts[n] + i: width + i for i in range(len(right.schema))})
            now = [c for c in waiting if c.columns() <= at.keys()]
            waiting = [c for c in waiting if c not in now]
            made = join(made, right, "INNER", conjunction([shift(c, lambda i: at[i]) for c in now]))
            if not _regular(made):
                return None
        exprs = tuple(shift(e, lambda i: at[i]) for e in columns)
        return nodes.Project(made, exprs, was.schema.columns)


def _moves(node: nodes.Project) -> bool:
    return all(isinstance(e, Column) for e in node.exprs)


def _moved_joins(node: nodes.Node) -> bool:
    return isinstance(node, nodes.Project) and _moves(node) and (_joins(node.input) or _moved_joins(node.input))


def _filtered(node: nodes.Node) -> bool:
    while isinstance(node, nodes.Project | nodes.ChangelogNormalize):
        node = node.input
    return isinstance(node, nodes.Filter) or isinstance(node, nodes.Scan) and node.predicate is not None
