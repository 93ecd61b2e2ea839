"""Arrival order, (split, position): where it is known. Behind a join, group or union it is not."""

from __future__ import annotations

from sqlstream.plan import nodes


def knows_arrival(node: nodes.Node) -> bool:
    """Whether rows of `node` can carry the place where their source row stood."""
    if isinstance(node, nodes.Scan):
        return node.source.append_only  # where rows are taken back, the place of one says nothing
    if isinstance(node, nodes.Over) and not node.in_time_order:
        return False  # its rows change with those that come later
    if isinstance(node, (nodes.Window, nodes.Over)):
        return knows_arrival(node.input)
    if isinstance(node, (nodes.Project, nodes.Filter, nodes.LookupJoin)):
        return knows_arrival(node.inputs[0])
    return False
