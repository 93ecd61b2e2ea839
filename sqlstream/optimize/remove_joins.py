"""Joins that change nothing go: those of which nobody reads the right side, where each row meets one row of it at most.

So a view that joins all that there is to know of a thing costs what is asked of it.
"""

from __future__ import annotations

from dataclasses import replace

from sqlstream.contracts import FAIL
from sqlstream.optimize.prune_columns import constant
from sqlstream.plan import nodes
from sqlstream.plan.sources import scans
from sqlstream.plan.unique_keys import is_unique


def remove_joins(plan: nodes.Node) -> nodes.Node:
    """The rule: a LEFT join whose right columns are not needed above it, and whose right side is unique by the keys, is its left
    side."""
    removed: list[nodes.Join] = []

    def pruned(node: nodes.Node, needed: set[int]) -> nodes.Pruned:
        if isinstance(node, nodes.Join) and _changes_nothing(node) and needed <= set(range(len(node.input.schema))):
            removed.append(node)
            below, at = pruned(node.input, needed)
            order = sorted(needed)
            # With the join's columns: what they say of time it does not pass on.
            kept = replace(nodes.keep(below, [at[i] for i in order]), columns=tuple(node.schema[i] for i in order))
            return (kept, {old: new for new, old in enumerate(order)}) if order else (below, at)
        if needed:
            return node.pruned(needed, pruned)
        # Where only its rows count, no column keeps a join.
        if isinstance(node, nodes.Project):
            return pruned(constant(node.input), {0})
        if isinstance(node, nodes.Filter | nodes.Join):
            return node.pruned(needed, pruned)
        return node, {i: i for i in range(len(node.schema))}

    width = len(plan.schema)
    if not any(isinstance(n, nodes.Join) and _changes_nothing(n) for n in plan.walk()):
        return plan
    made, at = pruned(plan, set(range(width)))
    if not removed:
        return plan
    if len(made.schema) == width and all(at[i] == i for i in range(width)):
        return made
    return nodes.keep(made, [at[i] for i in range(width)])


def _changes_nothing(node: nodes.Join) -> bool:
    """Whether each row of the left is there once, whatever the right side has. (Malformed records of the right side that
    are counted or kept must be read.)"""
    return (
        node.kind == "LEFT"
        and node.bounds is None
        and node.windowed is None
        and node.ttl == (None, None)
        and is_unique(node.right, node.right_keys)
        and all(s.source.bad_records == FAIL for s in scans(node.right))
    )
