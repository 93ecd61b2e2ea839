"""Watermarks are not computed where no operator waits for one: their columns need not be decoded."""

from __future__ import annotations

from dataclasses import replace

from sqlstream.plan import nodes


def drop_watermarks(node: nodes.Node) -> nodes.Node:
    """The plan without watermarks."""
    if isinstance(node, nodes.Scan):
        return replace(node, watermark=None)
    return node.with_inputs(tuple(drop_watermarks(i) for i in node.inputs)) if node.inputs else node


def uses_rowtime(plan: nodes.Node) -> bool:
    """Whether any operator of the plan waits for the watermark."""
    return any(n.waits_for_watermark for n in plan.walk())
