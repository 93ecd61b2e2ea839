"""LATERAL (SELECT …): a query for each row of what stands before it in FROM, computed for all of them and joined."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlstream.errors import NotSupported
from sqlstream.expressions import Column, Expr, Literal, conjunction
from sqlstream.plan import nodes
from sqlstream.plan.columns import item_name
from sqlstream.plan.correlation import dependent, equal, one_row, unwrapped
from sqlstream.plan.expression_binder import ExpressionBinder
from sqlstream.plan.joins import join
from sqlstream.plan.scope import Scope
from sqlstream.plan.subquery_values import SubqueryValues
from sqlstream.sql.ast import exp, position_of
from sqlstream.types import Column as SchemaColumn

if TYPE_CHECKING:
    from sqlstream.plan.from_binder import FromBinder


def bind_lateral(
    queries: FromBinder, left: nodes.Node, scope: Scope, item: exp.Expression, kind: str, node: exp.Join
) -> tuple[nodes.Node, Scope]:
    """`left`, whose names are `scope`, joined (CROSS, INNER or LEFT) with `item`, a query with its alias."""
    if kind not in ("CROSS", "INNER", "LEFT"):
        raise NotSupported(
            f"LATERAL with {kind} JOIN is not supported",
            hint="the row that it speaks of must be there: CROSS JOIN, or LEFT JOIN … ON TRUE",
            position=position_of(node),
        )
    binder, query, on = ExpressionBinder(scope, queries.catalog), unwrapped(item.this), node.args.get("on")
    if one_row(query) and query.args.get("having") is None:
        return _one_row(queries, left, binder, item, query, kind, on)
    of, width = dependent(queries, query, binder, left), len(left.schema)
    named, names = queries.aliased(nodes.keep(of.plan, range(of.width)), item.args.get("alias"), None, item)
    right = nodes.Project(
        of.plan,
        tuple(Column(c.type, i, c.name) for i, c in enumerate(of.plan.schema)),
        (*named.schema.columns, *of.plan.schema.columns[of.width :]),
    )
    both = scope.beside(names, position_of(item))
    conditions = [equal(binder, of, right, of.keys, width)]
    if on is not None:
        conditions.append(ExpressionBinder(both, queries.catalog).condition(on))
    condition = conjunction([c for c in conditions if c is not None])
    made = join(left, right, "LEFT" if kind == "LEFT" else "INNER", condition)
    plan = nodes.keep(made, range(width + of.width)) if of.outer else made
    return plan, both.renamed(plan.schema)


def _one_row(
    queries: FromBinder,
    left: nodes.Node,
    binder: ExpressionBinder,
    item: exp.Expression,
    query: exp.Expression,
    kind: str,
    on: exp.Expression | None,
) -> tuple[nodes.Node, Scope]:
    """Aggregates without GROUP BY: there is one row for each, so that its columns are values."""
    values = SubqueryValues(queries, left, binder)
    row = values.row(query)
    own = tuple(
        SchemaColumn(item_name(i, n), e.type) for n, (i, e) in enumerate(zip(query.expressions, row, strict=True))
    )
    before = values.plan.schema.columns[: len(left.schema)]
    exprs: tuple[Expr, ...] = (*(Column(c.type, i, c.name) for i, c in enumerate(before)), *row)
    _, names = queries.aliased(nodes.Values(own, ()), item.args.get("alias"), None, item)
    both = binder.scope.beside(names, position_of(item))
    plan: nodes.Node = nodes.Project(values.plan, exprs, (*before, *(c for r in names.relations for c in r.schema)))
    if on is not None:
        condition = ExpressionBinder(both, queries.catalog).condition(on)
        if kind == "LEFT" and not (isinstance(condition, Literal) and condition.value is True):
            raise NotSupported(
                "LEFT JOIN LATERAL of aggregates with a condition is not supported",
                hint="ON TRUE: the one row that it gives is always there",
                position=position_of(on),
            )
        plan = nodes.Filter(plan, condition)
    return plan, both.renamed(plan.schema)
