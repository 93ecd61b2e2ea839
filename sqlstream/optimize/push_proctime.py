"""PROCTIME() in a query is the clock when the source took the row: it moves down into the scan."""

from __future__ import annotations

from dataclasses import replace

from sqlstream.contracts import ScanColumn
from sqlstream.expressions import Call, Column, Expr
from sqlstream.plan import nodes
from sqlstream.plan.table_binder import PROCTIME_PATH, PROCTIME_TYPE
from sqlstream.types import PROCTIME
from sqlstream.types import Column as SchemaColumn


def _is_proctime(e: Expr) -> bool:
    return isinstance(e, Call) and e.function == "PROCTIME"


def push_proctime(node: nodes.Node) -> nodes.Node:
    """The rule: PROCTIME() in a Project over one scan, Filters and Projects between, reads a column of the scan."""
    node = node.with_inputs(tuple(push_proctime(i) for i in node.inputs)) if node.inputs else node
    if isinstance(node, nodes.Project) and any(_is_proctime(x) for e in node.exprs for x in e.walk()):
        found = _expose(node.input)
        if found is not None:
            below, at = found
            clock = Column(PROCTIME_TYPE, at, "PROCTIME()")
            exprs = tuple(e.transform(lambda x: clock if _is_proctime(x) else None) for e in node.exprs)
            return nodes.Project(below, exprs, node.columns)
    return node


def _expose(node: nodes.Node) -> tuple[nodes.Node, int] | None:
    """`node` with the clock's column appended, and its position; None when the rows come from no single scan."""
    if isinstance(node, nodes.Scan):
        paths = [c.path for c in node.columns]
        if PROCTIME_PATH in paths:
            return node, paths.index(PROCTIME_PATH)
        wide = replace(
            node,
            columns=(*node.columns, ScanColumn(PROCTIME_PATH, PROCTIME_TYPE)),
            names=(*node.names, "$proctime"),
        )
        return wide, len(paths)
    if isinstance(node, nodes.Filter | nodes.ChangelogNormalize):
        found = _expose(node.input)
        return None if found is None else (replace(node, input=found[0]), found[1])
    if isinstance(node, nodes.Project):
        found = _expose(node.input)
        if found is None:
            return None
        column = SchemaColumn("$proctime", PROCTIME_TYPE, PROCTIME)
        clock = Column(PROCTIME_TYPE, found[1], "$proctime")
        return nodes.Project(found[0], (*node.exprs, clock), (*node.columns, column)), len(node.exprs)
    return None
