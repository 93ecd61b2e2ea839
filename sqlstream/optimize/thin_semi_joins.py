"""How often a value stands on the right of a semi or anti join does not matter: a DISTINCT there is left to the join.

`x IN (SELECT DISTINCT y FROM t)`: the join keeps the keys of its right side, each once, so that an operator below it which
does the same keeps all of them a second time.
"""

from __future__ import annotations

from dataclasses import replace

from sqlstream.functions.scalar import volatile
from sqlstream.plan import nodes
from sqlstream.types import WINDOW_ENDS, WINDOW_STARTS


def thin_semi_joins(node: nodes.Node) -> nodes.Node:
    """The rule: an Aggregate without calls on the right of a SEMI or ANTI join that compares keys alone becomes a Project."""
    node = node.with_inputs(tuple(map(thin_semi_joins, node.inputs))) if node.inputs else node
    if isinstance(node, nodes.Join) and node.kind in ("SEMI", "ANTI") and node.left_keys and node.residual is None:
        right = _thinned(node.right)
        return node if right is node.right else replace(node, right=right)
    return node


def _thinned(node: nodes.Node) -> nodes.Node:
    if isinstance(node, nodes.Project | nodes.Filter):
        if any(map(volatile, [node.condition] if isinstance(node, nodes.Filter) else node.exprs)):
            return node  # it says something of each row: of one, or of several that are equal
        below = _thinned(node.input)
        return node if below is node.input else replace(node, input=below)
    if isinstance(node, nodes.Union):
        inputs = tuple(map(_thinned, node.all_inputs))
        return node if all(a is b for a, b in zip(inputs, node.all_inputs, strict=True)) else nodes.Union(inputs)
    marks = (*WINDOW_STARTS, *WINDOW_ENDS)
    if (
        isinstance(node, nodes.Aggregate)
        and node.keys
        and not node.calls
        and node.ttl is None
        and not any(node.input.schema[k].time in marks for k in node.keys)
    ):
        return replace(nodes.keep(_thinned(node.input), node.keys), columns=node.schema.columns)
    return node
