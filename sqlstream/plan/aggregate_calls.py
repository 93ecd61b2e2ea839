"""Aggregate calls as they are written: their arguments, and what stands behind them: nulls, WITHIN GROUP, FILTER."""

from __future__ import annotations

from dataclasses import dataclass

from sqlstream.aggregates.function import AggregateFunction
from sqlstream.aggregates.registry import AGGREGATES
from sqlstream.errors import BindError, NotSupported
from sqlstream.expressions import Expr
from sqlstream.plan import nodes
from sqlstream.plan.expression_binder import ExpressionBinder
from sqlstream.plan.json_binder import AGGREGATING, aggregated_json
from sqlstream.sql.ast import exp, position_of
from sqlstream.sql.printing import sql_of
from sqlstream.types import Type

_AROUND = (exp.Filter, exp.WithinGroup, exp.IgnoreNulls, exp.RespectNulls)


def is_aggregate(node: exp.Expression) -> bool:
    """Whether it is the call itself of one of `AGGREGATES`: a FILTER or OVER around it is another node."""
    return isinstance(node, exp.Anonymous) and node.this.upper() in AGGREGATES


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
    name = call.function.name
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
    if exp.IgnoreNulls in around or exp.RespectNulls in around:
        if call.function.nulls_are_rows and exp.IgnoreNulls in around:
            given = binder.call("NOT", [binder.call("IS NULL", [call.args[0]])])
            condition = given if condition is None else binder.call("AND", [condition, given])
        elif not call.function.nulls_are_rows and exp.RespectNulls in around:
            raise NotSupported(f"{sql_of(node)}: {name} goes by values that are not NULL", position=position_of(node))
    return AggregateCall(call.function, call.args, call.types, call.constants, call.distinct, condition, order)


def bound_arguments(call: exp.Expression, binder: ExpressionBinder) -> AggregateCall:
    """The call itself, of one of `AGGREGATES`."""
    name = call.this.upper()
    function, args = AGGREGATES[name], list(call.expressions)
    distinct = bool(args) and isinstance(args[0], exp.Distinct)
    if distinct:
        args = [*args[0].expressions, *args[1:]]
    if distinct and function.refuses_distinct:
        raise NotSupported(
            f"{name} takes no DISTINCT", hint="SELECT DISTINCT in a subquery of FROM", position=position_of(call)
        )
    if len(args) == 1 and isinstance(args[0], exp.Star):
        args = []
    if name in AGGREGATING:
        bound = aggregated_json(name, args, binder.bind, binder.call)
    else:
        bound = tuple(binder.bind(a) for a in args)
    types = tuple(b.type for b in bound)
    constants: tuple[object, ...] = ()
    if function.constant is not None and len(bound) > function.constant[0]:
        at, value = function.constant
        constants = (value(bound[at]),)
        bound = (*bound[:at], *bound[at + 1 :])
    return AggregateCall(function, bound, types, constants, distinct and function.takes_distinct)


def _ordering(node: exp.Expression, binder: ExpressionBinder) -> Ordering:
    ascending, first = not node.args.get("desc"), node.args.get("nulls_first")
    by = binder.bind(node.this)
    if by.type.kind in ("ROW", "ARRAY", "MAP", "MULTISET"):
        raise BindError(f"ORDER BY does not take {by.type.text()}", position=position_of(node))
    return Ordering(by, ascending, ascending if first is None else bool(first))
