"""The nodes of query trees: what the binder gets, and nothing else (`test_tree_contract.py` checks).

`exp` is sqlglot's; nobody else imports sqlglot. Trees come from our own grammar, so only what is listed here
can occur, and functions keep their name and their arguments' order.

Queries (anything that may stand where a query may)
    Select          with_, hint, distinct, expressions, from_, joins, where, group, having, windows, qualify,
                    order, limit, offset. `expressions`: Alias(this, alias=Identifier) or a bare expression;
                    Star() for `*`; Column(this=Star(), table=…) for `t.*`. `TABLE t` is SELECT * FROM t.
    Union, Except, Intersect   this, expression (queries), distinct: bool; with_, order, limit, offset
    Values          expressions=[Tuple(expressions=[…])], one a row; order, limit, offset
    Subquery        this=query in parentheses; as a query it may have order, limit, offset, with_
                    any of these, where a statement or view ends with it: emit=Var('CHANGES' | 'ON WINDOW CLOSE')
    With            expressions=[CTE(this=query, alias=TableAlias)]; recursive=True for WITH RECURSIVE
    Distinct        () on Select. Where(this), Having(this), Qualify(this); Limit(expression), absent for
                    LIMIT ALL; FETCH FIRST is a Limit; Offset(expression)
    Group           expressions=[expression | GroupingSets | Rollup | Cube …] in the order as written; a set
                    is a Tuple (possibly empty) or an expression; GroupingSets may hold Rollup and Cube
    Order           expressions=[Ordered(this, desc: bool, nulls_first: bool | None)]; None = not written
    Hint            expressions=[Anonymous(NAME, [PropertyEQ(Literal, Literal) | Literal | Column])];
                    see `hints`

Relations (From.this and Join.this)
    From            this=relation. Select.joins holds the rest, left-deep.
    Join            this; kind 'INNER' or 'CROSS' and no side, or side 'LEFT', 'RIGHT', 'FULL' and no kind;
                    on=expression or using=[Identifier]; method='NATURAL' or 'ASOF', with
                    match_condition=expression. A comma is kind 'CROSS'.
    Table           this, db, catalog (Identifiers), alias=TableAlias, hints=[Hint]; this is a string Literal
                    where it is the path of files;
                    version=Version(this='TIMESTAMP', kind='AS OF', expression) for FOR SYSTEM_TIME AS OF
    Subquery        this=query, alias=TableAlias
    Lateral         this=Subquery (with its alias): LATERAL (SELECT …)
    Unnest          expressions=[array or map], alias=TableAlias, offset=True for WITH ORDINALITY
    TableFunction   ours: f(…), TABLE(f(…)), LATERAL TABLE(f(…))
                    with hints=[Hint], whose arguments are expressions, TableArguments (TABLE t …), Descriptors, Kwargs of these
    Pivoted         ours: this=relation PIVOT (expressions=[call | Alias(call)] FOR columns=[Column] IN values=[constant |
                    Alias(constant)]), alias=TableAlias; of several columns a constant is a Tuple
    Unpivoted       ours: this=relation UNPIVOT (values=[Identifier] FOR name=Identifier IN expressions=[Column |
                    Alias(Column, alias=Identifier | Literal)]), nulls=True for INCLUDE NULLS, alias=TableAlias; of several
                    values a Tuple of Columns
    JoinGroup       ours: `(a JOIN b ON …)`, and joins behind a comma that must be made before the comma's
    TableAlias      this=Identifier, columns=[Identifier]

Expressions
    Column          `a`, `a.b`, `a.b.c`, `a.b.c.d`: see `column_parts`. Which part is a table, a column or a
                    field is the binder's to find out. Longer paths are Dots around a Column.
    Dot             this=expression, expression=Identifier: field of any expression, `(x).f`, `a[1].f`
    Bracket         this, expressions=[index]: a[1] (from 1, as written), m['k']
    Literal         is_string or a number as written (`this` is its text); Null, Boolean(this: bool)
    HexString       this=digits: X'0aFF'
    TypedLiteral    ours: DATE '…', TIME '…', TIMESTAMP '…', TIMESTAMP_LTZ '…'
    Interval        this=Literal string, unit=Var or IntervalSpan(Var, Var): see `interval_value`
    Placeholder     `?`; this=its number from 0, as text
    Anonymous       every function call: this=name as written (dotted when qualified), expressions=arguments.
                    `F(DISTINCT x, y)` is [Distinct(expressions=[x, y])], COUNT(*) is [Star()], `n => x` is
                    Kwarg(this=Identifier, expression=x). CURRENT_DATE and its like have no arguments.
                    Keywords among the arguments are Var:
                        EXTRACT(DAY FROM x)            EXTRACT [Var DAY, x]
                        CEIL(x TO DAY), FLOOR          CEIL [x, Var DAY]
                        TIMESTAMPADD(DAY, n, x), TIMESTAMPDIFF   [Var DAY, n, x]
                        TRIM([BOTH|LEADING|TRAILING] [c] FROM x) TRIM [x, c or ' ', Var]; TRIM(x) is TRIM [x]
                        SUBSTRING(x FROM a [FOR b])    SUBSTRING [x, a, b]; the same as with commas
                        POSITION(x IN y [FROM n])      POSITION [x, y, n]
                        OVERLAY(x PLACING y FROM a [FOR b])      OVERLAY [x, y, a, b]
                        JSON_VALUE, JSON_QUERY, JSON_EXISTS, JSON_OBJECT, JSON_ARRAY, JSON_OBJECTAGG,
                        JSON_ARRAYAGG: their clauses are trailing Kwargs, this=Var RETURNING (a DataType),
                        WRAPPER (Var), ON_EMPTY, ON_ERROR (Var NULL, ERROR, TRUE, FALSE, UNKNOWN, EMPTY_ARRAY,
                        EMPTY_OBJECT or the DEFAULT's expression), ON_NULL (Var NULL, ABSENT); keys and
                        values of an object alternate
    Filter          this=call, expression=Where(this)
    WithinGroup     this=call, expression=Order: WITHIN GROUP (ORDER BY …); also f(x ORDER BY …)
    IgnoreNulls, RespectNulls   this=call
    Window          this=call, or one of these four; partition_by=[…], order=Order, spec=WindowSpec; or
                    alias=Identifier for OVER w. In Select.windows: this=Identifier (its name), alias=the
                    window that it extends
    WindowSpec      kind 'ROWS' or 'RANGE', start and end: 'UNBOUNDED', 'CURRENT ROW' or an expression;
                    start_side and end_side: 'PRECEDING', 'FOLLOWING' or None for CURRENT ROW. Without
                    BETWEEN, end is 'CURRENT ROW'.
    Cast, TryCast   this, to=DataType: only `sqlstream.sql.types.to_type` looks inside
    Case            this (operand) or None, ifs=[If(this=condition or value, true)], default
    Paren           this; it means nothing
    Tuple           `(a, b)` and ROW(a, …)
    Array, Map      Array(expressions); Map(keys=Array, values=Array)
    Neg, Not, And, Or, Add, Sub, Mul, Div, Mod, DPipe, EQ, NEQ, LT, LTE, GT, GTE
                    AND and OR are associative, so long chains come as balanced trees
    NullSafeEQ, NullSafeNEQ     IS NOT DISTINCT FROM, IS DISTINCT FROM
    Is              expression=Null (also IS UNKNOWN), Boolean, or Var 'JSON …'; IS NOT is a Not around it
    Between         this, low, high, symmetric=True or None
    In              this and expressions=[…] or query=Subquery
    Like, SimilarTo this, expression; within Escape(this=Like, expression) where ESCAPE is written
    Exists          this=query. Any, All (this=Subquery): the right side of a comparison

Places. Every leaf and every node that begins with a keyword or name has `meta` line and col (from 1), start
and end (offsets into the script, half open); `position_of` finds the place of any node.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlglot import exp

from sqlstream.errors import Position
from sqlstream.sql.intervals import interval_value as _interval_value

__all__ = [
    "Descriptor",
    "HintCall",
    "JoinGroup",
    "Pivoted",
    "TableArgument",
    "TableFunction",
    "TypedLiteral",
    "Unpivoted",
    "column_parts",
    "exp",
    "hints",
    "interval_value",
    "position_of",
]


class Node(exp.Expression):  # type: ignore[misc]  # sqlglot is untyped to mypy
    """Base of our own nodes."""


class TableFunction(Node):
    """A call in FROM. `this`: name as written; `expressions`: arguments in order; `alias`: TableAlias.

    Arguments: expressions, TableArgument, Descriptor, and Kwarg(this=Identifier, expression=one of these).
    `lateral`: True where LATERAL was written.
    """

    arg_types = {"this": True, "expressions": False, "alias": False, "lateral": False, "hints": False}


class TableArgument(Node):
    """`TABLE t [PARTITION BY …] [ORDER BY …]`: `this` is a Table or Subquery, `order` an Order."""

    arg_types = {"this": True, "partition_by": False, "order": False}


class Descriptor(Node):
    """`DESCRIPTOR(a, b)`: `expressions` are Identifiers."""

    arg_types = {"expressions": True}


class JoinGroup(Node):
    """A join that stands for one relation: `this`, its first one, and the `joins` after it. No alias."""

    arg_types = {"this": True, "joins": True}


class Pivoted(Node):
    """`this PIVOT (expressions FOR columns IN (values))`: an aggregate for each of the values that the columns have."""

    arg_types = {"this": True, "expressions": True, "columns": True, "values": True, "alias": False}


class Unpivoted(Node):
    """`this UNPIVOT (values FOR name IN (expressions))`: a row for each of the columns in `expressions`."""

    arg_types = {"this": True, "values": True, "name": True, "expressions": True, "nulls": False, "alias": False}


class TypedLiteral(Node):
    """`kind` DATE, TIME, TIMESTAMP or TIMESTAMP_LTZ; `this` a string Literal, not yet checked."""

    arg_types = {"this": True, "kind": True}


@dataclass(frozen=True)
class HintCall:
    """One hint: `STATE_TTL('o'='3d')` has options, `BROADCAST(a, b)` arguments."""

    name: str
    options: tuple[tuple[str, str], ...] = ()
    arguments: tuple[str, ...] = ()


def position_of(node: exp.Expression) -> Position | None:
    """Where the text of a node begins; for an operator, where its left side begins."""
    places = [n.meta for n in _prefix(node) if "line" in n.meta]
    if not places:
        return None
    first = min(places, key=lambda meta: int(meta["start"]))
    return Position(int(first["line"]), int(first["col"]))


def _prefix(node: exp.Expression) -> Iterator[exp.Expression]:
    """The node, and its descendants down to those that know their place."""
    stack = [node]
    while stack:
        current = stack.pop()
        yield current
        if "line" not in current.meta:
            stack.extend(current.iter_expressions())


def column_parts(column: exp.Expression) -> tuple[str, ...]:
    """The parts of a Column, outermost first; `*` for a Star."""
    return tuple("*" if isinstance(p, exp.Star) else str(p.name) for p in column.parts)


def interval_value(interval: exp.Expression) -> tuple[str, int]:
    """An Interval's ('INTERVAL_DAY', microseconds) or ('INTERVAL_MONTH', months)."""
    unit = interval.args["unit"]
    if isinstance(unit, exp.IntervalSpan):
        return _interval_value(interval.this.this, unit.this.name, unit.expression.name)
    return _interval_value(interval.this.this, unit.name, None)


def hints(node: exp.Expression) -> tuple[HintCall, ...]:
    """The hints of a Select or a Table."""
    found = node.args.get("hints") or [node.args.get("hint")]
    return tuple(_hint(call) for hint in found if hint is not None for call in hint.expressions)


def _hint(call: exp.Expression) -> HintCall:
    options = tuple((o.this.name, o.expression.name) for o in call.expressions if isinstance(o, exp.PropertyEQ))
    rest = tuple(a.name for a in call.expressions if not isinstance(a, exp.PropertyEQ))
    return HintCall(call.name.upper(), options, rest)
