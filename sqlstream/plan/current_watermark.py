"""CURRENT_WATERMARK(ts): the watermark that a row's own split had before the row, as a column of the scan.

So it does not depend on epochs and tasks, and `ts > CURRENT_WATERMARK(ts)` says of each row what windows say of it. It is known of
rows of a table as they are read: behind an operator that keeps rows, or joins them, there is no such row any more.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace

from sqlstream.contracts import ScanColumn
from sqlstream.errors import BindError, NotSupported
from sqlstream.expressions import Call, Column, Expr
from sqlstream.functions.times import CURRENT_WATERMARK
from sqlstream.plan import nodes
from sqlstream.plan.nodes.leaves import WATERMARK_PATH
from sqlstream.types import ROWTIME, Type
from sqlstream.types import Column as SchemaColumn

_NAME = "$watermark"


def placed(plan: nodes.Node) -> nodes.Node:
    """The plan with the calls as columns of its scans. BindError for what is no time attribute, NotSupported where rows came with no
    watermark of theirs."""
    called = any(_calls(e) for n in plan.walk() for e in _exprs(n))
    return _placed(plan) if called else plan


def _placed(node: nodes.Node) -> nodes.Node:
    node = node.with_inputs(tuple(map(_placed, node.inputs))) if node.inputs else node
    calls = [c for e in _exprs(node) for c in _calls(e)]
    if not calls:
        return node
    if not isinstance(node, (nodes.Project, nodes.Filter)):
        raise _refused(calls[0])
    for c in calls:
        _check(c, node.input)
    found = _exposed(node.input, calls[0].type)
    if found is None:
        raise _refused(calls[0])
    below, at = found
    column = Column(calls[0].type, at, _NAME)

    def read(e: Expr) -> Expr:
        return e.transform(lambda x: column if _is_call(x) else None)

    if isinstance(node, nodes.Project):
        return replace(node, input=below, exprs=tuple(map(read, node.exprs)))
    made = nodes.Filter(below, read(node.condition))
    width = len(node.input.schema)
    return made if len(made.schema) == width else nodes.keep(made, range(width))


def _check(call: Call, input_: nodes.Node) -> None:
    (argument,) = call.args
    if isinstance(argument, Column) and input_.schema[argument.index].time == ROWTIME:
        return
    raise BindError(
        f"{CURRENT_WATERMARK}({getattr(argument, 'name', '…')}): it takes a column of event time",
        hint="one that WATERMARK FOR … AS … is declared for, as it is",
    )


def _refused(call: Call) -> NotSupported:
    (argument,) = call.args
    return NotSupported(
        f"{CURRENT_WATERMARK}({getattr(argument, 'name', '…')}): rows come with a watermark of theirs where a table is read, and its rows "
        "only come",
        hint=f"take it with the table's rows: SELECT … FROM (SELECT *, {CURRENT_WATERMARK}(ts) AS mark FROM t), under WHERE and UNION ALL "
        "too",
    )


def _is_call(e: Expr) -> bool:
    return isinstance(e, Call) and e.function == CURRENT_WATERMARK


def _calls(e: Expr) -> list[Call]:
    return [x for x in e.walk() if isinstance(x, Call) and _is_call(x)]


def _exprs(node: nodes.Node) -> Iterator[Expr]:
    """The expressions of a node."""
    for f in fields(node):
        value = getattr(node, f.name, None)
        for x in value if isinstance(value, tuple) else (value,):
            if isinstance(x, Expr):
                yield x


def _exposed(node: nodes.Node, t: Type) -> tuple[nodes.Node, int] | None:
    """`node` with the watermark of each row behind its columns, and its position; None where rows have none of theirs."""
    if isinstance(node, nodes.Scan):
        if node.watermark is None or not node.source.append_only:
            return None
        paths = [c.path for c in node.columns]
        if WATERMARK_PATH in paths:
            return node, paths.index(WATERMARK_PATH)
        columns = (*node.columns, ScanColumn(WATERMARK_PATH, t))
        return replace(node, columns=columns, names=(*node.names, _NAME)), len(paths)
    if isinstance(node, nodes.Filter):
        found = _exposed(node.input, t)
        return None if found is None else (replace(node, input=found[0]), found[1])
    if isinstance(node, nodes.Project):
        found = _exposed(node.input, t)
        if found is None:
            return None
        mark = Column(t, found[1], _NAME)
        if mark in node.exprs:
            return replace(node, input=found[0]), node.exprs.index(mark)
        made = nodes.Project(found[0], (*node.exprs, mark), (*node.columns, SchemaColumn(_NAME, t)))
        return made, len(node.exprs)
    if isinstance(node, nodes.Union):
        parts = [_exposed(i, t) for i in node.all_inputs]
        width = len(node.schema)
        both = [nodes.keep(p[0], [*range(width), p[1]]) for p in parts if p is not None]
        return (nodes.Union(tuple(both)), width) if len(both) == len(parts) else None
    return None
