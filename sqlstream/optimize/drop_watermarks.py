"""Watermarks are not computed where no operator waits for one: their columns need not be decoded."""

from __future__ import annotations

from dataclasses import replace

from sqlstream.plan import nodes
from sqlstream.plan.time_bounds import time_bounds
from sqlstream.types import PROCTIME, ROWTIME


def drop_watermarks(node: nodes.Node) -> nodes.Node:
    if isinstance(node, nodes.Scan):
        return replace(node, watermark=None)
    return node.with_inputs(tuple(drop_watermarks(i) for i in node.inputs)) if node.inputs else node


def uses_rowtime(node: nodes.Node) -> bool:
    """Whether any operator of the plan waits for the watermark."""
    if isinstance(node, nodes.Window) and node.domain != PROCTIME:
        return True
    if isinstance(node, nodes.Over) and any(node.input.schema[k.column].time == ROWTIME for k in node.order):
        return True
    if isinstance(node, nodes.Join) and time_bounds(node.residual, node.left.schema, node.right.schema) is not None:
        return True
    return any(uses_rowtime(i) for i in node.inputs)
