"""SQL expressions to typed ones: names resolved, types by Flink's rules, casts made explicit."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal

from sqlstream.aggregates.registry import AGGREGATES
from sqlstream.catalog.catalog import Catalog
from sqlstream.errors import BindError, NotSupported, SqlStreamError, did_you_mean
from sqlstream.expressions import Call, Cast, Expr, Literal, Symbol, UserCall, symbol
from sqlstream.functions import user
from sqlstream.functions.casts import is_castable, parse_time
from sqlstream.functions.constants import literal
from sqlstream.functions.elsewhere import elsewhere
from sqlstream.functions.operators import CURRENT_DATABASE
from sqlstream.functions.scalar import SCALARS
from sqlstream.functions.typing import implicit
from sqlstream.functions.user_aggregates import is_aggregate as is_aggregate_function
from sqlstream.plan.json_binder import is_plain, json_arguments, takes_clauses
from sqlstream.plan.scope import Scope, fields
from sqlstream.process_functions.signature import is_process_function
from sqlstream.sql.ast import TypedLiteral, column_parts, exp, interval_value, position_of
from sqlstream.sql.printing import sql_of
from sqlstream.sql.types import to_type
from sqlstream.types import (
    BIGINT,
    BOOLEAN,
    BYTES_TYPE,
    DATE,
    DOUBLE,
    INT,
    INTERVAL_DAY,
    INTERVAL_MONTH,
    NULL,
    STRING,
    TIME,
    Type,
    decimal,
    timestamp,
    timestamp_ltz,
)  # fmt: skip

Hook = Callable[[exp.Expression], Expr | None]

# Operators that are functions of their two, or of their one, operand.
_BINARY = {
    exp.EQ: "=", exp.NEQ: "<>", exp.LT: "<", exp.LTE: "<=", exp.GT: ">", exp.GTE: ">=",
    exp.NullSafeEQ: "IS NOT DISTINCT FROM", exp.NullSafeNEQ: "IS DISTINCT FROM",
    exp.Add: "+", exp.Sub: "-", exp.Mul: "*", exp.Div: "/", exp.Mod: "%", exp.DPipe: "||",
    exp.And: "AND", exp.Or: "OR", exp.Like: "LIKE", exp.SimilarTo: "SIMILAR TO",
}  # fmt: skip


class ExpressionBinder:
    """Binds expressions over one scope. `hook` sees every node first: aggregates and group keys come in there."""

    def __init__(self, scope: Scope, catalog: Catalog, hook: Hook | None = None) -> None:
        self.scope = scope
        self.catalog = catalog
        self.hook = hook

    def bind(self, node: exp.Expression) -> Expr:
        """The typed expression; BindError at the node's place."""
        if self.hook is not None:
            found = self.hook(node)
            if found is not None:
                return found
        try:
            return self._bind(node)
        except SqlStreamError as e:
            if e.position is None:
                e.position = position_of(node)
            raise

    def condition(self, node: exp.Expression) -> Expr:
        """`node` as the condition of WHERE, ON, HAVING or FILTER. BindError unless it is BOOLEAN, or NULL."""
        e = self.bind(node)
        if e.type.kind not in ("BOOLEAN", "NULL"):
            raise BindError(
                f"a condition must be BOOLEAN, not {e.type.text()}: {sql_of(node)}",
                hint="compare it with something, as in x = 1 or x IS NOT NULL",
                position=position_of(node),
            )
        return e

    def _bind(self, node: exp.Expression) -> Expr:
        for kind, method in _METHODS:
            if isinstance(node, kind):
                return method(self, node)
        operator = _BINARY.get(type(node))
        if operator is not None:
            return self.call(operator, [self.bind(node.this), self.bind(node.expression)])
        raise NotSupported(f"this expression is not supported: {sql_of(node)}", position=position_of(node))

    # ---- leaves

    def _column(self, node: exp.Expression) -> Expr:
        return self.scope.resolve(column_parts(node), position_of(node))

    def _dot(self, node: exp.Expression) -> Expr:
        return fields(self.bind(node.this), (node.expression.name,), position_of(node))

    def _paren(self, node: exp.Expression) -> Expr:
        return self.bind(node.this)

    def _literal(self, node: exp.Expression) -> Expr:
        text = node.this
        if node.is_string:
            return Literal(Type("CHAR", max(len(text), 1), nullable=False), text)
        if "e" in text.lower():
            if math.isinf(float(text)):
                raise BindError(f"number {text} is out of range for DOUBLE", hint="CAST('Infinity' AS DOUBLE)")
            return Literal(DOUBLE.null(False), float(text))
        if "." in text and not text.endswith("."):
            # Digits as written, also zeros in front: 0.908 is DECIMAL(4, 3), as in Flink.
            digits, scale = len(text) - 1, len(text.split(".")[1])
            if digits > 38:
                raise BindError(
                    f"number {text} has more than 38 digits", hint="write it as a DOUBLE (1e40), or as a string"
                )
            return Literal(decimal(digits, scale).null(False), Decimal(text))
        text = text.removesuffix(".")
        number = int(text)
        if -(2**31) <= number < 2**31:
            return Literal(INT.null(False), number)
        if -(2**63) <= number < 2**63:
            return Literal(BIGINT.null(False), number)
        if len(text) > 38:
            raise BindError(
                f"number {text} has more than 38 digits", hint="write it as a DOUBLE (1e40), or as a string"
            )
        return Literal(decimal(len(text), 0).null(False), Decimal(text))

    def _null(self, node: exp.Expression) -> Expr:
        return Literal(NULL, None)

    def _boolean(self, node: exp.Expression) -> Expr:
        return Literal(BOOLEAN.null(False), bool(node.this))

    def _hex(self, node: exp.Expression) -> Expr:
        return Literal(BYTES_TYPE.null(False), bytes.fromhex(node.this))

    def _typed_literal(self, node: exp.Expression) -> Expr:
        kind = node.args["kind"]
        text = node.this.this
        t = {"DATE": DATE, "TIME": TIME, "TIMESTAMP": timestamp(3), "TIMESTAMP_LTZ": timestamp_ltz(3)}[kind].null(False)
        value = parse_time(text, kind)
        if value is None:
            example = {"DATE": "2024-05-06", "TIME": "07:08:09"}.get(kind, "2024-05-06 07:08:09.123")
            raise BindError(f"'{text}' is not a {kind}", hint=f"write it like {kind} '{example}'")
        fraction = len(text.partition(".")[2])
        if kind in ("TIMESTAMP", "TIMESTAMP_LTZ") and fraction != 3:
            t = Type(kind, min(fraction, 6), nullable=False)
        return Literal(t, value)

    def _interval(self, node: exp.Expression) -> Expr:
        kind, value = interval_value(node)
        return Literal((INTERVAL_DAY if kind == "INTERVAL_DAY" else INTERVAL_MONTH).null(False), value)

    # ---- operators

    def _not(self, node: exp.Expression) -> Expr:
        return self.call("NOT", [self.bind(node.this)])

    def _neg(self, node: exp.Expression) -> Expr:
        inner = self.bind(node.this)
        if isinstance(inner, Literal) and inner.type.is_numeric and inner.value is not None:
            return Literal(inner.type, -inner.value)
        if isinstance(inner, Literal) and inner.type.is_interval:
            return Literal(inner.type, -inner.value)
        return self.call("NEGATE", [inner])

    def _is(self, node: exp.Expression) -> Expr:
        what = node.expression
        inner = self.bind(node.this)
        if isinstance(what, exp.Null):
            return self.call("IS NULL", [inner])
        if isinstance(what, exp.Boolean):
            return self.call("IS TRUE" if what.this else "IS FALSE", [inner])
        if isinstance(what, exp.Var) and what.name.startswith("JSON "):
            return self.call("IS JSON", [inner, symbol(what.name.removeprefix("JSON "))])
        raise NotSupported(f"IS {sql_of(what)} is not supported", position=position_of(node))

    def _between(self, node: exp.Expression) -> Expr:
        value, low, high = (self.bind(node.args[k]) for k in ("this", "low", "high"))

        def inside(lo: Expr, hi: Expr) -> Expr:
            return self.call("AND", [self.call(">=", [value, lo]), self.call("<=", [value, hi])])

        if not node.args.get("symmetric"):
            return inside(low, high)
        return self.call("OR", [inside(low, high), inside(high, low)])

    def _in(self, node: exp.Expression) -> Expr:
        if node.args.get("query") is not None:
            return self._subquery(node)
        return self.call("IN", [self.bind(node.this), *(self.bind(e) for e in node.expressions)])

    def _subquery(self, node: exp.Expression) -> Expr:
        """Where one may stand `hook` knows it (`subquery_values.py`)."""
        raise NotSupported(
            "a subquery cannot stand here",
            hint="it may in WHERE, SELECT, GROUP BY, HAVING, ORDER BY and ON of a JOIN of tables; elsewhere give it a name in a query of FROM",
            position=position_of(node),
        )

    def _overlaps(self, node: exp.Expression) -> Expr:
        """Whether two spans of time have a moment in common; each is (begin, end), in any order, or (begin, how long)."""
        (a, b), (c, d) = (self._span(side) for side in (node.this, node.expression))
        first, second = ([self.call(f, span) for f in ("LEAST", "GREATEST")] for span in ([a, b], [c, d]))
        return self.call("AND", [self.call(">=", [first[1], second[0]]), self.call(">=", [second[1], first[0]])])

    def _span(self, node: exp.Expression) -> list[Expr]:
        ends = node.expressions if isinstance(node, exp.Tuple) else ()
        if len(ends) != 2:
            raise BindError(
                f"OVERLAPS takes two spans of time, not {sql_of(node)}",
                hint="(start1, end1) OVERLAPS (start2, INTERVAL '1' HOUR)",
                position=position_of(node),
            )
        begin, end = (self.bind(e) for e in ends)
        for e, written in zip((begin, end), ends, strict=True):
            if not (e.type.is_timestamp or e.type.kind in ("DATE", "TIME", "NULL") or e is end and e.type.is_interval):
                raise BindError(f"OVERLAPS takes times, not {e.type.text()}", position=position_of(written))
        return [begin, self.call("+", [begin, end]) if end.type.is_interval else end]

    def _escape(self, node: exp.Expression) -> Expr:
        like = node.this
        operands = (like.this, like.expression, node.expression)
        return self.call(_BINARY[type(like)], [self.bind(x) for x in operands])

    def _case(self, node: exp.Expression) -> Expr:
        operand = self.bind(node.this) if node.this is not None else None
        args = []
        for branch in node.args["ifs"]:
            if operand is not None:
                args.append(self.call("=", [operand, self.bind(branch.this)]))
            else:
                args.append(self.condition(branch.this))
            args.append(self.bind(branch.args["true"]))
        default = node.args.get("default")
        args.append(self.bind(default) if default is not None else Literal(NULL, None))
        return self.call("CASE", args)

    def _cast(self, node: exp.Expression) -> Expr:
        lenient = isinstance(node, exp.TryCast)
        inner = self.bind(node.this)
        target = to_type(node.args["to"])
        check_cast(inner.type, target)
        return Cast(target.null(inner.type.nullable or lenient), inner, lenient)

    def _row(self, node: exp.Expression) -> Expr:
        return self.call("ROW", [self.bind(e) for e in node.expressions])

    def _array(self, node: exp.Expression) -> Expr:
        return self.call("ARRAY", [self.bind(e) for e in node.expressions])

    def _map(self, node: exp.Expression) -> Expr:
        pairs = zip(node.args["keys"].expressions, node.args["values"].expressions, strict=True)
        return self.call("MAP", [self.bind(x) for pair in pairs for x in pair])

    def _bracket(self, node: exp.Expression) -> Expr:
        this, index = self.bind(node.this), self.bind(node.expressions[0])
        if node.meta.get("place_from_0") and this.type.kind == "MAP" and not index.type.is_string:
            raise NotSupported(
                "a number in [ ] behind a MAP, in a dialect whose arrays count from 0",
                hint="SET 'table.sql-dialect' = 'default', where it is the key",
            )
        return self.call("ITEM", [this, index])

    def _symbol(self, node: exp.Expression) -> Expr:
        return symbol(node.name.upper())

    # ---- functions

    def _anonymous(self, node: exp.Expression) -> Expr:
        name = node.this
        upper = name.upper()
        declared = self.catalog.function(name)
        if declared is not None and is_process_function(declared.path):
            raise BindError(
                f"{declared.name} is a function of a table: it stands in FROM",
                hint=f"SELECT * FROM {declared.name}(TABLE t PARTITION BY k)",
            )
        if declared is not None and is_aggregate_function(declared.path):
            raise BindError(
                f"{declared.name}(…) is an aggregate: it cannot stand here",
                hint="aggregates stand in SELECT, HAVING and ORDER BY; filter on them with HAVING",
            )
        if declared is not None:
            return self._user_call(declared.name, declared.path, [self.bind(e) for e in node.expressions])
        if upper in AGGREGATES:
            raise BindError(
                f"{upper}(…) is an aggregate: it cannot stand here",
                hint="aggregates stand in SELECT, HAVING and ORDER BY; filter on them with HAVING",
            )
        f = SCALARS.get(upper)
        if f is None or f.operator:
            self._check_database(name)
            known = [n for n, f in SCALARS.items() if not f.operator]
            known += [*AGGREGATES, *self.catalog.functions()]
            raise BindError(f"there is no function '{name}'", hint=elsewhere(upper) or _named(upper, known))
        if upper == CURRENT_DATABASE and not node.expressions:
            return Literal(f.typing([]).result, self.catalog.session_database)
        if takes_clauses(upper, node):
            return self.call(upper, json_arguments(upper, node, self.bind, self.call))
        if is_plain(node):
            raise BindError(
                "JSON(…) stands in JSON_OBJECT and JSON_ARRAY alone", hint="JSON_OBJECT('a' VALUE JSON('[1, 2]'))"
            )
        return self.call(upper, [self.bind(e) for e in node.expressions])

    def _check_database(self, name: str) -> None:
        """BindError where a function that there is not names a database that there is not either."""
        *qualifiers, _ = name.split(".")
        if qualifiers:
            self.catalog.database(tuple(qualifiers))

    def call(self, name: str, args: list[Expr]) -> Expr:
        """A call of a registered function: its arguments checked and cast by its type rule."""
        f = SCALARS[name]
        typing = f.typing(args)
        cast = (a if t is None else _argument(a, t) for a, t in zip(args, typing.arguments, strict=True))
        made = Call(typing.result, f.stands_for or f.name, tuple(cast))
        # what its text refuses, as a constant pattern that is wrong, is refused here, where the place is known
        texts = [_constant(a) or f"x{i}" for i, a in enumerate(made.args)]
        f.text(texts, [a.type for a in made.args], made.type)
        return made

    def _user_call(self, name: str, path: str, args: list[Expr]) -> Expr:
        f = user.resolve(path)
        if f.table:
            raise BindError(
                f"{name} is a table function: it gives rows, and stands in FROM",
                hint=f"FROM t, LATERAL TABLE({name}(…)) AS s",
            )
        return self.user_call(name, f, args)

    def user_call(self, name: str, f: user.UserFunction, args: list[Expr]) -> UserCall:
        """A call of a Python function; its arguments are of the types that it takes, or become so by themselves."""
        if len(args) != len(f.arguments):
            raise BindError(f"{name} takes {len(f.arguments)} arguments, not {len(args)}")
        for i, (a, t) in enumerate(zip(args, f.arguments, strict=True)):
            if not implicit(a.type, t):
                raise BindError(
                    f"{name}: argument {i + 1} must be {t.text()}, not {a.type.text()}", hint=f"CAST({a} AS {t.text()})"
                )
        return UserCall(f.result, f.path, tuple(args), name)


def _constant(e: Expr) -> str | None:
    """The text of a constant argument."""
    if isinstance(e, Literal):
        return literal(e.value, e.type)
    return e.word if isinstance(e, Symbol) else None


_METHODS: tuple[tuple[type | tuple[type, ...], Callable[[ExpressionBinder, exp.Expression], Expr]], ...] = (
    (TypedLiteral, ExpressionBinder._typed_literal),
    (exp.Column, ExpressionBinder._column),
    (exp.Dot, ExpressionBinder._dot),
    (exp.Paren, ExpressionBinder._paren),
    (exp.Literal, ExpressionBinder._literal),
    (exp.Null, ExpressionBinder._null),
    (exp.Boolean, ExpressionBinder._boolean),
    (exp.HexString, ExpressionBinder._hex),
    (exp.Interval, ExpressionBinder._interval),
    (exp.Not, ExpressionBinder._not),
    (exp.Neg, ExpressionBinder._neg),
    (exp.Is, ExpressionBinder._is),
    (exp.Between, ExpressionBinder._between),
    (exp.In, ExpressionBinder._in),
    ((exp.Exists, exp.Any, exp.All, exp.Query), ExpressionBinder._subquery),
    (exp.Overlaps, ExpressionBinder._overlaps),
    (exp.Escape, ExpressionBinder._escape),
    (exp.Case, ExpressionBinder._case),
    ((exp.Cast, exp.TryCast), ExpressionBinder._cast),
    (exp.Tuple, ExpressionBinder._row),
    (exp.Array, ExpressionBinder._array),
    (exp.Map, ExpressionBinder._map),
    (exp.Bracket, ExpressionBinder._bracket),
    (exp.Var, ExpressionBinder._symbol),
    (exp.Anonymous, ExpressionBinder._anonymous),
)


def _argument(e: Expr, t: Type) -> Expr:
    """`e` as an argument of type `t`: text of any length is text."""
    return e if t.is_string and e.type.is_string else coerce(e, t)


def coerce(e: Expr, t: Type) -> Expr:
    """`e` as type `t` (nullability apart), cast where it is not already."""
    if e.type.null() == t.null() or (e.type.is_string and t.is_string and t.precision == STRING.precision):
        return e
    if isinstance(e, Literal):
        if e.value is None:
            return Literal(t.null(), None)
        if t.is_integer and e.type.is_integer and fits(e.value, t):
            return Literal(t.null(False), e.value)
        if t.kind == "DECIMAL" and e.type.is_integer and len(str(abs(e.value))) <= (t.precision or 0) - (t.scale or 0):
            return Literal(t.null(False), Decimal(e.value))
        if t.kind == "DOUBLE" and e.type.is_numeric:
            return Literal(t.null(False), float(e.value))
        if e.type.is_string and t.kind in ("DATE", "TIMESTAMP"):
            value = parse_time(e.value, t.kind)
            if value is None:
                raise BindError(f"'{e.value}' is not a {t.text()}", hint="write it like '2024-05-06 07:08:09.123'")
            if t.kind == "TIMESTAMP" and t.precision is not None:
                value -= value % 10 ** (6 - t.precision)
            return Literal(t.null(False), value)
    return Cast(t.null(e.type.nullable), e)


def fits(number: int, t: Type) -> bool:
    """Whether an integer type holds the number."""
    bits = {"TINYINT": 8, "SMALLINT": 16, "INT": 32, "BIGINT": 64}[t.kind]
    return -(1 << bits - 1) <= number < 1 << bits - 1


def check_cast(source: Type, target: Type) -> None:
    """Refuses a CAST that has no meaning."""
    if (
        source.kind == "NULL"
        or source.kind == target.kind
        or target.is_string
        or source.is_string
        and is_castable(target)
    ):
        return
    times = ("DATE", "TIMESTAMP", "TIMESTAMP_LTZ")
    fine = (
        (source.is_numeric or source.kind == "BOOLEAN") and (target.is_numeric or target.kind == "BOOLEAN")
        or source.kind in times and target.kind in times
        or source.is_timestamp and target.kind == "TIME"
        or source.is_interval and target.kind == "BIGINT"
        or {source.kind, target.kind} <= {"BINARY", "VARBINARY"}
    )  # fmt: skip
    if not fine:
        seconds = source.is_timestamp and target.is_numeric
        raise BindError(
            f"CAST from {source.text()} to {target.text()} has no meaning",
            hint="UNIX_TIMESTAMP(CAST(… AS STRING)) or EXTRACT(EPOCH FROM …) are its seconds"
            if seconds
            else "TO_TIMESTAMP_LTZ(x, 3) is the time of milliseconds since 1970"
            if source.is_numeric and (target.is_timestamp or target.kind == "DATE")
            else "JSON_VALUE(x, '$.field') reads a field of a text"
            if source.is_string
            else f"by way of a text: CAST(CAST(x AS STRING) AS {target.text()}), if that is what is meant",
        )


def _named(name: str, known: list[str]) -> str:
    hint = did_you_mean(name, known)
    return (
        hint
        if hint.startswith("did you mean")
        else f"SHOW FUNCTIONS and docs/functions.md list the {len(known)} there are"
    )
