"""What is known of an expression before any row is read is put in its place: `1 = 1 AND x > 3` is `x > 3`.

So conditions of generated queries, and of queries with parameters (`'a' IS NULL OR k = 'a'`), are what they come to, and go as
far down as that may. What could be an error of the run stays: it is one where a row meets it, and only there.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from sqlstream.expressions import Call, Cast, Column, Expr, FieldOf, Literal, conjunction, conjuncts
from sqlstream.plan import nodes

_COMPARED: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq, "<>": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
_COMPUTED: dict[str, Callable[[int, int], int]] = {"+": operator.add, "-": operator.sub, "*": operator.mul}
_BITS = {"TINYINT": 8, "SMALLINT": 16, "INT": 32, "BIGINT": 64}
_CALM = ("AND", "OR", "NOT", "IS NULL", "IS NOT NULL", "IS TRUE", "IS FALSE", "IN", *_COMPARED)  # no value is an error


def fold_constants(node: nodes.Node) -> nodes.Node:
    """The rule: the expressions of Projects, Filters and joins; a Filter that is true of all rows goes."""
    node = node.with_inputs(tuple(map(fold_constants, node.inputs))) if node.inputs else node
    match node:
        case nodes.Project():
            exprs = tuple(map(_folded, node.exprs))
            return node if exprs == node.exprs else replace(node, exprs=exprs)
        case nodes.Filter():
            condition = _where(node.condition)
            if condition is None:
                return node.input
            return node if condition == node.condition else replace(node, condition=condition)
        case nodes.Join() if node.residual is not None and node.bounds is None:
            residual = _where(node.residual)
            return node if residual == node.residual else replace(node, residual=residual)
    return node


def _where(condition: Expr) -> Expr | None:
    """A condition of rows; None where it is true of all."""
    return conjunction([c for c in conjuncts(_folded(condition)) if not _is(c, True)])


def _is(e: Expr, value: object) -> bool:
    return isinstance(e, Literal) and e.value is value


def _folded(e: Expr) -> Expr:
    children = e.children()
    if children:
        folded = tuple(map(_folded, children))
        e = e if folded == children else e.rebuild(folded)
    if isinstance(e, Cast):
        return _cast(e)
    if not isinstance(e, Call):
        return e
    if e.function in ("AND", "OR"):
        return _logic(e, e.function == "OR")
    if e.function == "CASE":
        return _case(e)
    values = [a.value for a in e.args if isinstance(a, Literal)]
    return e if len(values) < len(e.args) else _value(e, values)


def _value(e: Call, values: list[Any]) -> Expr:
    """A call of constants."""
    if e.function in ("IS NULL", "IS NOT NULL"):
        return Literal(e.type, (values[0] is None) == (e.function == "IS NULL"))
    if e.function in ("IS TRUE", "IS FALSE"):
        return Literal(e.type, values[0] is (e.function == "IS TRUE"))
    if e.function == "NOT":
        return Literal(e.type, None if values[0] is None else not values[0])
    if len(values) != 2:
        return e
    types = [a.type for a in e.args]
    whole = all(t.kind in _BITS for t in types)
    # Of texts that end with a blank the type says whether it counts.
    texts = all(t.is_string for t in types) and not any(isinstance(v, str) and v.endswith(" ") for v in values)
    if e.function in _COMPARED and (whole or texts and e.function in ("=", "<>")):
        return Literal(e.type, None if None in values else _COMPARED[e.function](*values))
    if e.function in _COMPUTED and whole and e.type.kind in _BITS and None not in values:
        made = _COMPUTED[e.function](*values)
        return Literal(e.type, made) if _fits(made, e.type.kind) else e
    return e


def _fits(value: int, kind: str) -> bool:
    limit = 1 << (_BITS[kind] - 1)
    return -limit <= value < limit


def _cast(e: Cast) -> Expr:
    """Of NULL, and of a whole number that the type holds."""
    if not isinstance(e.arg, Literal):
        return e
    value = e.arg.value
    if value is None or e.arg.type.kind in _BITS and e.type.kind in _BITS and _fits(value, e.type.kind):
        return Literal(e.type.null(value is None or e.type.nullable), value)
    return e


def _logic(e: Call, decides: bool) -> Expr:
    """AND, OR: the constant that `decides` is the answer, the other one says nothing."""
    parts = [p for p in e.args if not _is(p, not decides)]
    if any(_is(p, decides) for p in parts) and all(map(_calm, parts)):
        return Literal(e.type, decides)
    if len(parts) == len(e.args):
        return e
    if not parts:
        return Literal(e.type, not decides)
    return parts[0] if len(parts) == 1 else Call(e.type, e.function, tuple(parts))


def _calm(e: Expr) -> bool:
    """Whether it can be left out: no value makes it fail."""
    if isinstance(e, Call):
        return e.function in _CALM and all(map(_calm, e.args))
    return isinstance(e, (Column, Literal)) or isinstance(e, FieldOf) and _calm(e.arg)


def _case(e: Call) -> Expr:
    kept: list[Expr] = []
    for condition, value in zip(e.args[:-1:2], e.args[1::2], strict=True):
        if _is(condition, False) or _is(condition, None):
            continue
        if _is(condition, True):
            kept.append(value)
            break
        kept += [condition, value]
    else:
        kept.append(e.args[-1])
    if len(kept) > 1:
        return e if len(kept) == len(e.args) else replace(e, args=tuple(kept))
    only = kept[0]
    return only if only.type.null() == e.type.null() else Cast(e.type, only)
