"""Subqueries in expressions: each is joined to the rows over which the expression stands, and is a column of them then.

    (SELECT MAX(v) FROM t)                      joined with the one row there is
    (SELECT SUM(v) FROM u WHERE u.k = s.k)      LEFT JOIN with a row for each k (see `correlation.py`)
    EXISTS (…)                                  whether there is a row
    x IN (…), x > ALL (…)                       from the rows' number, whether a value is NULL, the least and greatest

All with SQL's three values: IN is unknown where only a NULL could have been the value.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from sqlstream.aggregates.function import COMPARABLE
from sqlstream.aggregates.registry import AGGREGATES
from sqlstream.errors import BindError, NotSupported
from sqlstream.expressions import Call, Column, Expr, Literal, conjunction
from sqlstream.plan import nodes
from sqlstream.plan.aggregate_binder import aggregates_in
from sqlstream.plan.aggregate_calls import aggregate_of, innermost, is_aggregate
from sqlstream.plan.columns import unsorted
from sqlstream.plan.correlation import Dependent, dependent, equal, one_row, own_nodes, spoken_of, unwrapped
from sqlstream.plan.expression_binder import ExpressionBinder
from sqlstream.plan.joins import join
from sqlstream.sql.ast import column_parts, exp, position_of
from sqlstream.types import BIGINT, BOOLEAN, NULL
from sqlstream.types import Column as SchemaColumn

if TYPE_CHECKING:
    from sqlstream.plan.from_binder import FromBinder

_FLAG = BOOLEAN.null(False)
_TRUE, _FALSE, _UNKNOWN = Literal(_FLAG, True), Literal(_FLAG, False), Literal(NULL, None)
_ZERO = Literal(BIGINT.null(False), 0)
_OF_NO_ROWS = {"COUNT": 0, "APPROX_COUNT_DISTINCT": 0, "JSON_ARRAYAGG": "[]", "JSON_OBJECTAGG": "{}"}
_COMPARISONS = {exp.EQ: "=", exp.NEQ: "<>", exp.LT: "<", exp.LTE: "<=", exp.GT: ">", exp.GTE: ">="}
_RESULT = "$result"  # the aggregates of a query, as a relation


class SubqueryValues:
    """Binds expressions over the rows of `plan`, which gets columns behind its own for the subqueries in them.

    binder: binds them; what it is made of, `below`, knows no subqueries. ttl: hint STATE_TTL of the rows. grouped: the
    columns of subqueries that are keys of GROUP BY.
    """

    def __init__(
        self,
        queries: FromBinder,
        plan: nodes.Node,
        below: ExpressionBinder,
        ttl: int | None = None,
        grouped: Callable[[exp.Expression], Expr | None] | None = None,
    ) -> None:
        self.plan = plan
        self._queries, self._ttl = queries, ttl

        self._known: dict[int, tuple[exp.Expression, Expr]] = {}  # what is bound again is joined once

        def hook(node: exp.Expression) -> Expr | None:
            if id(node) in self._known:
                return self._known[id(node)][1]
            found = (grouped(node) if grouped is not None else None) or self._value(node)
            if found is not None:
                self._known[id(node)] = node, found
                return found
            return None if below.hook is None else below.hook(node)

        self.binder = ExpressionBinder(below.scope, below.catalog, hook)

    def _value(self, node: exp.Expression) -> Expr | None:
        if isinstance(node, exp.Query):
            return self._scalar(node)
        if isinstance(node, exp.Exists):
            return self._exists(node)
        if isinstance(node, exp.In) and node.args.get("query") is not None:
            return self._in(node.this, node.args["query"], node)
        return self._quantified(node) if is_subquery(node) else None

    # ---- a value

    def _scalar(self, node: exp.Expression) -> Expr:
        query = unwrapped(node)
        if one_row(query):
            (value,) = self.row(query, 1)
            return value
        of = self._dependent(query)
        if of.width != 1:
            raise _one_column(of.width, node)
        if _at_most_one(query):
            return self._joined(of, of.plan)(0)
        t = of.plan.schema[0].type
        if t.kind not in COMPARABLE:
            raise NotSupported(
                f"a subquery that may give several rows as a value of type {t.text()} is not supported",
                hint="select a field of it, or let the subquery give one row: ORDER BY … LIMIT 1",
                position=position_of(node),
            )
        number, value = self._facts(of, [("COUNT", ()), ("MAX", (0,))], lambda c: {"$rows": c[0], "$value": c[1]})
        return self.binder.call("SINGLE_VALUE", [number, value])

    def row(self, query: exp.Expression, width: int | None = None) -> list[Expr]:
        """The columns of a SELECT of aggregates without GROUP BY: of no rows, too, it has its one row."""
        if width is not None and len(query.expressions) != width:
            raise _one_column(len(query.expressions), query)
        try:
            plan = unsorted(self._queries.query(query))
        except BindError:
            return self._row_of(query)
        found = self._joined(Dependent(plan), plan, always=query.args.get("having") is None)
        return [found(i) for i in range(len(plan.schema))]

    def _row_of(self, query: exp.Expression) -> list[Expr]:
        """That row where it speaks of the outer one: the aggregates are joined, and what is made of them, HAVING too, is
        computed above, where it is known that there were no rows."""
        query = query.copy()
        spoken = {id(c) for c in spoken_of(self._queries, query, self.binder.scope)}
        having = query.args.get("having")
        if any(isinstance(n, exp.Window) for e in query.expressions for n in own_nodes(e)):
            raise NotSupported(
                "OVER in a query of aggregates that speaks of the outer row is not supported",
                hint="without OVER it has one row for each outer one",
                position=position_of(query),
            )
        calls = [c for e in (*query.expressions, *([having] if having else [])) for c in aggregates_in(e)]
        for i, call in enumerate(calls):
            call.replace(exp.column(exp.to_identifier(f"$a{i}", quoted=True), table=_RESULT))
        items = query.expressions
        _, scope = self._queries.within(query).from_clause(query)
        for node in [n for e in (*items, *([having] if having else [])) for n in own_nodes(e)]:
            if isinstance(node, exp.Column) and id(node) not in spoken and column_parts(node)[0] != _RESULT:
                named = scope.resolve(column_parts(node), position_of(node))
                raise BindError(
                    f"column '{named}' is neither grouped nor aggregated",
                    hint=f"aggregate it: MAX({named})",
                    position=position_of(node),
                )
        inner = exp.Select(expressions=calls)
        inner.meta.update(query.meta)
        for part in ("with_", "hint", "from_", "joins", "where"):
            inner.set(part, query.args.get(part))
        of = dependent(self._queries, inner, self.binder, self.plan, grouped=True)
        found = self._joined(of, of.plan)
        results = [_of_no_rows(found(i), call) for i, call in enumerate(calls)]

        def result(node: exp.Expression) -> Expr | None:
            if isinstance(node, exp.Column) and column_parts(node)[0] == _RESULT:
                return results[int(column_parts(node)[1].removeprefix("$a"))]
            return self.binder.hook(node) if self.binder.hook is not None else None

        binder = ExpressionBinder(self.binder.scope, self.binder.catalog, result)
        values = [binder.bind(i.this if isinstance(i, exp.Alias) else i) for i in items]
        if having is None:
            return values
        there = binder.condition(having.this)
        return [binder.call("CASE", [there, v, _UNKNOWN]) for v in values]

    # ---- conditions

    def _exists(self, node: exp.Expression) -> Expr:
        query = unwrapped(node.this)
        if one_row(query) and query.args.get("having") is None:
            return _TRUE
        of = self._dependent(query)
        (some,) = self._facts(of, [("COUNT", ())], lambda c: {"$some": self._more(c[0], _ZERO)})
        return self.binder.call("IS TRUE", [some])

    def _more(self, a: Expr, b: Expr) -> Expr:
        return self.binder.call(">", [a, b])

    def _in(self, left: exp.Expression, query: exp.Expression, node: exp.Expression) -> Expr:
        values = [self.binder.bind(v) for v in (left.expressions if isinstance(left, exp.Tuple) else [left])]
        query, call = unwrapped(query), self.binder.call
        if one_row(query) and len(values) == 1 and query.args.get("having") is None:
            (value,) = self.row(query, 1)
            return call("=", [values[0], value])
        of = self._dependent(query)
        check_width(len(values), of.width, node)
        unknown = [v.type.nullable or of.plan.schema[i].type.nullable for i, v in enumerate(values)]
        marked = _marked(plain(of.plan), "$in")
        width = len(self.plan.schema)
        on = [
            call("=", [v, Column(c.type, width + i, c.name)])
            for i, (v, c) in enumerate(zip(values, marked.schema, strict=False))
        ]
        found = self._joined(of, marked, on=on)(len(marked.schema) - 1)
        there = call("IS NOT NULL", [found])
        if not any(unknown):
            return there
        if len(values) > 1:
            maybe = self._maybe_among(values, of)
        else:
            some, nulls = self.some_and_nulls(of)
            maybe = call("AND", [some, call("OR", [call("IS NULL", [values[0]]), nulls])])
        return call("CASE", [there, _TRUE, maybe, _UNKNOWN, _FALSE])

    def _maybe_among(self, values: list[Expr], of: Dependent) -> Expr:
        """Whether a row may be equal to several values, were its NULLs and theirs known: all that differ are NULLs."""
        call, mine, right = self.binder.call, [*values, *of.outer], plain(of.plan)
        columns = tuple(SchemaColumn(f"$m{i}", e.type) for i, e in enumerate(mine))
        once = nodes.Aggregate(nodes.Project(self.plan, tuple(mine), columns), tuple(range(len(mine))), ())
        left: list[Expr] = [Column(c.type, i, c.name) for i, c in enumerate(columns)]
        theirs: list[Expr] = [Column(c.type, len(mine) + i, c.name) for i, c in enumerate(right.schema)]
        same = conjunction([call("=", [a, b]) for a, b in zip(left[: of.width], theirs[: of.width], strict=True)])
        assert same is not None
        of_row = equal(self.binder, replace(of, outer=tuple(left[of.width :])), right, of.keys, len(mine))
        on = [call("IS NULL", [same]), *([] if of_row is None else [of_row])]
        pairs = nodes.keep(join(once, right, "INNER", conjunction(on)), range(len(mine)))
        marked, width = _marked(pairs, "$maybe"), len(self.plan.schema)
        met = [
            call("IS NOT DISTINCT FROM", [e, Column(c.type, width + i, c.name)])
            for i, (e, c) in enumerate(zip(mine, columns, strict=True))
        ]
        self.plan = join(self.plan, marked, "LEFT", conjunction(met), (self._ttl, None))
        return call("IS NOT NULL", [_Found(self.plan, width)(len(mine))])

    def _quantified(self, node: exp.Expression) -> Expr:
        """x > ANY (…), x > ALL (…): by the least or greatest value, where one compares with that alone."""
        op, every = _COMPARISONS[type(node)], isinstance(node.expression, exp.All)
        query, call = unwrapped(node.expression.this), self.binder.call
        if (op, every) in (("=", False), ("<>", True)):
            found = self._in(node.this, query, node)
            return call("NOT", [found]) if every else found
        x = self.binder.bind(node.this)
        if one_row(query) and query.args.get("having") is None:
            (value,) = self.row(query, 1)
            return call(op, [x, value])
        of = self._dependent(query)
        check_width(1, of.width, node)
        # Without NaN, which is above all others and of which no comparison but <> holds.
        t = of.plan.schema[0].type
        y: Expr = Column(t, 0, of.plan.schema[0].name)
        number = call("=", [y, y]) if t.kind in ("FLOAT", "DOUBLE") else None
        value = y if number is None else call("CASE", [number, y, Literal(t.null(), None)])
        below = nodes.Project(
            of.plan,
            (*(Column(c.type, i, c.name) for i, c in enumerate(of.plan.schema)), value),
            (*of.plan.schema.columns, SchemaColumn("$n", value.type)),
        )
        at = len(below.schema) - 1
        some, nulls, nan, least, most = self._facts(
            replace(of, plan=below),
            [("COUNT", ()), ("COUNT", (0,)), ("COUNT", (at,)), ("MIN", (at,)), ("MAX", (at,))],
            lambda c: {
                "$some": self._more(c[0], _ZERO),
                "$nulls": self._more(c[0], c[1]),
                "$nan": self._more(c[1], c[2]),
                "$least": c[3],
                "$most": c[4],
            },
            of.keys,
        )
        missing = call("OR", [call("IS NULL", [x]), nulls])
        if op in ("=", "<>"):
            differs = call("OR", [call("<>", [x, least]), call("<>", [x, most])])
            if number is not None:
                differs = call("OR", [differs, call("AND", [nan, call("IS NOT NULL", [x])])])
            decided = differs
        else:
            extreme = most if (op in (">", ">=")) == every else least
            decided = call(op, [x, extreme])
            if every:
                decided = call("NOT", [decided])
                if number is not None:
                    decided = call("OR", [decided, call("AND", [nan, call("IS NOT NULL", [x])])])
        return call(
            "CASE",
            [call("NOT", [call("IS TRUE", [some])]), _TRUE if every else _FALSE, decided, _FALSE if every else _TRUE, missing, _UNKNOWN,
             _TRUE if every else _FALSE],
        )  # fmt: skip

    def some_and_nulls(self, of: Dependent) -> tuple[Expr, Expr]:
        """Whether the query has rows, and whether its first column is NULL in some."""
        some, nulls = self._facts(
            of,
            [("COUNT", ()), ("COUNT", (0,))],
            lambda c: {"$some": self._more(c[0], _ZERO), "$nulls": self._more(c[0], c[1])},
        )
        return some, nulls

    # ---- joins

    def _dependent(self, query: exp.Expression) -> Dependent:
        return dependent(self._queries, query, self.binder, self.plan)

    def _facts(
        self,
        of: Dependent,
        calls: list[tuple[str, tuple[int, ...]]],
        facts: Callable[[list[Expr]], dict[str, Expr]],
        keys: tuple[int, ...] | None = None,
    ) -> list[Expr]:
        """What is made of aggregates of an outer row's rows, joined; NULL where it has none, unless all rows are meant.

        It is made before it is joined: that there are rows changes rarely, while how many there are changes with each.
        """
        below, keys = plain(of.plan), of.keys if keys is None else keys
        made = []
        for i, (name, args) in enumerate(calls):
            t = AGGREGATES[name].type_of(tuple(below.schema[a].type for a in args))
            made.append(nodes.AggCall(name, args, SchemaColumn(f"$a{i}", t)))
        total = nodes.Aggregate(below, keys, tuple(made))
        columns: list[Expr] = [Column(c.type, i, c.name) for i, c in enumerate(total.schema)]
        said = facts(columns[len(keys) :])
        named = [SchemaColumn(name, e.type) for name, e in said.items()]
        right = nodes.Project(
            total, (*said.values(), *columns[: len(keys)]), (*named, *total.schema.columns[: len(keys)])
        )
        found = self._joined(of, right, always=not keys)
        return [found(i) for i in range(len(said))]

    def _joined(self, of: Dependent, right: nodes.Node, always: bool = False, on: list[Expr] | None = None) -> _Found:
        """Joins `right`, whose last columns are the keys of `of` (before one more, with `on`); gives its columns.
        `always`: it has exactly one row."""
        width, right = len(self.plan.schema), plain(right)
        last = len(right.schema) - (1 if on else 0)
        keyed = equal(self.binder, of, right, range(last - len(of.outer), last), width)
        parts = [*(on or []), *([keyed] if keyed is not None else [])]
        kind = "INNER" if always else "LEFT"
        self.plan = join(self.plan, right, kind, conjunction(parts), (self._ttl, None))
        return _Found(self.plan, width)


def is_subquery(node: exp.Expression) -> bool:
    """Whether it is a query as a value, or one of the conditions on a query."""
    quantified = type(node) in _COMPARISONS and isinstance(node.expression, (exp.Any, exp.All))
    among = isinstance(node, exp.In) and node.args.get("query") is not None
    return isinstance(node, (exp.Query, exp.Exists)) or among or quantified


class _Found:
    """The columns that a join added."""

    def __init__(self, plan: nodes.Node, first: int) -> None:
        self._plan, self._first = plan, first

    def __call__(self, i: int) -> Expr:
        c = self._plan.schema[self._first + i]
        return Column(c.type, self._first + i, c.name)


def _marked(plan: nodes.Node, name: str) -> nodes.Node:
    """Each row of `plan` once, beside TRUE."""
    once = nodes.Aggregate(plan, tuple(range(len(plan.schema))), ())
    exprs = (*(Column(c.type, i, c.name) for i, c in enumerate(once.schema)), _TRUE)
    return nodes.Project(once, exprs, (*once.schema.columns, SchemaColumn(name, _FLAG)))


def plain(plan: nodes.Node) -> nodes.Node:
    """`plan` without marks of time: what is joined to a value waits for no watermark."""
    if all(c.time is None for c in plan.schema):
        return plan
    exprs = tuple(Column(c.type, i, c.name) for i, c in enumerate(plan.schema))
    return nodes.Project(plan, exprs, tuple(replace(c, time=None) for c in plan.schema))


def check_width(values: int, columns: int, node: exp.Expression) -> None:
    """BindError unless there are as many values as the query has columns."""
    if values != columns:
        raise BindError(
            f"IN compares {values} value(s) with a query of {columns} columns",
            hint="(a, b) IN (SELECT x, y …), or leave columns out of the query",
            position=position_of(node),
        )


def _of_no_rows(value: Expr, call: exp.Expression) -> Expr:
    """A joined aggregate, where NULL stands for no rows."""
    if not is_aggregate(innermost(call)):
        return value
    function = aggregate_of(innermost(call))
    if function.nulls != "never" and function.user is None:
        return value
    name = function.shown
    if name not in _OF_NO_ROWS:
        raise NotSupported(
            f"{name} in a subquery that speaks of the outer row is not supported",
            hint="GROUP BY in a query of FROM, and LEFT JOIN it",
            position=position_of(call),
        )
    t = value.type.null(False)
    return Call(t, "COALESCE", (value, Literal(t, _OF_NO_ROWS[name])))


def _one_column(columns: int, node: exp.Expression) -> BindError:
    return BindError(
        f"a subquery as a value has one column, not {columns}",
        hint="select the one that is wanted; of several, write a subquery for each",
        position=position_of(node),
    )


def _at_most_one(query: exp.Expression) -> bool:
    limit = query.args.get("limit")
    return limit is not None and limit.expression.name in ("0", "1")
