"""Where a scan's filter fixes a column (`event_type = 2`), expressions above need not ask for it again.

A CASE over the discriminator of a table of several record types becomes its one branch, so the fields of the other
types are not decoded.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sqlstream.expressions import Call, Column, Expr, Literal, conjuncts
from sqlstream.plan import nodes
from sqlstream.types import BOOLEAN

_TRUE, _FALSE = Literal(BOOLEAN.null(False), True), Literal(BOOLEAN.null(False), False)


def fold_known_values(node: nodes.Node) -> nodes.Node:
    """The rule: the expressions of each Project directly over a Scan, folded by what the Scan's filter fixes."""
    node = node.with_inputs(tuple(fold_known_values(i) for i in node.inputs)) if node.inputs else node
    if isinstance(node, nodes.Project) and isinstance(node.input, nodes.Scan):
        known = _known(node.input.predicate)
        if known:
            exprs = tuple(_fold(e, known) for e in node.exprs)
            return replace(node, exprs=exprs)
    return node


def _known(predicate: Expr | None) -> dict[int, Any]:
    """Columns that the filter makes equal to a constant (whole numbers and strings: equal means the same)."""
    out: dict[int, Any] = {}
    for c in conjuncts(predicate):
        pair = _column_and_constant(c)
        if pair is not None:
            out[pair[0]] = pair[1]
    return out


def _column_and_constant(e: Expr) -> tuple[int, Any] | None:
    if not (isinstance(e, Call) and e.function == "="):
        return None
    a, b = e.args
    if isinstance(b, Column):
        a, b = b, a
    if (
        isinstance(a, Column)
        and isinstance(b, Literal)
        and b.value is not None
        and (b.type.is_integer or b.type.is_string)
    ):
        return a.index, b.value
    return None


def _fold(e: Expr, known: dict[int, Any]) -> Expr:
    children = tuple(_fold(c, known) for c in e.children())
    if children != e.children():
        e = e.rebuild(children)
    pair = _column_and_constant(e)
    if pair is not None and pair[0] in known:
        return _TRUE if known[pair[0]] == pair[1] else _FALSE
    if isinstance(e, Call) and e.function == "CASE":
        return _case(e)
    return e


def _case(e: Call) -> Expr:
    kept: list[Expr] = []
    for i in range(0, len(e.args) - 1, 2):
        condition, value = e.args[i], e.args[i + 1]
        if condition == _FALSE:
            continue
        if condition == _TRUE:
            kept.append(value)
            break
        kept += [condition, value]
    else:
        kept.append(e.args[-1])
    if len(kept) == 1:
        only = kept[0]
        # the CASE's type may be wider in nullability only; a cast stands inside the branch already
        return only
    return e if len(kept) == len(e.args) else replace(e, args=tuple(kept))
