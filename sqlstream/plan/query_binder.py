"""Queries to logical plans: FROM, WHERE, GROUP BY, HAVING, OVER, SELECT, ORDER BY, set operations, in that order."""

from __future__ import annotations

from dataclasses import replace

from sqlstream.catalog.catalog import Catalog
from sqlstream.catalog.objects import Table
from sqlstream.errors import BindError, NotSupported, SqlStreamError, did_you_mean
from sqlstream.expressions import Call, Column, Expr, Literal, conjunction
from sqlstream.functions.typing import common
from sqlstream.plan import nodes
from sqlstream.plan.aggregate_binder import AggregateStage, has_aggregate
from sqlstream.plan.expression_binder import ExpressionBinder, coerce
from sqlstream.plan.joins import join, keep, with_columns
from sqlstream.plan.over_binder import OverStage
from sqlstream.plan.scope import Relation, Scope
from sqlstream.plan.table_binder import TableBinder
from sqlstream.plan.window_binder import bind_window_function
from sqlstream.sql.ast import (
    JoinGroup,
    TableArgument,
    TableFunction,
    column_parts,
    exp,
    hints,
    position_of,
    sql_of,
)  # fmt: skip
from sqlstream.types import BIGINT, BOOLEAN, INT, PROCTIME, Schema
from sqlstream.types import Column as SchemaColumn

# A relation of one row, for SELECT without FROM.
DUAL = nodes.Values((SchemaColumn("ZERO", INT.null(False)),), ((0,),))


class QueryBinder:
    """Binds one statement's query. CTEs and views are bound where they are used, each with its own scope."""

    def __init__(
        self,
        catalog: Catalog,
        tables: TableBinder,
        ctes: dict[str, tuple[exp.Expression, QueryBinder]] | None = None,
        depth: int = 0,
    ) -> None:
        self.catalog = catalog
        self.tables = tables
        self.ctes = ctes or {}
        self.depth = depth
        if depth > 40:
            raise BindError("views nest too deeply", hint="does a view read itself?")

    # ---- queries

    def query(self, node: exp.Expression) -> nodes.Node:
        """SELECT, set operation, VALUES, or one of these in parentheses."""
        binder = self._with(node)
        if isinstance(node, exp.Subquery):
            return binder._ordered(binder.query(node.this), node)
        if isinstance(node, exp.Select):
            return binder._select(node)
        if isinstance(node, (exp.Union, exp.Except, exp.Intersect)):
            return binder._ordered(binder._set_operation(node), node)
        if isinstance(node, exp.Values):
            return binder._ordered(binder._values(node), node)
        raise NotSupported(f"this query is not supported: {sql_of(node)[:80]}", position=position_of(node))

    def _with(self, node: exp.Expression) -> QueryBinder:
        clause = node.args.get("with_")
        if clause is None:
            return self
        ctes = dict(self.ctes)
        binder = self
        for cte in clause.expressions:
            name = cte.args["alias"].this.name
            # A CTE sees those before it, and not itself.
            ctes[name] = (cte, binder)
            binder = QueryBinder(self.catalog, self.tables, dict(ctes), self.depth)
        return binder

    # ---- FROM

    def relation(self, node: exp.Expression) -> tuple[nodes.Node, Scope]:
        """One FROM item with its names."""
        if isinstance(node, exp.Table):
            return self._table(node)
        if isinstance(node, exp.Subquery):
            plan = self.query(node.this if not node.args.get("with_") else node)
            return self._aliased(plan, node.args.get("alias"), None, node)
        if isinstance(node, TableFunction):
            return self._table_function(node)
        if isinstance(node, exp.Values):
            return self._aliased(self.query(node), node.args.get("alias"), None, node)
        if isinstance(node, JoinGroup):
            plan, scope = self.relation(node.this)
            for j in node.args["joins"]:
                plan, scope = self._join(plan, scope, j)
            return plan, scope
        raise NotSupported(f"this in FROM is not supported: {sql_of(node)[:80]}", position=position_of(node))

    def _aliased(
        self, plan: nodes.Node, alias: exp.Expression | None, default: str | None, node: exp.Expression
    ) -> tuple[nodes.Node, Scope]:
        name = alias.this.name if alias is not None and alias.this is not None else default
        if alias is not None and alias.args.get("columns"):
            names = [c.name for c in alias.args["columns"]]
            plan = renamed(plan, names, node)
        return plan, Scope((Relation(name, plan.schema),))

    def _table(self, node: exp.Table) -> tuple[nodes.Node, Scope]:
        name = tuple(p.name for p in (node.args.get("catalog"), node.args.get("db"), node.this) if p is not None)
        if len(name) == 1 and name[0] in self.ctes:
            cte, binder = self.ctes[name[0]]
            plan, _ = binder._aliased(binder.query(cte.this), cte.args.get("alias"), name[0], node)
            return self._aliased(plan, node.args.get("alias"), name[0], node)
        if node.args.get("version") is not None:
            raise NotSupported(
                "FOR SYSTEM_TIME AS OF is for the right side of a join",
                hint="… JOIN t FOR SYSTEM_TIME AS OF o.proctime AS t ON …",
                position=position_of(node),
            )
        found = self.catalog.relation(name, position_of(node))
        if isinstance(found, Table):
            return self._aliased(self.tables.scan(self._hinted(found, node)), node.args.get("alias"), name[-1], node)
        try:
            plan = QueryBinder(self.catalog, self.tables, None, self.depth + 1).query(found.query)
        except SqlStreamError as e:
            # Positions inside belong to the view's text.
            e.position = position_of(node)
            e.message = f"in view {found.name}: {e.message}"
            raise
        if found.columns:
            plan = renamed(plan, list(found.columns), node)
        return self._aliased(plan, node.args.get("alias"), name[-1], node)

    def _hinted(self, table: Table, node: exp.Table) -> Table:
        for h in hints(node):
            if h.name != "OPTIONS":
                raise NotSupported(f"hint {h.name} is not supported on a table", position=position_of(node))
            table = replace(table, options=tuple({**table.option_map, **dict(h.options)}.items()))
        return table

    def _table_function(self, node: TableFunction) -> tuple[nodes.Node, Scope]:
        name = node.this.upper() if isinstance(node.this, str) else node.this.name.upper()
        if name not in ("TUMBLE", "HOP", "CUMULATE", "SESSION"):
            raise NotSupported(
                f"table function {name} is not supported",
                hint=did_you_mean(name, ["TUMBLE", "HOP", "CUMULATE", "SESSION"], "table functions"),
                position=position_of(node),
            )

        def table(argument: TableArgument) -> tuple[nodes.Node, Scope]:
            return self.relation(argument.this)

        plan = bind_window_function(name, node, table, self.catalog)
        return self._aliased(plan, node.args.get("alias"), None, node)

    def _join(self, left: nodes.Node, scope: Scope, node: exp.Join) -> tuple[nodes.Node, Scope]:
        side = (node.args.get("side") or "").upper()
        kind = side or ("CROSS" if (node.args.get("kind") or "").upper() == "CROSS" else "INNER")
        item = node.this
        if isinstance(item, exp.Unnest):
            return self._unnest(left, scope, item, kind, node)
        if isinstance(item, exp.Table) and item.args.get("version") is not None:
            return self._as_of(left, scope, item, kind, node)
        right, right_scope = self.relation(item)
        both = scope.joined(right_scope)
        condition: Expr | None = None
        using = [i.name for i in node.args.get("using") or []]
        if (node.args.get("method") or "").upper() == "NATURAL":
            using = [n for n in scope.names() if n in right_scope.names()]
            if not using:
                raise BindError("NATURAL JOIN: the tables have no column of one name", position=position_of(node))
        if using:
            parts: list[Expr] = []
            binder = ExpressionBinder(both, self.catalog)
            hidden: set[int] = set()
            for name in using:
                a = scope.resolve((name,), position_of(node))
                b = right_scope.resolve((name,), position_of(node))
                assert isinstance(a, Column) and isinstance(b, Column)
                hidden.add(b.index)
                parts.append(binder.compare("=", a, replace(b, index=b.index + scope.width)))
            condition = conjunction(parts)
            right_scope = Scope(
                tuple(replace(r, hidden=frozenset(h - r.offset for h in hidden)) for r in right_scope.relations)
            )
            both = scope.joined(right_scope)
        elif node.args.get("on") is not None:
            condition = ExpressionBinder(both, self.catalog).condition(node.args["on"])
        elif kind not in ("CROSS",):
            raise BindError(f"{kind} JOIN needs ON or USING", position=position_of(node))
        plan = join(left, right, "INNER" if kind == "CROSS" else kind, condition)
        return plan, both.renamed(plan.schema)

    def _as_of(
        self, left: nodes.Node, scope: Scope, item: exp.Table, kind: str, node: exp.Join
    ) -> tuple[nodes.Node, Scope]:
        moment = ExpressionBinder(scope, self.catalog).bind(item.args["version"].expression)
        mark = scope.schema[moment.index].time if isinstance(moment, Column) else None
        plain = item.copy()
        plain.set("version", None)
        right, right_scope = self.relation(plain)
        if mark != PROCTIME:
            raise NotSupported(
                "a temporal join on event time is not supported yet",
                hint="FOR SYSTEM_TIME AS OF takes a processing-time column: p AS PROCTIME()",
                position=position_of(item),
            )
        if kind not in ("INNER", "LEFT"):
            raise NotSupported(f"a lookup join is INNER or LEFT, not {kind}", position=position_of(node))
        if node.args.get("on") is None:
            raise BindError("a lookup join needs ON", position=position_of(node))
        if any(isinstance(n, nodes.Scan) and not n.source.bounded for n in walk(right)):
            raise NotSupported(
                f"table {item.name} is unbounded: it cannot be looked up", hint="remove its 'source.monitor-interval'",
                position=position_of(item),
            )  # fmt: skip
        both = scope.joined(right_scope)
        condition = ExpressionBinder(both, self.catalog).condition(node.args["on"])
        made = join(left, right, kind, condition)
        plan = _as_lookup(made)
        return plan, both.renamed(plan.schema)

    def _unnest(
        self, left: nodes.Node, scope: Scope, item: exp.Unnest, kind: str, node: exp.Join
    ) -> tuple[nodes.Node, Scope]:
        if kind not in ("CROSS", "INNER", "LEFT"):
            raise NotSupported(f"UNNEST with {kind} JOIN is not supported", position=position_of(node))
        value = ExpressionBinder(scope, self.catalog).bind(item.expressions[0])
        t = value.type
        if t.kind == "ARRAY":
            element = t.element
            made = [(f.name, f.type) for f in element.fields] if element.kind == "ROW" else [("EXPR$0", element)]
        elif t.kind == "MAP":
            made = [("KEY", t.fields[0].type), ("VALUE", t.fields[1].type)]
        else:
            raise BindError(f"UNNEST takes an ARRAY or MAP, not {t.text()}", position=position_of(item))
        alias = item.args.get("alias")
        names = [c.name for c in alias.args.get("columns") or []] if alias is not None else []
        ordinality = bool(item.args.get("offset"))
        wide, (at,) = with_columns(left, [value])
        columns = tuple(
            SchemaColumn(names[i] if i < len(names) else n, ty.null(True)) for i, (n, ty) in enumerate(made)
        )
        out: nodes.Node = nodes.Unnest(wide, at, columns, "LEFT" if kind == "LEFT" else "INNER", ordinality)
        if len(wide.schema) > len(left.schema):
            width = len(left.schema)
            out = keep(out, [*range(width), *range(len(wide.schema), len(out.schema))])
        if ordinality and len(names) > len(made):
            out = renamed(out, [*(c.name for c in out.schema.columns[:-1]), names[len(made)]], item)
        right_schema = Schema(out.schema.columns[len(left.schema) :])
        name = alias.this.name if alias is not None and alias.this is not None else None
        return out, scope.joined(Scope((Relation(name, right_schema),))).renamed(out.schema)

    # ---- SELECT

    def _select(self, node: exp.Select) -> nodes.Node:
        for hint in hints(node):
            if hint.name == "STATE_TTL":
                raise NotSupported(
                    "hint STATE_TTL is not supported: state is kept as long as the query needs it",
                    hint="a window or an interval join forgets by event time",
                    position=position_of(node),
                )
        plan: nodes.Node = DUAL
        scope = Scope()
        if node.args.get("from_") is not None:
            first = node.args["from_"].this
            if isinstance(first, exp.Unnest):
                plan, scope = self._unnest(DUAL, Scope((Relation(None, Schema(())),)), first, "CROSS", first)
                plan = keep(plan, range(1, len(plan.schema)))
                scope = scope.renamed(plan.schema)
            else:
                plan, scope = self.relation(first)
            for j in node.args.get("joins") or []:
                plan, scope = self._join(plan, scope, j)
        if node.args.get("where") is not None:
            plan = self._where(plan, scope, node.args["where"].this)
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
        stage: AggregateStage | None = None
        if grouped:
            stage = AggregateStage(plan, scope, self.catalog, node.args.get("group"))
            binder = stage.binder
        else:
            binder = ExpressionBinder(scope, self.catalog)
        overs = OverStage(binder, node.args.get("windows") or [])
        exprs: list[Expr] = []
        names: list[str] = []
        for i, item in enumerate(items):
            if isinstance(item, _Ready):
                e: Expr = stage.column(item.expr, item.node) if stage is not None else item.expr
                exprs.append(e)
                names.append(item.name)
                continue
            inner = item.this if isinstance(item, exp.Alias) else item
            e = overs.binder.bind(inner)
            exprs.append(e)
            names.append(item.alias if isinstance(item, exp.Alias) else _name(inner, i))
        sort_exprs = [overs.binder.bind(o) for o in orders]
        having_expr = binder.condition(having.this) if having is not None else None
        qualify_expr = overs.binder.condition(qualify.this) if qualify is not None else None
        if stage is not None:
            plan = stage.plan()
        if having_expr is not None:
            plan = nodes.Filter(plan, having_expr)
        plan, place = overs.plan(plan)
        exprs, sort_exprs = [place(e) for e in exprs], [place(e) for e in sort_exprs]
        if qualify_expr is not None:
            plan = nodes.Filter(plan, place(qualify_expr))
        columns = tuple(_column(n, e, plan.schema) for n, e in zip(names, exprs, strict=True))
        distinct = node.args.get("distinct") is not None
        extra = [e for e in sort_exprs if e not in exprs]
        if distinct and extra:
            raise BindError("ORDER BY with SELECT DISTINCT takes only selected columns", position=position_of(order))
        wide = (*columns, *(SchemaColumn(f"$s{i}", e.type) for i, e in enumerate(extra)))
        plan = nodes.Project(plan, (*exprs, *extra), wide)
        if distinct:
            plan = nodes.Aggregate(plan, tuple(range(len(columns))), ())
        everything = [*exprs, *extra]
        keys = [everything.index(e) for e in sort_exprs]
        plan = self._sorted(plan, node, order, keys)
        return keep(plan, range(len(columns))) if extra else plan

    def _expand(self, items: list[exp.Expression], scope: Scope) -> list[exp.Expression | _Ready]:
        """`*` and `t.*` as columns."""
        out: list[exp.Expression | _Ready] = []
        for item in items:
            star = isinstance(item, exp.Star) or (isinstance(item, exp.Column) and isinstance(item.this, exp.Star))
            if not star:
                out.append(item)
                continue
            alias = column_parts(item)[0] if isinstance(item, exp.Column) else None
            found = [r for r in scope.relations if alias is None or r.alias == alias]
            if not found:
                known = [r.alias for r in scope.relations if r.alias]
                raise BindError(
                    f"there is no table '{alias}' here" if alias else "SELECT * needs a FROM",
                    hint=did_you_mean(alias, known, "tables") if alias else None,
                    position=position_of(item),
                )
            for r in found:
                for i, c in enumerate(r.schema):
                    if i not in r.hidden:
                        out.append(_Ready(Column(c.type, r.offset + i, c.name), c.name, item))
        return out

    def _where(self, plan: nodes.Node, scope: Scope, condition: exp.Expression) -> nodes.Node:
        """Filters; IN (SELECT …) and EXISTS as semi and anti joins."""
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
            plan = self._semi_join(plan, scope, part)
            assert len(plan.schema) == width
        return plan

    def _semi_join(self, plan: nodes.Node, scope: Scope, part: exp.Expression) -> nodes.Node:
        negated = False
        while isinstance(part, (exp.Not, exp.Paren)):
            negated ^= isinstance(part, exp.Not)
            part = part.this
        kind = "ANTI" if negated else "SEMI"
        if isinstance(part, exp.Exists):
            query = part.this.this if isinstance(part.this, exp.Subquery) else part.this
            right, condition = self._correlated(query, scope)
            return join(plan, right, kind, condition)
        query = part.args["query"]
        query = query.this if isinstance(query, exp.Subquery) else query
        right = self.query(query)
        values = part.this.expressions if isinstance(part.this, exp.Tuple) else [part.this]
        if len(values) != len(right.schema):
            raise BindError(
                f"IN compares {len(values)} value(s) with a query of {len(right.schema)} columns",
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
            parts.append(binder.compare("=", left, Column(c.type, len(plan.schema) + i, c.name)))
        return join(plan, right, kind, conjunction(parts))

    def _correlated(self, query: exp.Expression, outer: Scope) -> tuple[nodes.Node, Expr | None]:
        """EXISTS's query as a relation, and the part of its WHERE that speaks of the outer query."""
        if not isinstance(query, exp.Select) or query.args.get("group") or query.args.get("limit"):
            return self.query(query), None
        if any(has_aggregate(e) for e in query.expressions):
            return self.query(query), None
        binder = self._with(query)
        plan, scope = binder.relation(query.args["from_"].this)
        for j in query.args.get("joins") or []:
            plan, scope = binder._join(plan, scope, j)
        where = query.args.get("where")
        if where is None:
            return plan, None
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
        return plan, conjunction(outside)

    # ---- ORDER BY, LIMIT

    def _sorted(
        self, plan: nodes.Node, node: exp.Expression, order: exp.Expression | None, keys: list[int]
    ) -> nodes.Node:
        items: list[nodes.SortKey] = []
        for o, k in zip(order.expressions if order is not None else [], keys, strict=True):
            ascending = not o.args.get("desc")
            first = o.args.get("nulls_first")
            items.append(nodes.SortKey(k, ascending, ascending if first is None else bool(first)))
        limit, offset = _count(node.args.get("limit"), "LIMIT"), _count(node.args.get("offset"), "OFFSET")
        if not items and limit is None and not offset:
            return plan
        return nodes.Sort(plan, tuple(items), limit, offset or 0)

    def _ordered(self, plan: nodes.Node, node: exp.Expression) -> nodes.Node:
        """ORDER BY and LIMIT behind a set operation or a query in parentheses: over its columns."""
        order = node.args.get("order")
        keys: list[int] = []
        if order is not None:
            binder = ExpressionBinder(Scope((Relation(None, plan.schema),)), self.catalog)
            for o in order.expressions:
                e = _ordinal(o.this, plan.schema) or binder.bind(o.this)
                if not isinstance(e, Column):
                    raise NotSupported("ORDER BY here takes columns", position=position_of(o))
                keys.append(e.index)
        return self._sorted(plan, node, order, keys)

    # ---- set operations, VALUES

    def _set_operation(self, node: exp.Expression) -> nodes.Node:
        name = {"union": "UNION", "except": "EXCEPT", "intersect": "INTERSECT"}[node.key]
        left, right = self.query(node.this), self.query(node.expression)
        if len(left.schema) != len(right.schema):
            raise BindError(
                f"{name}: the queries have {len(left.schema)} and {len(right.schema)} columns",
                position=position_of(node),
            )
        left, right = aligned([left, right], name)
        if name == "UNION":
            union = nodes.Union((left, right))
            return nodes.Aggregate(union, tuple(range(len(union.schema))), ()) if node.args.get("distinct") else union
        if not node.args.get("distinct"):
            raise NotSupported(f"{name} ALL is not supported", hint=f"use {name}", position=position_of(node))
        width = len(left.schema)

        def flagged(side: nodes.Node, a: int, b: int) -> nodes.Node:
            exprs = [Column(c.type, i, c.name) for i, c in enumerate(side.schema)]
            marks = [Literal(BIGINT.null(False), a), Literal(BIGINT.null(False), b)]
            columns = (
                *side.schema.columns,
                SchemaColumn("$l", BIGINT.null(False)),
                SchemaColumn("$r", BIGINT.null(False)),
            )
            return nodes.Project(side, (*exprs, *marks), columns)

        both = nodes.Union((flagged(left, 1, 0), flagged(right, 0, 1)))
        sums = tuple(nodes.AggCall("SUM", (width + i,), SchemaColumn(n, BIGINT)) for i, n in enumerate(("$l", "$r")))
        counted = nodes.Aggregate(both, tuple(range(width)), sums)
        zero = Literal(BIGINT.null(False), 0)
        on_left = Call(BOOLEAN, ">", (Column(BIGINT, width, "$l"), zero))
        on_right = Call(BOOLEAN, ">" if name == "INTERSECT" else "=", (Column(BIGINT, width + 1, "$r"), zero))
        return keep(nodes.Filter(counted, Call(BOOLEAN, "AND", (on_left, on_right))), range(width))

    def _values(self, node: exp.Values) -> nodes.Node:
        binder = ExpressionBinder(Scope(), self.catalog)
        rows = [[binder.bind(e) for e in row.expressions] for row in node.expressions]
        width = len(rows[0])
        for row, n in zip(rows, node.expressions, strict=True):
            if len(row) != width:
                raise BindError(f"VALUES: a row has {len(row)} values, the first {width}", position=position_of(n))
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


def _as_lookup(made: nodes.Node) -> nodes.Node:
    """The Join at the top of `made` as a LookupJoin; Projects above stay."""
    if isinstance(made, nodes.Project):
        return replace(made, input=_as_lookup(made.input))
    assert isinstance(made, nodes.Join)
    return nodes.LookupJoin(made.input, made.right, made.kind, made.left_keys, made.right_keys, made.residual)


def walk(node: nodes.Node):  # type: ignore[no-untyped-def]
    yield node
    for i in node.inputs:
        yield from walk(i)


def renamed(plan: nodes.Node, names: list[str], node: exp.Expression) -> nodes.Node:
    """`plan` under other column names."""
    if len(names) != len(plan.schema):
        raise BindError(f"{len(names)} names for {len(plan.schema)} columns", position=position_of(node))
    exprs = tuple(Column(c.type, i, c.name) for i, c in enumerate(plan.schema))
    return nodes.Project(plan, exprs, tuple(replace(c, name=n) for c, n in zip(plan.schema, names, strict=True)))


def aligned(plans: list[nodes.Node], what: str) -> list[nodes.Node]:
    """The plans with the same types, cast where they differ."""
    types = [common([p.schema[i].type for p in plans], f"{what}, column {i + 1}") for i in range(len(plans[0].schema))]
    out: list[nodes.Node] = []
    for p in plans:
        exprs = tuple(
            coerce(Column(c.type, i, c.name), t) for i, (c, t) in enumerate(zip(p.schema, types, strict=True))
        )
        if all(isinstance(e, Column) for e in exprs):
            out.append(p)
            continue
        columns = tuple(
            c if isinstance(e, Column) else SchemaColumn(c.name, e.type) for c, e in zip(p.schema, exprs, strict=True)
        )
        out.append(nodes.Project(p, exprs, columns))
    return out


def _column(name: str, e: Expr, schema: Schema) -> SchemaColumn:
    if isinstance(e, Column):
        return replace(schema[e.index], name=name, type=e.type)
    proctime = isinstance(e, Call) and e.function == "PROCTIME"
    return SchemaColumn(name, e.type, PROCTIME if proctime else None)


def _name(node: exp.Expression, index: int) -> str:
    if isinstance(node, exp.Column):
        return column_parts(node)[-1]
    if isinstance(node, exp.Dot):
        return str(node.expression.name)
    return f"EXPR${index}"


def _parts(node: exp.Expression) -> list[exp.Expression]:
    if isinstance(node, exp.Paren):
        return _parts(node.this) if isinstance(node.this, (exp.And, exp.Paren)) else [node]
    return [*_parts(node.this), *_parts(node.expression)] if isinstance(node, exp.And) else [node]


def _subquery_condition(node: exp.Expression) -> bool:
    while isinstance(node, (exp.Not, exp.Paren)):
        node = node.this
    return isinstance(node, exp.Exists) or (isinstance(node, exp.In) and node.args.get("query") is not None)


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
                raise BindError(f"ORDER BY {node.this}: there are {len(items)} columns", position=position_of(node))
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


def _count(node: exp.Expression | None, what: str) -> int | None:
    if node is None:
        return None
    value = node.expression
    if isinstance(value, exp.Literal) and not value.is_string and value.this.isdigit():
        return int(value.this)
    raise BindError(f"{what} takes a whole number", position=position_of(value))
