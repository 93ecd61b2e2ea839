"""Two Projects in a row become one; a Project that changes nothing goes away."""

from __future__ import annotations

from collections import Counter

from sqlstream.expressions import Column, Expr, FieldOf, Literal, substitute
from sqlstream.functions.scalar import volatile
from sqlstream.plan import nodes
from sqlstream.types import Column as SchemaColumn


def merge_projects(node: nodes.Node) -> nodes.Node:
    """The rule: no Project directly over another where the two can be one, and none that only repeats its input."""
    node = node.with_inputs(tuple(merge_projects(i) for i in node.inputs)) if node.inputs else node
    if not isinstance(node, nodes.Project):
        return node
    below = node.input
    if isinstance(below, nodes.Project) and _mergeable(node.exprs, below.exprs):
        node = nodes.Project(below.input, tuple(substitute(e, below.exprs) for e in node.exprs), node.columns)
    elif isinstance(below, nodes.Project):
        node = _take_fields_below(node, below)
    identity = len(node.exprs) == len(node.input.schema) and all(
        isinstance(e, Column) and e.index == i and node.columns[i].time == node.input.schema[i].time
        for i, e in enumerate(node.exprs)
    )
    return node.input if identity else node


def _take_fields_below(node: nodes.Project, below: nodes.Project) -> nodes.Project:
    """Fields of ROW columns that only pass through `below` are taken there, so that whole ROWs need not pass."""
    exprs, columns = list(below.exprs), list(below.columns)

    def take(e: Expr) -> Expr | None:
        if not isinstance(e, FieldOf):
            return None
        root: Expr = e
        while isinstance(root, FieldOf):
            root = root.arg
        if not (isinstance(root, Column) and _cheap(below.exprs[root.index])):
            return None
        moved = substitute(e, below.exprs)
        if moved not in exprs:
            exprs.append(moved)
            columns.append(SchemaColumn(e.name, e.type))
        return Column(e.type, exprs.index(moved), e.name)

    above = tuple(e.transform(take) for e in node.exprs)
    if len(exprs) == len(below.exprs) and above == node.exprs:
        return node
    return nodes.Project(nodes.Project(below.input, tuple(exprs), tuple(columns)), above, node.columns)


def _mergeable(above: tuple[Expr, ...], below: tuple[Expr, ...]) -> bool:
    """Nothing costly or volatile may be evaluated twice for one row."""
    uses = Counter(x.index for e in above for x in e.walk() if isinstance(x, Column))
    for i, e in enumerate(below):
        if volatile(e) and uses[i] != 1:
            return False
        if uses[i] > 1 and not _cheap(e):
            return False
    return True


def _cheap(e: Expr) -> bool:
    return isinstance(e, (Column, Literal)) or (isinstance(e, FieldOf) and _cheap(e.arg))
