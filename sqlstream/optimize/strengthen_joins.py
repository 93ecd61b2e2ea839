"""An outer join whose padded rows are all dropped above it is an inner one.

`a LEFT JOIN b ON … WHERE b.x > 3`: a row without a match has NULL for `b.x`, and WHERE drops it. The inner join keeps no
count of matches, its rows never change by themselves, and conditions go into both of its inputs.
"""

from __future__ import annotations

from dataclasses import replace

from sqlstream.expressions import Call, Cast, Column, Expr, FieldOf
from sqlstream.plan import nodes

# Functions that give NULL where any argument is NULL.
_STRICT = frozenset(
    [
        "=",
        "<>",
        "<",
        "<=",
        ">",
        ">=",
        "+",
        "-",
        "*",
        "/",
        "%",
        "NEGATE",
        "NOT",
        "LIKE",
        "||",
        "ABS",
        "UPPER",
        "LOWER",
        "TRIM",
    ]
    + ["CHAR_LENGTH", "EXTRACT", "FLOOR", "CEIL", "SUBSTRING"]
)
_KEPT = {"LEFT": (True, False), "RIGHT": (False, True), "FULL": (True, True)}  # whose rows stay without a match
_KINDS = {kept: kind for kind, kept in _KEPT.items()} | {(False, False): "INNER"}


def strengthen_joins(node: nodes.Node) -> nodes.Node:
    """The rule: a side of an outer join is no longer padded where something above asks for a value of it."""
    return _strengthened(node, frozenset())


def _strengthened(node: nodes.Node, there: frozenset[int]) -> nodes.Node:
    """`node`, of which rows are of no account that have NULL in one of the columns `there`."""
    match node:
        case nodes.Filter():
            return replace(node, input=_strengthened(node.input, there | _not_null(node.condition)))
        case nodes.Project():
            below = frozenset(c for i in there for c in _strict(node.exprs[i]))
            return replace(node, input=_strengthened(node.input, below))
        case nodes.Aggregate():
            keys = frozenset(node.keys[i] for i in there if i < len(node.keys))
            return replace(node, input=_strengthened(node.input, keys))
        case nodes.Over() | nodes.TopN():
            return replace(node, input=_strengthened(node.input, there & set(node.partition)))
        case nodes.Union():
            return nodes.Union(tuple(_strengthened(i, there) for i in node.all_inputs))
        case nodes.Join():
            return _join(node, there)
        case nodes.ChangelogNormalize():
            return node
    return node.with_inputs(tuple(_strengthened(i, frozenset()) for i in node.inputs)) if node.inputs else node


def _join(node: nodes.Join, there: frozenset[int]) -> nodes.Node:
    width = len(node.input.schema)
    kept = _KEPT.get(node.kind)
    # Late rows of the others come padded or are counted, by their kind: they stay as they are.
    if kept is not None and node.bounds is None and node.windowed is None:
        left, right = (any(i < width for i in there), any(i >= width for i in there))
        # A row of the left that is kept without a match is NULL on the right.
        node = replace(node, kind=_KINDS[kept[0] and not right, kept[1] and not left])
    kept = _KEPT.get(node.kind, (node.kind == "ANTI", False))
    matched = frozenset[int]() if node.residual is None else _not_null(node.residual)
    left_keys = (k for k, safe in zip(node.left_keys, node.null_safe, strict=True) if not safe)
    right_keys = (k for k, safe in zip(node.right_keys, node.null_safe, strict=True) if not safe)
    # What is asked of the join's rows is asked of a side where these rows have its values, and what makes rows match where
    # those that match nothing do not stay.
    left_there = frozenset(i for i in there if i < width) if not kept[1] else frozenset[int]()
    right_there = frozenset(i - width for i in there if i >= width) if not kept[0] else frozenset[int]()
    if not kept[0]:
        left_there |= {*left_keys, *(i for i in matched if i < width)}
    if not kept[1]:
        right_there |= {*right_keys, *(i - width for i in matched if i >= width)}
    return replace(node, input=_strengthened(node.input, left_there), right=_strengthened(node.right, right_there))


def _not_null(condition: Expr) -> frozenset[int]:
    """The columns of which none is NULL where `condition` is true."""
    if not isinstance(condition, Call):
        return _strict(condition)
    if condition.function in ("AND", "OR"):
        parts = [_not_null(a) for a in condition.args]
        return parts[0].union(*parts) if condition.function == "AND" else parts[0].intersection(*parts)
    if condition.function == "IS TRUE":
        return _not_null(condition.args[0])
    if condition.function in ("IS NOT NULL", "IS FALSE", "IN"):
        return _strict(condition.args[0])
    return _strict(condition)


def _strict(e: Expr) -> frozenset[int]:
    """The columns of which each makes `e` NULL when it is NULL."""
    if isinstance(e, Column):
        return frozenset([e.index])
    if isinstance(e, (Cast, FieldOf)):
        return _strict(e.arg)
    if isinstance(e, Call) and e.function in _STRICT:
        return frozenset[int]().union(*(_strict(a) for a in e.args))
    return frozenset(_strict(e.args[0])) if isinstance(e, Call) and e.function == "IN" else frozenset()
