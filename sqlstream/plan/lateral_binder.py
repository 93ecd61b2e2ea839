"""LATERAL: rows for each row of what stands before it in FROM.

(SELECT …)      a query, computed for all of them and joined
TABLE (f(…))    a Python table function: an ARRAY of rows as a column, which Unnest takes apart
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlstream.catalog.objects import Function
from sqlstream.errors import BindError, NotSupported, SqlStreamError
from sqlstream.expressions import Column, Expr, Literal, conjunction
from sqlstream.functions import user
from sqlstream.plan import nodes
from sqlstream.plan.columns import item_name
from sqlstream.plan.correlation import dependent, equal, one_row, unwrapped
from sqlstream.plan.expression_binder import ExpressionBinder
from sqlstream.plan.joins import join, with_columns
from sqlstream.plan.scope import Scope
from sqlstream.plan.subquery_values import SubqueryValues
from sqlstream.sql.ast import Descriptor, TableArgument, TableFunction, exp, position_of
from sqlstream.types import Column as SchemaColumn

if TYPE_CHECKING:
    from sqlstream.plan.from_binder import FromBinder


def bind_table_call(
    queries: FromBinder,
    left: nodes.Node,
    scope: Scope,
    function: Function,
    item: TableFunction,
    kind: str,
    node: exp.Expression,
) -> tuple[nodes.Node, Scope]:
    """`left`, whose names are `scope`, and behind it the rows that `function` gives for each (CROSS, INNER or LEFT)."""
    name, alias = function.name, item.args.get("alias")
    if kind not in ("CROSS", "INNER", "LEFT"):
        raise NotSupported(
            f"LATERAL with {kind} JOIN is not supported",
            hint="the row that it speaks of must be there: CROSS JOIN, or LEFT JOIN … ON TRUE",
            position=position_of(node),
        )
    for a in item.expressions:
        if isinstance(a, (exp.Kwarg, TableArgument, Descriptor)):
            raise BindError(
                f"{name} takes values by place", hint=f"LATERAL TABLE({name}(t.x))", position=position_of(a)
            )
    if item.args.get("hints"):
        raise NotSupported(f"hints behind {name}(…) are not supported", position=position_of(item))
    binder, f = ExpressionBinder(scope, queries.catalog), user.resolve(function.path)
    try:
        call = binder.user_call(name, f, [binder.bind(a) for a in item.expressions])
    except SqlStreamError as e:
        e.position = e.position or position_of(item)
        raise
    wide, (at,) = with_columns(left, [call])
    given = tuple(SchemaColumn(c.name, c.type.null(True)) for c in f.result.element.fields)
    named, names = queries.aliased(nodes.Values(given, ()), alias, None, item)
    width = len(left.schema)
    made = nodes.Unnest(wide, at, named.schema.columns, "LEFT" if kind == "LEFT" else "INNER")
    plan = nodes.keep(made, [*range(width), *range(width + 1, len(made.schema))])
    both = scope.beside(names, position_of(item)).renamed(plan.schema)
    return conditioned(queries, plan, both, kind, node, f"LATERAL TABLE({name}(…))"), both


def conditioned(
    queries: FromBinder, plan: nodes.Node, scope: Scope, kind: str, node: exp.Expression, what: str
) -> nodes.Node:
    """`plan`, the rows of a join with `what` a row gives of itself, where its ON holds. LEFT takes TRUE alone: a row for which
    none of them is left would have to be there, too. USING and NATURAL are refused."""
    if node.args.get("using") or node.args.get("method"):
        raise NotSupported(
            f"{what} by columns of one name is not supported", hint="JOIN … ON t.k = s.k", position=position_of(node)
        )
    on = node.args.get("on")
    if on is None:
        return plan
    condition = ExpressionBinder(scope, queries.catalog).condition(on)
    if isinstance(condition, Literal) and condition.value is True:
        return plan
    if kind == "LEFT":
        raise NotSupported(
            f"LEFT JOIN {what} with a condition is not supported",
            hint="ON TRUE; JOIN … ON, or WHERE, drops rows for which nothing is left",
            position=position_of(on),
        )
    return nodes.Filter(plan, condition)


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
