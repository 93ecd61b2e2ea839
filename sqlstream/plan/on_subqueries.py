"""Subqueries in ON of an outer join: each becomes columns of the side of whose rows it speaks, before the sides are joined.

    l LEFT JOIN r ON l.k = r.k AND l.v > (SELECT AVG(v) FROM t WHERE t.k = l.k)
    (l, and the average of its k) LEFT JOIN r ON l.k = r.k AND l.v > average

A filter above, which does for an inner join, would take the rows away that have no partner.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlstream.errors import NotSupported
from sqlstream.expressions import Expr, conjunction, shift
from sqlstream.plan import nodes
from sqlstream.plan.correlation import own_nodes, spoken_of, unwrapped
from sqlstream.plan.expression_binder import ExpressionBinder
from sqlstream.plan.joins import join
from sqlstream.plan.scope import Scope
from sqlstream.plan.subquery_values import SubqueryValues, is_subquery
from sqlstream.sql.ast import column_parts, exp, position_of

if TYPE_CHECKING:
    from sqlstream.plan.from_binder import FromBinder

Side = tuple[nodes.Node, Scope]


def join_on(
    queries: FromBinder,
    left: Side,
    right: Side,
    both: Scope,
    kind: str,
    parts: Sequence[exp.Expression],
    lives: tuple[int | None, int | None],
) -> nodes.Node:
    """The join on all of `parts`, with the columns of both sides. `both`: their names. `lives`: hint STATE_TTL of each."""
    sides = [
        SubqueryValues(queries, plan, ExpressionBinder(scope, queries.catalog), life)
        for (plan, scope), life in zip((left, right), lives, strict=True)
    ]
    width = left[1].width
    far = (
        1 << 40
    )  # columns of a side are so far away from those that are over both, until it is known how many there are

    def hook(node: exp.Expression) -> Expr | None:
        if not is_subquery(node):
            return None
        side = _side(queries, node, both, width)
        found = sides[side].binder.bind(node)
        return shift(found, lambda i: far * (1 + side) + i)

    binder = ExpressionBinder(both, queries.catalog, hook)
    condition = conjunction([binder.condition(p) for p in parts])
    assert condition is not None
    wide = len(sides[0].plan.schema)

    def place(i: int) -> int:
        if i >= far:
            return i - far if i < 2 * far else wide + i - 2 * far
        return i if i < width else wide + i - width

    plan = join(sides[0].plan, sides[1].plan, kind, shift(condition, place), lives)
    return nodes.keep(plan, [*range(width), *range(wide, wide + right[1].width)])


def _side(queries: FromBinder, node: exp.Expression, both: Scope, width: int) -> int:
    """Of which side's rows it speaks: 0 for the left one of `width` columns, and where it speaks of none; 1 for the right one."""
    outermost = [n for n in node.walk(prune=lambda n: isinstance(n, exp.Query)) if isinstance(n, exp.Query)]
    spoken = [c for c in own_nodes(node) if isinstance(c, exp.Column)]
    for query in outermost:
        spoken += spoken_of(queries, unwrapped(query), both)
    at = {i >= width for c in spoken for i in both.resolve(column_parts(c), position_of(c)).columns()}
    if len(at) > 1:
        raise NotSupported(
            "a subquery in ON of an outer JOIN speaks of both sides",
            hint="let it speak of one side, and compare its value with the other: l.x > (SELECT … WHERE t.k = r.k)",
            position=position_of(node),
        )
    return int(at.pop()) if at else 0
