"""Queries to logical plans: FROM, WHERE, GROUP BY, HAVING, OVER, SELECT, ORDER BY, set operations, in that order."""

from __future__ import annotations

from dataclasses import replace

from sqlstream.errors import BindError, NotSupported, did_you_mean
from sqlstream.expressions import Call, Column, Expr, Literal
from sqlstream.functions.typing import common
from sqlstream.plan import emission, nodes
from sqlstream.plan.aggregate_binder import AggregateStage, aggregates_in, has_aggregate
from sqlstream.plan.aggregate_calls import mark_aggregates
from sqlstream.plan.columns import aligned, item_name, unsorted
from sqlstream.plan.condition_binder import ConditionBinder
from sqlstream.plan.correlation import has_subquery
from sqlstream.plan.expression_binder import ExpressionBinder, coerce
from sqlstream.plan.from_binder import DUAL
from sqlstream.plan.over_binder import OverStage
from sqlstream.plan.scope import Scope
from sqlstream.plan.set_operations import difference, intersection
from sqlstream.plan.state_ttl import StateTtl
from sqlstream.plan.subquery_values import SubqueryValues
from sqlstream.sql.ast import (
    column_parts,
    exp,
    position_of,
)  # fmt: skip
from sqlstream.sql.printing import sql_of
from sqlstream.types import BOOLEAN, PROCTIME, Schema
from sqlstream.types import Column as SchemaColumn


class QueryBinder(ConditionBinder):
    """Binds one statement's query: a layer on FROM (`from_binder.py`) and WHERE (`condition_binder.py`)."""

    # ---- queries

    def query(self, node: exp.Expression, per: int = 0) -> nodes.Node:
        """SELECT, set operation, VALUES, or one of these in parentheses; with what EMIT says."""
        plan, emit = self._query(node, per), node.args.get("emit")
        if emit is None:
            return plan
        return (emission.changes if emit.this == "CHANGES" else emission.on_close)(plan, position_of(emit))

    def _query(self, node: exp.Expression, per: int) -> nodes.Node:
        mark_aggregates(node, self.catalog)
        binder = self.within(node)
        if isinstance(node, exp.Subquery):
            return binder._ordered(binder.query(node.this, per), node, per)
        if isinstance(node, exp.Select):
            return binder._select(node, per)
        if isinstance(node, (exp.Union, exp.Except, exp.Intersect)):
            return binder._ordered(binder._set_operation(node, per), node, per)
        if isinstance(node, exp.Values):
            return binder._ordered(binder._values(node), node)
        raise NotSupported(f"this query is not supported: {sql_of(node)[:80]}", position=position_of(node))

    # ---- SELECT

    def _select(self, node: exp.Select, per: int) -> nodes.Node:
        ttl = StateTtl(node)
        plan, scope = self.from_clause(node, ttl)
        if node.args.get("where") is not None:
            plan = self._where(plan, scope, node.args["where"].this, ttl)
        items = self._expand(node.expressions, scope)
        order = node.args.get("order")
        aliases = {i.alias: i.this for i in items if isinstance(i, exp.Alias)}
        orders = _order_nodes(order, items, aliases)
        having, qualify = node.args.get("having"), node.args.get("qualify")
        texts = (
            [i for i in items if not isinstance(i, _Ready)]
            + orders
            + [h.this for h in (having, qualify) if h is not None]
        )
        grouped = node.args.get("group") is not None or any(has_aggregate(t) for t in texts) or having is not None
        windows = node.args.get("windows") or []
        group = node.args.get("group")
        subqueries = any(has_subquery(t) for t in [*texts, *([] if group is None else [group])])
        lives = ttl.of(scope) if subqueries else None
        values = SubqueryValues(self, plan, ExpressionBinder(scope, self.catalog), lives)
        binder = values.binder
        stage = AggregateStage(plan, values.binder, group) if grouped else None
        if stage is not None:
            binder = stage.binder
            if subqueries:
                # They are joined to the groups, so all that these give must be known before.
                for call in [c for t in (*texts, *windows) for c in aggregates_in(t)]:
                    binder.bind(call)
                values = SubqueryValues(self, stage.plan(values.plan, ttl.of(scope)), binder, grouped=stage.grouped)
                binder = values.binder
        overs = OverStage(binder, windows)
        exprs: list[Expr] = []
        names: list[str] = []
        for i, item in enumerate(items):
            if isinstance(item, _Ready):
                exprs.append(stage.column(item.expr, item.node) if stage is not None else item.expr)
                names.append(item.name)
                continue
            exprs.append(overs.binder.bind(item.this if isinstance(item, exp.Alias) else item))
            names.append(item_name(item, i))
        sort_exprs = [overs.binder.bind(o) for o in orders]
        having_expr = binder.condition(having.this) if having is not None else None
        qualify_expr = overs.binder.condition(qualify.this) if qualify is not None else None
        plan = values.plan if stage is None or subqueries else stage.plan(plan, ttl.of(scope))
        if having_expr is not None:
            plan = nodes.Filter(plan, having_expr)
        plan, place = overs.plan(plan, None if stage is not None or not overs.calls else ttl.of(scope))
        exprs, sort_exprs = [place(e) for e in exprs], [place(e) for e in sort_exprs]
        if qualify_expr is not None:
            plan = nodes.Filter(plan, place(qualify_expr))
        columns = tuple(_column(n, e, plan.schema) for n, e in zip(names, exprs, strict=True))
        distinct = node.args.get("distinct") is not None
        extra = [e for e in sort_exprs if e not in exprs]
        if distinct and extra:
            raise BindError("ORDER BY with SELECT DISTINCT takes only selected columns", position=position_of(order))
        wide = (*columns, *(_column(f"$s{i}", e, plan.schema) for i, e in enumerate(extra)))
        plan = nodes.Project(plan, (*exprs, *extra), wide)
        if distinct:
            lives = None if stage is not None or overs.calls else ttl.of(scope)
            plan = nodes.Aggregate(plan, tuple(range(len(columns))), (), ttl=lives)
        ttl.check(scope)
        everything = [*exprs, *extra]
        keys = [everything.index(e) for e in sort_exprs]
        plan = self._sorted(plan, node, order, keys, range(len(columns) - per, len(columns)))
        return nodes.keep(plan, range(len(columns))) if extra else plan

    def _expand(self, items: list[exp.Expression], scope: Scope) -> list[exp.Expression | _Ready]:
        """`*` and `t.*` as columns."""
        out: list[exp.Expression | _Ready] = []
        for item in items:
            star = isinstance(item, exp.Star) or (isinstance(item, exp.Column) and isinstance(item.this, exp.Star))
            if not star:
                out.append(item)
                continue
            name = column_parts(item)[:-1] if isinstance(item, exp.Column) else ()
            found = scope.star(name)
            if not found:
                known = [r.alias for r in scope.relations if r.alias]
                raise BindError(
                    f"there is no table '{'.'.join(name)}' here" if name else "SELECT * needs a FROM",
                    hint=did_you_mean(name[-1], known, "tables") if name else None,
                    position=position_of(item),
                )
            out += [_Ready(c, c.name, item) for c in found]
        return out

    # ---- ORDER BY, LIMIT

    def _sorted(
        self,
        plan: nodes.Node,
        node: exp.Expression,
        order: exp.Expression | None,
        keys: list[int],
        per: range = range(0),
    ) -> nodes.Node:
        """`per`: the columns for whose values LIMIT holds each."""
        items: list[nodes.SortKey] = []
        for o, k in zip(order.expressions if order is not None else [], keys, strict=True):
            ascending = not o.args.get("desc")
            first = o.args.get("nulls_first")
            items.append(nodes.SortKey(k, ascending, ascending if first is None else bool(first)))
        limit, offset = _count(node.args.get("limit"), "LIMIT"), _count(node.args.get("offset"), "OFFSET")
        if not items and limit is None and not offset:
            return plan
        if limit == 0:
            return nodes.Filter(plan, Literal(BOOLEAN.null(False), False))
        if len(per):
            if limit is None:
                if offset:
                    raise NotSupported(
                        "OFFSET without LIMIT in a query that speaks of an outer row is not supported",
                        hint="LIMIT n OFFSET m",
                        position=position_of(node.args["offset"]),
                    )
                return plan
            return nodes.TopN(plan, tuple(per), tuple(items), (offset or 0) + 1, (offset or 0) + limit)
        return nodes.Sort(plan, tuple(items), limit, offset or 0)

    def _ordered(self, plan: nodes.Node, node: exp.Expression, per: int = 0) -> nodes.Node:
        """ORDER BY and LIMIT behind a set operation or a query in parentheses: over its columns. `per`: as in `query`."""
        order = node.args.get("order")
        keys: list[int] = []
        if order is not None:
            binder = ExpressionBinder(Scope.of(None, plan.schema), self.catalog)
            for o in order.expressions:
                e = _ordinal(o.this, plan.schema) or binder.bind(o.this)
                if not isinstance(e, Column):
                    raise NotSupported("ORDER BY here takes columns", position=position_of(o))
                keys.append(e.index)
        return self._sorted(plan, node, order, keys, range(len(plan.schema) - per, len(plan.schema)))

    # ---- set operations, VALUES

    def _set_operation(self, node: exp.Expression, per: int) -> nodes.Node:
        name = {"union": "UNION", "except": "EXCEPT", "intersect": "INTERSECT"}[node.key]
        left, right = unsorted(self.query(node.this, per)), unsorted(self.query(node.expression, per))
        if len(left.schema) != len(right.schema):
            raise BindError(
                f"{name}: the queries have {len(left.schema)} and {len(right.schema)} columns",
                hint="select as many on both sides; CAST(NULL AS STRING) stands for one that is missing",
                position=position_of(node),
            )
        left, right = aligned([left, right], name)
        if name == "UNION":
            union = nodes.Union((left, right))
            return nodes.Aggregate(union, tuple(range(len(union.schema))), ()) if node.args.get("distinct") else union
        combined = intersection if name == "INTERSECT" else difference
        return combined(left, right, bool(node.args.get("distinct")))

    def _values(self, node: exp.Values) -> nodes.Node:
        binder = ExpressionBinder(Scope(), self.catalog)
        rows = [[binder.bind(e) for e in row.expressions] for row in node.expressions]
        width = len(rows[0])
        for row, n in zip(rows, node.expressions, strict=True):
            if len(row) != width:
                raise BindError(
                    f"VALUES: a row has {len(row)} values, the first {width}",
                    hint="all rows have as many; NULL stands for one that is missing",
                    position=position_of(n),
                )
        types = [common([r[i].type for r in rows], f"VALUES, column {i + 1}") for i in range(width)]
        rows = [[coerce(e, t) for e, t in zip(row, types, strict=True)] for row in rows]
        columns = tuple(SchemaColumn(f"EXPR${i}", t) for i, t in enumerate(types))
        if all(isinstance(e, Literal) for row in rows for e in row):
            return nodes.Values(columns, tuple(tuple(_plain(e) for e in row) for row in rows))
        parts: list[nodes.Node] = [nodes.Project(DUAL, tuple(row), columns) for row in rows]
        return parts[0] if len(parts) == 1 else nodes.Union(tuple(parts))


class _Ready:
    """A column that `*` stands for."""

    def __init__(self, expr: Column, name: str, node: exp.Expression) -> None:
        self.expr, self.name, self.node = expr, name, node


def _plain(e: Expr) -> object:
    assert isinstance(e, Literal)
    return e.value


def _column(name: str, e: Expr, schema: Schema) -> SchemaColumn:
    if isinstance(e, Column):
        return replace(schema[e.index], name=name, type=e.type)
    proctime = isinstance(e, Call) and e.function == "PROCTIME"
    return SchemaColumn(name, e.type, PROCTIME if proctime else None)


def _order_nodes(
    order: exp.Expression | None, items: list[exp.Expression | _Ready], aliases: dict[str, exp.Expression]
) -> list[exp.Expression]:
    """What ORDER BY sorts by: ordinals and aliases as what they stand for."""
    out = []
    for o in order.expressions if order is not None else []:
        node = o.this
        if isinstance(node, exp.Literal) and not node.is_string:
            i = int(node.this) - 1
            if not 0 <= i < len(items):
                raise BindError(
                    f"ORDER BY {node.this}: there are {len(items)} columns",
                    hint="a number is the place of an item of SELECT, from 1; names may be written too",
                    position=position_of(node),
                )
            item = items[i]
            node = item.node if isinstance(item, _Ready) else item.this if isinstance(item, exp.Alias) else item
            if isinstance(item, _Ready):
                node = exp.column(exp.to_identifier(item.name, quoted=True))
        elif isinstance(node, exp.Column) and len(column_parts(node)) == 1 and column_parts(node)[0] in aliases:
            node = aliases[column_parts(node)[0]]
        out.append(node)
    return out


def _ordinal(node: exp.Expression, schema: Schema) -> Expr | None:
    if (
        isinstance(node, exp.Literal)
        and not node.is_string
        and node.this.isdigit()
        and 1 <= int(node.this) <= len(schema)
    ):
        i = int(node.this) - 1
        return Column(schema[i].type, i, schema[i].name)
    return None


MOST_ROWS = 2**63 - 1


def _count(node: exp.Expression | None, what: str) -> int | None:
    if node is None:
        return None
    value = node.expression
    if isinstance(value, exp.Literal) and not value.is_string and value.this.isdigit():
        if len(value.this) > 18 and int(value.this) > MOST_ROWS:
            raise BindError(f"{what} is {MOST_ROWS} rows at most", hint="leave it out", position=position_of(value))
        return int(value.this)
    raise BindError(f"{what} takes a whole number", position=position_of(value))
