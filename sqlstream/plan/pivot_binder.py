"""PIVOT and UNPIVOT, which Flink has not: the standard's meaning, by nodes that are there.

PIVOT is a grouping by all columns that it does not name, and an aggregate with FILTER for each call and value. UNPIVOT is
an Unnest of an array that has a row for each of the columns.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from functools import reduce

from sqlstream.catalog.catalog import Catalog
from sqlstream.errors import BindError, NotSupported, SqlStreamError
from sqlstream.expressions import Column, Expr, Literal
from sqlstream.functions.typing import common
from sqlstream.plan import nodes
from sqlstream.plan.aggregate_binder import AggregateStage
from sqlstream.plan.aggregate_calls import bound_call, innermost, is_aggregate
from sqlstream.plan.expression_binder import ExpressionBinder, coerce
from sqlstream.plan.joins import with_columns
from sqlstream.plan.scope import Scope
from sqlstream.sql.ast import Pivoted, TypedLiteral, Unpivoted, column_parts, exp, position_of
from sqlstream.sql.printing import sql_of
from sqlstream.types import STRING
from sqlstream.types import Column as SchemaColumn

_PIVOT = "PIVOT (SUM(x) AS total, COUNT(*) AS number FOR k IN ('a', 'b' AS other))"
_UNPIVOT = "UNPIVOT (v FOR k IN (a, b AS 'other')), UNPIVOT ((v, w) FOR k IN ((a, b), (c, d)))"


def pivoted(plan: nodes.Node, scope: Scope, node: Pivoted, catalog: Catalog) -> nodes.Node:
    """`plan` with the columns that PIVOT does not name, then for each value a column for each call."""
    binder = ExpressionBinder(scope, catalog)
    columns = [_column(scope, c) for c in node.args["columns"]]
    calls = [(c.this, str(c.alias)) if isinstance(c, exp.Alias) else (c, "") for c in node.expressions]
    read = {c.index for c in columns}
    for call, _ in calls:
        read |= _read(call, binder)
    left = [c for c in scope.star(()) or [] if c.index not in read]
    values = [_value(v, node.args["columns"], catalog) for v in node.args["values"]]
    names = [c.name for c in left]
    names += [f"{value}_{alias}" if alias else value for value, _ in values for _, alias in calls]
    _different(names, "PIVOT", node, _PIVOT)
    keys = [exp.column(exp.to_identifier(c.name, quoted=True)) for c in left]
    stage = AggregateStage(plan, binder, exp.Group(expressions=keys) if keys else None)
    exprs: list[Expr] = [stage.column(c, node) for c in left]
    exprs += [stage.binder.bind(_filtered(call, condition)) for _, condition in values for call, _ in calls]
    made = stage.plan(plan, None)
    found = [made.schema[e.index] for e in exprs if isinstance(e, Column)]
    shown = tuple(replace(c, name=n, type=e.type) for c, n, e in zip(found, names, exprs, strict=True))
    return nodes.Project(made, tuple(exprs), shown)


def unpivoted(plan: nodes.Node, scope: Scope, node: Unpivoted, catalog: Catalog) -> nodes.Node:
    """`plan` without the columns that UNPIVOT names, then their names, then their values: a row for each. Without INCLUDE
    NULLS rows are left out that have no value."""
    binder = ExpressionBinder(scope, catalog)
    name, values = str(node.args["name"].name), [str(v.name) for v in node.args["values"]]
    rows: list[tuple[str, list[Expr]]] = []
    for item in node.expressions:
        written = item.this if isinstance(item, exp.Alias) else item
        columns = [_column(scope, c) for c in (written.expressions if isinstance(written, exp.Tuple) else [written])]
        if len(columns) != len(values):
            raise BindError(
                f"UNPIVOT: {len(columns)} columns for {len(values)} values", hint=_UNPIVOT, position=position_of(item)
            )
        label = str(item.alias) if isinstance(item, exp.Alias) else "_".join(c.name for c in columns)
        rows.append((label, list[Expr](columns)))
    read = {c.index for _, columns in rows for c in columns if isinstance(c, Column)}
    left = [c for c in scope.star(()) or [] if c.index not in read]
    _different([*(c.name for c in left), name, *values], "UNPIVOT", node, _UNPIVOT)
    types = []
    for i, v in enumerate(values):
        try:
            types.append(common([columns[i].type for _, columns in rows], f"UNPIVOT, column {v}"))
        except SqlStreamError as e:
            e.position = e.position or position_of(node.expressions[0])
            e.hint = "CAST them to one type in a subquery: FROM (SELECT CAST(a AS STRING) AS a, b FROM t) UNPIVOT …"
            raise
    label_type = STRING.null(False)
    elements = [
        binder.call("ROW", [Literal(label_type, label), *map(coerce, columns, types)]) for label, columns in rows
    ]
    wide, (at,) = with_columns(plan, [binder.call("ARRAY", elements)])
    given = [SchemaColumn(v, t) for v, t in zip(values, types, strict=True)]
    out: nodes.Node = nodes.Unnest(wide, at, (SchemaColumn(name, label_type), *given))
    first = len(wide.schema)
    if not node.args.get("nulls"):
        out = nodes.Filter(
            out, _any_given([Column(c.type, first + 1 + i, c.name) for i, c in enumerate(given)], binder)
        )
    return nodes.keep(out, [*(c.index for c in left), *range(first, len(out.schema))])


def _column(scope: Scope, node: exp.Expression) -> Column:
    e = scope.resolve(column_parts(node), position_of(node))
    assert isinstance(e, Column)  # a name without a dot
    return e


def _different(names: Iterable[str], what: str, node: exp.Expression, hint: str) -> None:
    twice = [n for n, times in Counter(names).items() if times > 1]
    if twice:
        raise BindError(f"{what}: two columns are called '{twice[0]}'", hint=hint, position=position_of(node))


# ---- PIVOT


def _read(call: exp.Expression, binder: ExpressionBinder) -> set[int]:
    """The columns that a call reads."""
    if not is_aggregate(innermost(call)):
        raise BindError(f"PIVOT takes aggregates, not {sql_of(call)}", hint=_PIVOT, position=position_of(call))
    bound = bound_call(call, binder)
    parts = [*bound.args, *(o.by for o in bound.order), *([bound.filter] if bound.filter is not None else [])]
    return {i for e in parts for i in e.columns()}


def _value(node: exp.Expression, columns: list[exp.Expression], catalog: Catalog) -> tuple[str, exp.Expression]:
    """The name of a value, or of one for each of the columns; and the condition that a row has it."""
    written = node.this if isinstance(node, exp.Alias) else node
    parts = written.expressions if isinstance(written, exp.Tuple) and len(columns) > 1 else [written]
    if len(parts) != len(columns):
        raise BindError(
            f"PIVOT: {len(parts)} value for {len(columns)} columns",
            hint="PIVOT (SUM(x) FOR (k, l) IN (('a', 1), ('b', 2)))",
            position=position_of(node),
        )
    texts, condition = [], None
    for column, part in zip(columns, parts, strict=True):
        value = _constant(part, catalog)
        texts.append(_text(part))
        one = (
            exp.Is(this=column.copy(), expression=exp.Null())
            if value is None
            else exp.EQ(this=column.copy(), expression=part.copy())
        )
        condition = one if condition is None else exp.And(this=condition, expression=one)
    assert condition is not None
    return (str(node.alias) if isinstance(node, exp.Alias) else "_".join(texts)), condition


def _constant(node: exp.Expression, catalog: Catalog) -> object:
    try:
        e = ExpressionBinder(Scope(), catalog).bind(node)
    except BindError:
        if node.find(exp.Column) is None:
            raise
        e = None
    if not isinstance(e, Literal):
        raise NotSupported(
            f"PIVOT: IN takes constants, not {sql_of(node)}",
            hint="texts stand in quotes: IN ('a', 'b'); the columns of a query must be known before it reads a row",
            position=position_of(node),
        )
    return e.value


def _text(node: exp.Expression) -> str:
    """The name of the column for a constant: a text without its quotes, else as it is written."""
    if isinstance(node, TypedLiteral):
        node = node.this
    if isinstance(node, exp.Boolean):
        return "true" if node.this else "false"
    return str(node.this) if isinstance(node, exp.Literal) else sql_of(node)


def _filtered(call: exp.Expression, condition: exp.Expression) -> exp.Expression:
    """The call over the rows of `condition`, beside those of a FILTER of its own."""
    call = call.copy()
    own = next((n for n in call.walk(prune=lambda n: n is innermost(call)) if isinstance(n, exp.Filter)), None)
    if own is None:
        return exp.Filter(this=call, expression=exp.Where(this=condition.copy()))
    both = exp.And(this=exp.Paren(this=own.expression.this), expression=condition.copy())
    own.set("expression", exp.Where(this=both))
    return call


# ---- UNPIVOT


def _any_given(values: list[Column], binder: ExpressionBinder) -> Expr:
    """Whether one of them is not NULL."""
    given = [binder.call("NOT", [binder.call("IS NULL", [v])]) for v in values]
    return reduce(lambda a, b: binder.call("OR", [a, b]), given)
