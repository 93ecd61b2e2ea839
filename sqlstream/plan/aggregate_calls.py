"""Aggregate calls as they are written: their arguments, and what stands behind them: nulls, WITHIN GROUP, FILTER."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from sqlstream.aggregates.function import AggregateFunction
from sqlstream.aggregates.registry import AGGREGATES, aggregate
from sqlstream.catalog.catalog import Catalog
from sqlstream.errors import BindError, NotSupported
from sqlstream.expressions import Expr, Literal
from sqlstream.functions import user_aggregates
from sqlstream.functions.typing import implicit
from sqlstream.functions.user_aggregates import UserAggregate
from sqlstream.plan import nodes
from sqlstream.plan.expression_binder import ExpressionBinder, coerce
from sqlstream.plan.json_binder import AGGREGATING, aggregated_json
from sqlstream.sql.ast import exp, position_of
from sqlstream.sql.printing import sql_of
from sqlstream.types import Type

_PATH = "aggregate"  # in what a node knows of itself: the path of the Python function that it calls
_AROUND = (exp.Filter, exp.WithinGroup, exp.IgnoreNulls, exp.RespectNulls)


def mark_aggregates(query: exp.Expression, catalog: Catalog) -> None:
    """Marks the calls of Python aggregate functions in a query: by a call alone one does not see that it is one."""
    for node in query.walk():
        if isinstance(node, exp.Anonymous):
            declared = catalog.function(node.this)
            if declared is not None and _is_aggregate_function(declared.path):
                node.meta[_PATH] = declared.path
            else:
                node.meta.pop(_PATH, None)


def _is_aggregate_function(path: str) -> bool:
    try:
        return user_aggregates.is_aggregate(path)
    except BindError:  # who binds the call says what is missing
        return False


def is_aggregate(node: exp.Expression) -> bool:
    """Whether it is the call itself of an aggregate: a FILTER or OVER around it is another node."""
    return isinstance(node, exp.Anonymous) and (_PATH in node.meta or node.this.upper() in AGGREGATES)


def aggregate_of(call: exp.Expression) -> AggregateFunction:
    """The function of the call itself of an aggregate."""
    return aggregate(call.meta.get(_PATH) or call.this.upper())


@dataclass(frozen=True)
class Ordering:
    """One item of a call's ORDER BY, before it has a column."""

    by: Expr
    ascending: bool
    nulls_first: bool

    def key(self, column: int) -> nodes.SortKey:
        """The item over a column."""
        return nodes.SortKey(column, self.ascending, self.nulls_first)


@dataclass(frozen=True)
class AggregateCall:
    """A call before its arguments have columns. args: those that are columns; types: of all arguments."""

    function: AggregateFunction
    args: tuple[Expr, ...]
    types: tuple[Type, ...]
    constants: tuple[object, ...]
    distinct: bool
    filter: Expr | None = None
    order: tuple[Ordering, ...] = ()

    def type_of(self, occupied: bool) -> Type:
        """Its type. `occupied`: there is always a row; FILTER may leave none."""
        return self.function.type_of(self.types, occupied and self.filter is None)


def innermost(node: exp.Expression) -> exp.Expression:
    """The call itself, without what stands behind it."""
    while isinstance(node, _AROUND):
        node = node.this
    return node


def bound_call(node: exp.Expression, binder: ExpressionBinder) -> AggregateCall:
    """The call with all that stands behind it; `innermost(node)` is an aggregate."""
    around = {}
    inner = node
    while isinstance(inner, _AROUND):
        around[type(inner)] = inner
        inner = inner.this
    call = bound_arguments(inner, binder)
    name = call.function.shown
    where = around.get(exp.Filter)
    condition = binder.condition(where.expression.this) if where is not None else None
    order: tuple[Ordering, ...] = ()
    if exp.WithinGroup in around:
        written = around[exp.WithinGroup].expression
        if not call.function.takes_order:
            raise NotSupported(
                f"{name} takes no ORDER BY",
                hint=f"those that do: {', '.join(sorted(f.name for f in AGGREGATES.values() if f.takes_order))}",
                position=position_of(written),
            )
        order = tuple(_ordering(o, binder) for o in written.expressions)
    condition = with_nulls(node, call, condition, binder)
    return AggregateCall(call.function, call.args, call.types, call.constants, call.distinct, condition, order)


def with_nulls(
    node: exp.Expression, call: AggregateCall, condition: Expr | None, binder: ExpressionBinder
) -> Expr | None:
    """The condition of FILTER, and what IGNORE NULLS of a call, which `node` is with all that stands behind it, says."""
    written = [type(n) for n in (node, node.this, node.this.this if isinstance(node.this, exp.Expression) else None)]
    ignores, respects = exp.IgnoreNulls in written, exp.RespectNulls in written
    if call.function.nulls_are_rows and ignores:
        given = binder.call("NOT", [binder.call("IS NULL", [call.args[0]])])
        return given if condition is None else binder.call("AND", [condition, given])
    if not call.function.nulls_are_rows and respects:
        first = call.function.name == "FIRST_VALUE"
        raise NotSupported(
            f"{sql_of(node)}: {call.function.shown} goes by values that are not NULL",
            hint="NTH_VALUE(x, 1) OVER (…) is x of the first row, NULL or not" if first else "ARRAY_AGG keeps NULLs",
            position=position_of(node),
        )
    return condition


def bound_arguments(call: exp.Expression, binder: ExpressionBinder) -> AggregateCall:
    """The call itself, of an aggregate."""
    name = call.this.upper()
    function, args = aggregate_of(call), list(call.expressions)
    distinct = bool(args) and isinstance(args[0], exp.Distinct)
    if distinct:
        args = [*args[0].expressions, *args[1:]]
    if distinct and function.refuses_distinct:
        raise NotSupported(
            f"{name} takes no DISTINCT", hint="SELECT DISTINCT in a subquery of FROM", position=position_of(call)
        )
    if len(args) == 1 and isinstance(args[0], exp.Star):
        args = []
    if function.user is not None:
        bound = _of_python(function.user, [binder.bind(a) for a in args])
    elif name in AGGREGATING:
        bound = aggregated_json(name, args, binder.bind, binder.call)
    else:
        bound = tuple(binder.bind(a) for a in args)
    if name == "COUNT" and len(bound) > 1:
        bound = (_all_of(bound, distinct, binder),)
    types = tuple(b.type for b in bound)
    constants: tuple[object, ...] = ()
    if function.constant is not None and len(bound) > function.constant[0]:
        at, value = function.constant
        constants = (value(bound[at]),)
        bound = (*bound[:at], *bound[at + 1 :])
    return AggregateCall(function, bound, types, constants, distinct and function.takes_distinct)


def _all_of(values: tuple[Expr, ...], distinct: bool, binder: ExpressionBinder) -> Expr:
    """What COUNT counts of several values: the rows in which none is NULL; with DISTINCT, those that differ."""
    given = [binder.call("NOT", [binder.call("IS NULL", [v])]) for v in values]
    counted = binder.call("ROW", list(values)) if distinct else given[0]
    all_given = functools.reduce(lambda a, b: binder.call("AND", [a, b]), given)
    return binder.call("CASE", [all_given, counted, Literal(counted.type.null(), None)])


def _of_python(f: UserAggregate, args: list[Expr]) -> tuple[Expr, ...]:
    """The arguments of a Python function, of the types that it takes where they become so by themselves."""
    for i, (a, t) in enumerate(zip(args, f.arguments, strict=False)):
        if not implicit(a.type, t):
            raise BindError(
                f"{f.shown}: argument {i + 1} must be {t.text()}, not {a.type.text()}", hint=f"CAST({a} AS {t.text()})"
            )
    return tuple(coerce(a, t) for a, t in zip(args, f.arguments, strict=False)) + tuple(args[len(f.arguments) :])


def _ordering(node: exp.Expression, binder: ExpressionBinder) -> Ordering:
    ascending, first = not node.args.get("desc"), node.args.get("nulls_first")
    by = binder.bind(node.this)
    if by.type.kind in ("ROW", "ARRAY", "MAP", "MULTISET"):
        raise BindError(f"ORDER BY does not take {by.type.text()}", position=position_of(node))
    return Ordering(by, ascending, ascending if first is None else bool(first))
