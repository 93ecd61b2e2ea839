"""WHERE: filters, IN (SELECT …) and EXISTS as semi and anti joins, other subqueries as values that are joined."""

from __future__ import annotations

from sqlstream.errors import BindError
from sqlstream.expressions import Column, Expr, conjunction, shift
from sqlstream.plan import nodes
from sqlstream.plan.aggregate_binder import has_aggregate
from sqlstream.plan.columns import unsorted
from sqlstream.plan.correlation import (
    Dependent,
    dependent,
    equal,
    has_subquery,
    one_row,
    own_nodes,
    parts_of,
    unwrapped,
)
from sqlstream.plan.expression_binder import ExpressionBinder
from sqlstream.plan.from_binder import FromBinder
from sqlstream.plan.joins import join
from sqlstream.plan.scope import Scope
from sqlstream.plan.state_ttl import StateTtl
from sqlstream.plan.subquery_values import SubqueryValues, check_width
from sqlstream.sql.ast import column_parts, exp


class ConditionBinder(FromBinder):
    """Binds conditions over relations."""

    def _where(
        self, plan: nodes.Node, scope: Scope, condition: exp.Expression, ttl: StateTtl | None = None
    ) -> nodes.Node:
        """Filters; subqueries as joins. `ttl`: the hints of the SELECT."""
        width = len(plan.schema)
        binder = ExpressionBinder(scope, self.catalog)
        filters: list[Expr] = []
        joins: list[exp.Expression] = []
        values: list[exp.Expression] = []
        for part in map(_as_in, parts_of(condition)):
            if _joined(part):
                joins.append(part)
            elif has_subquery(part):
                values.append(part)
            else:
                filters.append(binder.condition(part))
        whole = conjunction(filters)
        if whole is not None:
            plan = nodes.Filter(plan, whole)
        lives = None if ttl is None or not (joins or values) else ttl.of(scope)
        for part in joins:
            plan = self._semi_join(plan, scope, part, lives)
        if values:
            with_values = SubqueryValues(self, plan, binder, lives)
            whole = conjunction([with_values.binder.condition(part) for part in values])
            assert whole is not None
            plan = nodes.keep(nodes.Filter(with_values.plan, whole), range(width))
        assert len(plan.schema) == width
        return plan

    def _semi_join(self, plan: nodes.Node, scope: Scope, part: exp.Expression, ttl: int | None) -> nodes.Node:
        negated = False
        while isinstance(part, (exp.Not, exp.Paren)):
            negated ^= isinstance(part, exp.Not)
            part = part.this
        kind = "ANTI" if negated else "SEMI"
        binder = ExpressionBinder(scope, self.catalog)
        if isinstance(part, exp.Exists):
            right, condition, _, inner = self._rows(unwrapped(part.this), binder, plan, False)
            return join(plan, right, kind, condition, (ttl, inner))
        query = unwrapped(part.args["query"])
        values = [binder.bind(v) for v in (part.this.expressions if isinstance(part.this, exp.Tuple) else [part.this])]
        alone = self._alone(query)
        if alone is not None:
            right, condition, inner = alone, None, None
            found: list[Expr] = [Column(c.type, scope.width + i, c.name) for i, c in enumerate(alone.schema)]
        else:
            right, condition, found, inner = self._rows(query, binder, plan, True)
        check_width(len(values), len(found), part)
        unknown = any(e.type.nullable for e in (*values, *found))
        same = conjunction([binder.call("=", [v, f]) for v, f in zip(values, found, strict=True)])
        assert same is not None
        if not (negated and unknown):
            return join(plan, right, kind, conjunction([e for e in (condition, same) if e is not None]), (ttl, inner))
        if condition is None and len(values) == 1:
            return self._not_in(join(plan, right, kind, same, (ttl, None)), right, values[0], binder, ttl)
        # A row that may be equal, were its NULLs known, is enough for the answer not to be true.
        maybe = binder.call("NOT", [binder.call("IS FALSE", [same])])
        return join(plan, right, kind, conjunction([e for e in (condition, maybe) if e is not None]), (ttl, inner))

    def _not_in(
        self, plan: nodes.Node, right: nodes.Node, value: Expr, binder: ExpressionBinder, ttl: int | None
    ) -> nodes.Node:
        """Where the anti join left `plan` of NOT IN, and a NULL may be on either side: rows for which the query has no row,
        or which are no NULL themselves while it has none."""
        width, call = len(plan.schema), binder.call
        values = SubqueryValues(self, plan, binder, ttl)
        some, nulls = values.some_and_nulls(Dependent(right))
        known = call("AND", [call("IS NOT NULL", [value]), call("NOT", [nulls])])
        return nodes.keep(nodes.Filter(values.plan, call("OR", [call("NOT", [some]), known])), range(width))

    def _alone(self, query: exp.Expression) -> nodes.Node | None:
        """A query that speaks of no outer row."""
        try:
            return unsorted(self.query(query))
        except BindError:
            return None

    def _rows(
        self, query: exp.Expression, outer: ExpressionBinder, plan: nodes.Node, wanted: bool
    ) -> tuple[nodes.Node, Expr | None, list[Expr], int | None]:
        """The rows of IN's or EXISTS's query: a relation; when a row of it is of the outer row; the columns of the query;
        if `wanted`; and its hint STATE_TTL. Expressions are over the outer row's columns, then the relation's."""
        if _plain_select(query):
            try:
                return self._filtered(query, outer.scope, wanted)
            except BindError:
                pass  # it speaks of the outer row elsewhere than in WHERE, or is wrong: then that is said now
        of = dependent(self, query, outer, plan)
        width = outer.scope.width
        columns: list[Expr] = [
            Column(c.type, width + i, c.name) for i, c in enumerate(of.plan.schema.columns[: of.width])
        ]
        return of.plan, equal(outer, of, of.plan, of.keys, width), columns, None

    def _filtered(
        self, query: exp.Expression, outer: Scope, wanted: bool
    ) -> tuple[nodes.Node, Expr | None, list[Expr], int | None]:
        """As `_rows`, of a SELECT that only filters: what its WHERE says of both rows is the join's condition."""
        binder, ttl = self.within(query), StateTtl(query)
        plan, scope = binder.from_clause(query, ttl)
        lives = ttl.of(scope)
        ttl.check(scope)
        both = outer.joined(scope)
        outside: list[Expr] = []
        inner_parts: list[exp.Expression] = []
        where = query.args.get("where")
        for part in parts_of(where.this) if where is not None else []:
            if has_subquery(part):
                inner_parts.append(part)
                continue
            try:
                ExpressionBinder(scope, self.catalog).condition(part)
                inner_parts.append(part)
            except BindError:
                outside.append(ExpressionBinder(both, self.catalog).condition(part))
        for part in inner_parts:
            plan = binder._where(plan, scope, part)
        columns: list[Expr] = []
        for item in query.expressions if wanted else []:
            if isinstance(item, exp.Star) or isinstance(item, exp.Column) and isinstance(item.this, exp.Star):
                star = scope.star(column_parts(item)[:-1] if isinstance(item, exp.Column) else ()) or []
                columns += [shift(c, lambda i: i + outer.width) for c in star]
            else:
                e = ExpressionBinder(scope, self.catalog).bind(item.this if isinstance(item, exp.Alias) else item)
                columns.append(shift(e, lambda i: i + outer.width))
        return plan, conjunction(outside), columns, lives


def _as_in(node: exp.Expression) -> exp.Expression:
    """x = ANY (…) as x IN (…), x <> ALL (…) as x NOT IN (…)."""
    if isinstance(node, exp.EQ) and isinstance(node.expression, exp.Any):
        return exp.In(this=node.this, query=node.expression.this)
    if isinstance(node, exp.NEQ) and isinstance(node.expression, exp.All):
        return exp.Not(this=exp.In(this=node.this, query=node.expression.this))
    return node


def _joined(node: exp.Expression) -> bool:
    """Whether it is [NOT] EXISTS or [NOT] IN of a query, for which a semi or an anti join is enough."""
    while isinstance(node, (exp.Not, exp.Paren)):
        node = node.this
    if isinstance(node, exp.Exists):
        return not one_row(unwrapped(node.this))
    query = node.args.get("query") if isinstance(node, exp.In) else None
    return query is not None and not one_row(unwrapped(query)) and not has_subquery(node.this)


def _plain_select(query: exp.Expression) -> bool:
    """Whether it is a SELECT that gives each row of FROM that WHERE lets through."""
    if not isinstance(query, exp.Select) or any(
        query.args.get(k) for k in ("group", "having", "qualify", "limit", "offset")
    ):
        return False
    return not any(
        has_aggregate(e) or any(isinstance(n, (exp.Window, exp.Query, exp.Exists)) for n in own_nodes(e))
        for e in query.expressions
    )
