"""ASOF JOIN: each left row beside the nearest right one.

l ASOF [LEFT] JOIN r ON l.k = r.k AND l.ts >= r.ts            equal columns and one comparison
l ASOF [LEFT] JOIN r MATCH_CONDITION (l.ts >= r.ts) ON l.k = r.k    the same
l ASOF [LEFT] JOIN r USING (k, ts)                            the last column compares by >=
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlstream.errors import BindError, NotSupported
from sqlstream.expressions import Call, Expr, conjuncts, shift
from sqlstream.plan import nodes
from sqlstream.plan.expression_binder import ExpressionBinder
from sqlstream.plan.joins import equality, with_columns
from sqlstream.plan.scope import Scope
from sqlstream.sql.ast import exp, position_of

if TYPE_CHECKING:
    from sqlstream.plan.from_binder import FromBinder

_FORM = "l ASOF [LEFT] JOIN r ON l.k = r.k AND l.ts >= r.ts"
_TURNED = {">=": "<=", ">": "<", "<=": ">=", "<": ">"}


def bind_asof_join(
    queries: FromBinder, left: nodes.Node, scope: Scope, kind: str, node: exp.Join
) -> tuple[nodes.Node, Scope]:
    """`left`, whose names are `scope`, and beside each of its rows the nearest of the other side."""
    if kind not in ("INNER", "LEFT"):
        raise NotSupported(f"an ASOF join is INNER or LEFT, not {kind}", hint=_FORM, position=position_of(node))
    item, on, match = node.this, node.args.get("on"), node.args.get("match_condition")
    if isinstance(item, (exp.Unnest, exp.Lateral)) or item.args.get("lateral") or item.args.get("version") is not None:
        raise NotSupported(
            "an ASOF join takes a table, a view or a subquery on its right side", hint=_FORM, position=position_of(item)
        )
    right, names = queries.relation(item)
    using = [i.name for i in node.args.get("using") or []]
    if using:
        binder = ExpressionBinder(scope.joined(names), queries.catalog)
        pairs = queries.pairs(scope, names, using, node)
        words = ["="] * (len(pairs) - 1) + [">="]
        parts = [binder.call(word, [a, b]) for word, (a, b) in zip(words, pairs, strict=True)]
        made = _joined(left, right, kind, parts, node)
        return queries.paired(made, binder, kind, dict(zip(using, pairs, strict=True)))
    both = scope.beside(names, position_of(item))
    binder = ExpressionBinder(both, queries.catalog)
    made = _joined(
        left, right, kind, [p for c in (on, match) if c is not None for p in conjuncts(binder.condition(c))], node
    )
    return made, both.renamed(made.schema)


def _joined(left: nodes.Node, right: nodes.Node, kind: str, parts: list[Expr], node: exp.Join) -> nodes.Node:
    width = len(left.schema)
    equal: list[tuple[Expr, Expr, bool]] = []
    nearest: list[tuple[Expr, Expr, str]] = []
    for c in parts:
        pair, compared = equality(c, width), _comparison(c, width)
        if pair is not None:
            equal.append(pair)
        elif compared is not None:
            nearest.append(compared)
        else:
            raise NotSupported(
                "an ASOF join takes equal columns of both sides and one comparison: any other condition could mean the "
                "nearest row for which it holds, or that the nearest row must fulfil it",
                hint="filter a side before: ASOF JOIN (SELECT * FROM r WHERE …) AS r ON …; or the result, with WHERE",
                position=position_of(node),
            )
    if len(nearest) != 1:
        raise BindError(
            f"an ASOF join has one comparison with >=, >, <= or <, and here are {len(nearest)}",
            hint=_FORM,
            position=position_of(node),
        )
    (mine, theirs, comparison) = nearest[0]
    wide_left, at = with_columns(left, [*(e[0] for e in equal), mine])
    wide_right, where = with_columns(
        right, [*(shift(e[1], lambda i: i - width) for e in equal), shift(theirs, lambda i: i - width)]
    )
    safe = tuple(e[2] for e in equal)
    made = nodes.AsofJoin(wide_left, wide_right, kind, at[:-1], where[:-1], safe, at[-1], where[-1], comparison)
    if len(made.schema) == width + len(right.schema):
        return made
    start = len(wide_left.schema)
    return nodes.keep(made, [*range(width), *range(start, start + len(right.schema))])


def _comparison(c: Expr, width: int) -> tuple[Expr, Expr, str] | None:
    """(left expression, right expression, comparison) where `c` compares the sides."""
    if not isinstance(c, Call) or c.function not in _TURNED:
        return None
    a, b = c.args
    ca, cb = a.columns(), b.columns()
    if not ca or not cb:
        return None
    if max(ca) < width <= min(cb):
        return a, b, c.function
    return (b, a, _TURNED[c.function]) if max(cb) < width <= min(ca) else None
