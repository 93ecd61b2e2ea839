"""WHERE: filters, and IN (SELECT …) and EXISTS as semi and anti joins."""

from __future__ import annotations

from sqlstream.errors import BindError, NotSupported
from sqlstream.expressions import Column, Expr, conjunction
from sqlstream.plan import nodes
from sqlstream.plan.aggregate_binder import has_aggregate
from sqlstream.plan.expression_binder import ExpressionBinder
from sqlstream.plan.from_binder import FromBinder
from sqlstream.plan.joins import join
from sqlstream.plan.scope import Scope
from sqlstream.plan.state_ttl import StateTtl
from sqlstream.sql.ast import (
    exp,
    position_of,
)  # fmt: skip


class ConditionBinder(FromBinder):
    """Binds conditions over relations."""

    def _where(
        self, plan: nodes.Node, scope: Scope, condition: exp.Expression, ttl: StateTtl | None = None
    ) -> nodes.Node:
        """Filters; IN (SELECT …) and EXISTS as semi and anti joins. `ttl`: the hints of the SELECT."""
        plain: list[Expr] = []
        width = len(plan.schema)
        subqueries: list[exp.Expression] = []
        for part in _parts(condition):
            if _subquery_condition(part):
                subqueries.append(part)
            else:
                plain.append(ExpressionBinder(scope, self.catalog).condition(part))
        if plain:
            whole = conjunction(plain)
            assert whole is not None
            plan = nodes.Filter(plan, whole)
        for part in subqueries:
            plan = self._semi_join(plan, scope, part, None if ttl is None else ttl.of(scope))
            assert len(plan.schema) == width
        return plan

    def _semi_join(self, plan: nodes.Node, scope: Scope, part: exp.Expression, ttl: int | None) -> nodes.Node:
        negated = False
        while isinstance(part, (exp.Not, exp.Paren)):
            negated ^= isinstance(part, exp.Not)
            part = part.this
        kind = "ANTI" if negated else "SEMI"
        if isinstance(part, exp.Exists):
            query = part.this.this if isinstance(part.this, exp.Subquery) else part.this
            right, condition, inner = self._correlated(query, scope)
            return join(plan, right, kind, condition, (ttl, inner))
        query = part.args["query"]
        query = query.this if isinstance(query, exp.Subquery) else query
        right = self.query(query)
        values = part.this.expressions if isinstance(part.this, exp.Tuple) else [part.this]
        if len(values) != len(right.schema):
            raise BindError(
                f"IN compares {len(values)} value(s) with a query of {len(right.schema)} columns",
                hint="(a, b) IN (SELECT x, y …), or leave columns out of the query",
                position=position_of(part),
            )
        binder = ExpressionBinder(scope, self.catalog)
        parts: list[Expr] = []
        for i, v in enumerate(values):
            left = binder.bind(v)
            c = right.schema[i]
            if negated and (left.type.nullable or c.type.nullable):
                raise NotSupported(
                    "NOT IN (SELECT …) over values that may be NULL is not supported",
                    hint="NOT EXISTS (SELECT … WHERE a = b) says what is usually meant",
                    position=position_of(part),
                )
            parts.append(binder.call("=", [left, Column(c.type, len(plan.schema) + i, c.name)]))
        return join(plan, right, kind, conjunction(parts), (ttl, None))

    def _correlated(self, query: exp.Expression, outer: Scope) -> tuple[nodes.Node, Expr | None, int | None]:
        """EXISTS's query as a relation, the part of its WHERE that speaks of the outer query, and its hint STATE_TTL."""
        if not isinstance(query, exp.Select) or query.args.get("group") or query.args.get("limit"):
            return self.query(query), None, None
        if any(has_aggregate(e) for e in query.expressions):
            return self.query(query), None, None
        binder, ttl = self._with(query), StateTtl(query)
        plan, scope = binder.relation(query.args["from_"].this, ttl)
        for j in query.args.get("joins") or []:
            plan, scope = binder._join(plan, scope, j, ttl)
        lives = ttl.of(scope)
        ttl.check(scope)
        where = query.args.get("where")
        if where is None:
            return plan, None, lives
        outside: list[Expr] = []
        both = outer.joined(scope)
        inner_parts: list[exp.Expression] = []
        for part in _parts(where.this):
            if _subquery_condition(part):
                inner_parts.append(part)
                continue
            try:
                ExpressionBinder(scope, self.catalog).condition(part)
                inner_parts.append(part)
            except BindError:
                outside.append(ExpressionBinder(both, self.catalog).condition(part))
        for part in inner_parts:
            plan = binder._where(plan, scope, part)
        return plan, conjunction(outside), lives


def _parts(node: exp.Expression) -> list[exp.Expression]:
    if isinstance(node, exp.Paren):
        return _parts(node.this) if isinstance(node.this, (exp.And, exp.Paren)) else [node]
    return [*_parts(node.this), *_parts(node.expression)] if isinstance(node, exp.And) else [node]


def _subquery_condition(node: exp.Expression) -> bool:
    while isinstance(node, (exp.Not, exp.Paren)):
        node = node.this
    return isinstance(node, exp.Exists) or (isinstance(node, exp.In) and node.args.get("query") is not None)
