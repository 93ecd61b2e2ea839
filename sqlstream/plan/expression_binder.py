"""SQL expressions to typed ones: names resolved, types by Flink's rules, casts made explicit."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from sqlstream.catalog.catalog import Catalog
from sqlstream.errors import BindError, NotSupported, SqlStreamError, did_you_mean
from sqlstream.expressions import Call, Cast, Expr, Literal, UserCall
from sqlstream.functions import dates, user
from sqlstream.functions.aggregates import AGGREGATES
from sqlstream.functions.scalar import SCALARS, rounded_type
from sqlstream.functions.typing import arithmetic, common, comparable
from sqlstream.plan.scope import Scope, fields
from sqlstream.sql.ast import TypedLiteral, column_parts, exp, interval_value, position_of, sql_of
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
    Field,
    Type,
    array,
    decimal,
    map_of,
    timestamp,
    timestamp_ltz,
)  # fmt: skip

Hook = Callable[[exp.Expression], Expr | None]

_COMPARE = {
    exp.EQ: "=", exp.NEQ: "<>", exp.LT: "<", exp.LTE: "<=", exp.GT: ">", exp.GTE: ">=",
    exp.NullSafeEQ: "IS NOT DISTINCT FROM", exp.NullSafeNEQ: "IS DISTINCT FROM",
}  # fmt: skip
_ARITHMETIC = {exp.Add: "+", exp.Sub: "-", exp.Mul: "*", exp.Div: "/", exp.Mod: "%"}


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
        e = self.bind(node)
        if e.type.kind not in ("BOOLEAN", "NULL"):
            raise BindError(
                f"a condition must be BOOLEAN, not {e.type.text()}: {sql_of(node)}", position=position_of(node)
            )
        return e

    def _bind(self, node: exp.Expression) -> Expr:
        for kind, method in _METHODS:
            if isinstance(node, kind):
                return method(self, node)
        for kind, op in _COMPARE.items():
            if type(node) is kind:
                return self.compare(op, self.bind(node.this), self.bind(node.expression))
        for kind, op in _ARITHMETIC.items():
            if type(node) is kind:
                return self.arithmetic(op, self.bind(node.this), self.bind(node.expression))
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
            return Literal(DOUBLE.null(False), float(text))
        if "." in text and not text.endswith("."):
            # Digits as written, also zeros in front: 0.908 is DECIMAL(4, 3), as in Flink.
            digits, scale = len(text) - 1, len(text.split(".")[1])
            if digits > 38:
                raise BindError(f"number {text} has more than 38 digits")
            return Literal(decimal(digits, scale).null(False), Decimal(text))
        text = text.removesuffix(".")
        number = int(text)
        if -(2**31) <= number < 2**31:
            return Literal(INT.null(False), number)
        if -(2**63) <= number < 2**63:
            return Literal(BIGINT.null(False), number)
        if len(text) > 38:
            raise BindError(f"number {text} has more than 38 digits")
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
            raise BindError(f"'{text}' is not a {kind}", hint="write it like '2024-05-06 07:08:09.123'")
        fraction = len(text.partition(".")[2])
        if kind in ("TIMESTAMP", "TIMESTAMP_LTZ") and fraction != 3:
            t = Type(kind, min(fraction, 6), nullable=False)
        return Literal(t, value)

    def _interval(self, node: exp.Expression) -> Expr:
        kind, value = interval_value(node)
        return Literal((INTERVAL_DAY if kind == "INTERVAL_DAY" else INTERVAL_MONTH).null(False), value)

    # ---- operators

    def compare(self, op: str, a: Expr, b: Expr) -> Expr:
        t = comparable(a.type, b.type, f"'{op}'")
        safe = op.startswith("IS")
        nullable = not safe and (a.type.nullable or b.type.nullable)
        return Call(BOOLEAN.null(nullable), op, (coerce(a, t), coerce(b, t)))

    def arithmetic(self, op: str, a: Expr, b: Expr) -> Expr:
        if a.type.is_interval and b.type.is_interval and op in "+-" and a.type.kind == b.type.kind:
            return Call(a.type.null(a.type.nullable or b.type.nullable), op, (a, b))
        if op in "+-" and (a.type.is_interval or b.type.is_interval):
            if a.type.is_interval and op == "+":
                a, b = b, a
            return self._shift_time(op, a, b)
        if a.type.is_interval or b.type.is_interval:
            interval, number = (a, b) if a.type.is_interval else (b, a)
            if op == "*" and number.type.is_integer or op == "/" and number.type.is_integer and interval is a:
                return Call(interval.type, op, (interval, coerce(number, BIGINT)))
        if a.type.is_timestamp and b.type.is_timestamp and op == "-":
            raise NotSupported("'-' between timestamps", hint="TIMESTAMPDIFF(SECOND, earlier, later)")
        return Call(arithmetic(op, a.type, b.type), op, (a, b))

    def _shift_time(self, op: str, time: Expr, interval: Expr) -> Expr:
        t = time.type
        if not t.is_timestamp and t.kind not in ("DATE", "TIME"):
            raise BindError(f"an INTERVAL cannot be added to {t.text()}")
        unit = "DAY" if interval.type.kind == "INTERVAL_DAY" else "MONTH"
        if t.kind == "TIME" and unit == "MONTH":
            raise BindError("a month INTERVAL cannot be added to TIME")
        result = t.null(t.nullable or interval.type.nullable)
        if t.kind == "DATE":
            return Cast(
                result,
                Call(timestamp(6).null(result.nullable), f"TIME {op} {unit}", (coerce(time, timestamp(6)), interval)),
            )
        return Call(result, f"TIME {op} {unit}", (time, interval))

    def _logic(self, node: exp.Expression) -> Expr:
        name = "AND" if isinstance(node, exp.And) else "OR"
        a, b = (self._boolean_operand(x, name) for x in (node.this, node.expression))
        return Call(BOOLEAN.null(a.type.nullable or b.type.nullable), name, (a, b))

    def _boolean_operand(self, node: exp.Expression, name: str) -> Expr:
        e = self.bind(node)
        if e.type.kind not in ("BOOLEAN", "NULL"):
            raise BindError(f"{name} takes BOOLEAN, not {e.type.text()}", position=position_of(node))
        return coerce(e, BOOLEAN)

    def _not(self, node: exp.Expression) -> Expr:
        inner = self._boolean_operand(node.this, "NOT")
        return Call(inner.type, "NOT", (inner,))

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
            return Call(BOOLEAN.null(False), "IS NULL", (inner,))
        if isinstance(what, exp.Boolean):
            return self.call("IS TRUE" if what.this else "IS FALSE", [inner])
        raise NotSupported(f"IS {sql_of(what)} is not supported", position=position_of(node))

    def _between(self, node: exp.Expression) -> Expr:
        value, low, high = (self.bind(node.args[k]) for k in ("this", "low", "high"))

        def inside(lo: Expr, hi: Expr) -> Expr:
            above, below = self.compare(">=", value, lo), self.compare("<=", value, hi)
            return Call(BOOLEAN.null(above.type.nullable or below.type.nullable), "AND", (above, below))

        if not node.args.get("symmetric"):
            return inside(low, high)
        a, b = inside(low, high), inside(high, low)
        return Call(a.type.null(a.type.nullable or b.type.nullable), "OR", (a, b))

    def _in(self, node: exp.Expression) -> Expr:
        if node.args.get("query") is not None:
            raise NotSupported(
                "IN (SELECT …) is possible only as a condition of WHERE joined by AND", position=position_of(node)
            )
        value = self.bind(node.this)
        items = [self.bind(e) for e in node.expressions]
        t = value.type
        for item in items:
            t = comparable(t, item.type, "IN")
        return Call(
            BOOLEAN.null(any(x.type.nullable for x in (value, *items))),
            "IN",
            tuple(coerce(x, t) for x in (value, *items)),
        )

    def _exists(self, node: exp.Expression) -> Expr:
        raise NotSupported("EXISTS is possible only as a condition of WHERE joined by AND", position=position_of(node))

    def _subquery(self, node: exp.Expression) -> Expr:
        raise NotSupported(
            "a subquery as a value is not supported",
            hint="join with the subquery instead: … CROSS JOIN (SELECT …) AS s",
            position=position_of(node),
        )

    def _like(self, node: exp.Expression) -> Expr:
        name = "SIMILAR TO" if isinstance(node, exp.SimilarTo) else "LIKE"
        return self.call(name, [self.bind(node.this), self.bind(node.expression)])

    def _escape(self, node: exp.Expression) -> Expr:
        like = node.this
        return self.call("LIKE_ESCAPE", [self.bind(like.this), self.bind(like.expression), self.bind(node.expression)])

    def _concat(self, node: exp.Expression) -> Expr:
        return self.call("||", [self.bind(node.this), self.bind(node.expression)])

    def _case(self, node: exp.Expression) -> Expr:
        operand = self.bind(node.this) if node.this is not None else None
        conditions, values = [], []
        for branch in node.args["ifs"]:
            if operand is not None:
                conditions.append(self.compare("=", operand, self.bind(branch.this)))
            else:
                conditions.append(self.condition(branch.this))
            values.append(self.bind(branch.args["true"]))
        default = node.args.get("default")
        values.append(self.bind(default) if default is not None else Literal(NULL, None))
        return case(conditions, values)

    def _cast(self, node: exp.Expression) -> Expr:
        lenient = isinstance(node, exp.TryCast)
        inner = self.bind(node.this)
        target = to_type(node.args["to"])
        check_cast(inner.type, target)
        return Cast(target.null(inner.type.nullable or lenient), inner, lenient)

    def _row(self, node: exp.Expression) -> Expr:
        items = tuple(self.bind(e) for e in node.expressions)
        t = Type("ROW", fields=tuple(Field(f"EXPR${i}", x.type) for i, x in enumerate(items)), nullable=False)
        return Call(t, "ROW", items)

    def _array(self, node: exp.Expression) -> Expr:
        items = [self.bind(e) for e in node.expressions]
        if not items:
            raise NotSupported("an empty ARRAY[] has no type", hint="CAST(NULL AS ARRAY<…>)")
        t = common([i.type for i in items], "ARRAY")
        return Call(array(t).null(False), "ARRAY", tuple(coerce(i, t) for i in items))

    def _map(self, node: exp.Expression) -> Expr:
        keys = [self.bind(e) for e in node.args["keys"].expressions]
        values = [self.bind(e) for e in node.args["values"].expressions]
        k, v = common([x.type for x in keys], "MAP keys"), common([x.type for x in values], "MAP values")
        args = tuple(a for x, y in zip(keys, values, strict=True) for a in (coerce(x, k), coerce(y, v)))
        return Call(map_of(k, v).null(False), "MAP", args)

    def _bracket(self, node: exp.Expression) -> Expr:
        value, index = self.bind(node.this), self.bind(node.expressions[0])
        if value.type.kind == "ARRAY":
            if not index.type.is_integer:
                raise BindError(f"an array index must be an integer, not {index.type.text()}")
            return self.call("ELEMENT", [value, index])
        if value.type.kind == "MAP":
            return self.call("ELEMENT", [value, coerce(index, value.type.fields[0].type)])
        raise BindError(f"[…] takes an ARRAY or MAP, not {value.type.text()}")

    # ---- functions

    def _anonymous(self, node: exp.Expression) -> Expr:
        name = node.this
        upper = name.upper()
        declared = self.catalog.function(name)
        if declared is not None:
            return self._user_call(declared.name, declared.path, [self.bind(e) for e in node.expressions])
        if upper in AGGREGATES:
            raise BindError(
                f"{upper}(…) is an aggregate: it cannot stand here",
                hint="aggregates stand in SELECT, HAVING and ORDER BY; filter on them with HAVING",
            )
        args = node.expressions
        if upper == "EXTRACT":
            unit = args[0].name.upper()
            inner = self.bind(args[1])
            dates.part(unit)(["x"], [inner.type], BIGINT)  # refuses what it does not take
            return Call(BIGINT.null(inner.type.nullable), f"EXTRACT {unit}", (inner,))
        if upper in ("CEIL", "FLOOR") and len(args) == 2 and isinstance(args[1], exp.Var):
            inner = self.bind(args[0])
            unit = args[1].name.upper()
            if not inner.type.is_timestamp and inner.type.kind != "DATE":
                raise BindError(f"{upper}(x TO {unit}) takes a timestamp or date, not {inner.type.text()}")
            return Call(inner.type, f"{upper} TO {unit}", (inner,))
        if upper in ("TIMESTAMPDIFF", "TIMESTAMPADD"):
            return self._timestamp_function(upper, args)
        if upper == "IF" and len(args) == 3:
            return case([self.condition(args[0])], [self.bind(args[1]), self.bind(args[2])])
        if upper == "TRIM" and len(args) == 3:
            name = {"BOTH": "TRIM", "LEADING": "LTRIM", "TRAILING": "RTRIM"}[args[2].name.upper()]
            return self.call(name, [self.bind(args[0]), self.bind(args[1])])
        if upper == "ROW":
            return self._row(node)
        if upper not in SCALARS:
            known = [*SCALARS, *AGGREGATES, *self.catalog.functions(), "TIMESTAMPDIFF", "TIMESTAMPADD", "EXTRACT", "IF"]
            raise BindError(f"there is no function '{name}'", hint=did_you_mean(upper, known, "functions"))
        return self.call(upper, [self.bind(e) for e in args])

    def _timestamp_function(self, name: str, args: list[exp.Expression]) -> Expr:
        unit = args[0].name.upper()
        unit = unit.removeprefix("SQL_TSI_")
        if unit not in dates.UNITS:
            raise BindError(f"{name}: '{unit}' is not a unit", hint=did_you_mean(unit, dates.UNITS, "units"))
        a, b = self.bind(args[1]), self.bind(args[2])
        if name == "TIMESTAMPDIFF":
            for x in (a, b):
                if not x.type.is_timestamp and x.type.kind != "DATE":
                    raise BindError(
                        f"TIMESTAMPDIFF takes timestamps, not {x.type.text()}", hint="CAST(… AS TIMESTAMP(3))"
                    )
            return Call(INT.null(a.type.nullable or b.type.nullable), f"TIMESTAMPDIFF {unit}", (a, b))
        if not a.type.is_integer:
            raise BindError(f"TIMESTAMPADD takes a whole number of units, not {a.type.text()}")
        months = {"MONTH": 1, "QUARTER": 3, "YEAR": 12}
        micros = {"MICROSECOND": 1, "MILLISECOND": 10**3, "SECOND": 10**6, "MINUTE": 60 * 10**6, "HOUR": 3600 * 10**6,
                  "DAY": 86400 * 10**6, "WEEK": 7 * 86400 * 10**6}  # fmt: skip
        t = INTERVAL_MONTH if unit in months else INTERVAL_DAY
        factor = Literal(BIGINT.null(False), (months.get(unit) or micros[unit]))
        amount = Call(t.null(a.type.nullable), "*", (coerce(a, BIGINT), factor))
        return self._shift_time("+", b, amount)

    def call(self, name: str, args: list[Expr]) -> Expr:
        """A call of a registered function, arguments checked and cast."""
        f = SCALARS[name]
        if len(args) < f.fewest or (f.utmost is not None and len(args) > f.utmost):
            many = (
                f"{f.fewest}"
                if f.fewest == f.utmost
                else f"{f.fewest} to {f.utmost}"
                if f.utmost
                else f"at least {f.fewest}"
            )
            raise BindError(
                f"{name} takes {many} argument{'s' if many != '1' else ''}, not {len(args)}",
                hint=f"for example {f.example}" if f.example else None,
            )
        out = []
        for i, a in enumerate(args):
            want = f.takes[min(i, len(f.takes) - 1)] if f.takes else None
            if want is not None and not implicit(a.type, want):
                raise BindError(
                    f"{name}: argument {i + 1} must be {want.text()}, not {a.type.text()}",
                    hint=f"CAST({a} AS {want.text()})",
                )
            out.append(coerce(a, want) if want is not None and not (want.is_string and a.type.is_string) else a)
        merging = name in ("COALESCE", "IFNULL", "GREATEST", "LEAST", "NULLIF", "ARRAY")
        if merging:
            t = common([a.type for a in out], name)
            out = [coerce(a, t) for a in out]
        result = f.result([a.type for a in out])
        if name == "ROUND" and result.kind == "DECIMAL":
            result = rounded_type(result, _places(out))
        if name in ("COALESCE", "IFNULL"):
            result = result.null(all(a.type.nullable for a in out))
        if result.kind == "NULL":
            result = STRING
        if result.kind == "CHAR":
            result = Type("VARCHAR", result.precision, nullable=result.nullable)
        return Call(result, name, tuple(out))

    def _user_call(self, name: str, path: str, args: list[Expr]) -> Expr:
        f = user.resolve(path)
        if len(args) != len(f.arguments):
            raise BindError(f"{name} takes {len(f.arguments)} arguments, not {len(args)}")
        for i, (a, t) in enumerate(zip(args, f.arguments, strict=True)):
            if not implicit(a.type, t):
                raise BindError(
                    f"{name}: argument {i + 1} must be {t.text()}, not {a.type.text()}", hint=f"CAST({a} AS {t.text()})"
                )
        return UserCall(f.result, path, tuple(args), name)


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
    ((exp.And, exp.Or), ExpressionBinder._logic),
    (exp.Not, ExpressionBinder._not),
    (exp.Neg, ExpressionBinder._neg),
    (exp.Is, ExpressionBinder._is),
    (exp.Between, ExpressionBinder._between),
    (exp.In, ExpressionBinder._in),
    (exp.Exists, ExpressionBinder._exists),
    ((exp.Subquery, exp.Select), ExpressionBinder._subquery),
    ((exp.Like, exp.SimilarTo), ExpressionBinder._like),
    (exp.Escape, ExpressionBinder._escape),
    (exp.DPipe, ExpressionBinder._concat),
    (exp.Case, ExpressionBinder._case),
    ((exp.Cast, exp.TryCast), ExpressionBinder._cast),
    (exp.Tuple, ExpressionBinder._row),
    (exp.Array, ExpressionBinder._array),
    (exp.Map, ExpressionBinder._map),
    (exp.Bracket, ExpressionBinder._bracket),
    (exp.Anonymous, ExpressionBinder._anonymous),
)


def case(conditions: list[Expr], values: list[Expr]) -> Expr:
    """CASE WHEN … THEN … ELSE: `values` has one more than `conditions`."""
    t = common([v.type for v in values], "CASE")
    if t.kind == "CHAR" or t.is_string:
        t = STRING.null(t.nullable)
    args: list[Expr] = []
    for c, v in zip(conditions, values[:-1], strict=True):
        args += [c, coerce(v, t)]
    return Call(t, "CASE", (*args, coerce(values[-1], t)))


def coerce(e: Expr, t: Type) -> Expr:
    """`e` as type `t` (nullability apart), cast where it is not already."""
    if e.type.null() == t.null() or (e.type.is_string and t.is_string and t.precision == STRING.precision):
        return e
    if isinstance(e, Literal):
        if e.value is None:
            return Literal(t.null(), None)
        if t.is_integer and e.type.is_integer:
            return Literal(t.null(False), e.value)
        if t.kind == "DECIMAL" and e.type.is_integer and len(str(abs(e.value))) <= (t.precision or 0) - (t.scale or 0):
            return Literal(t.null(False), Decimal(e.value))
        if t.kind == "DOUBLE" and e.type.is_numeric:
            return Literal(t.null(False), float(e.value))
        if e.type.is_string and t.kind in ("DATE", "TIMESTAMP"):
            value = parse_time(e.value, t.kind)
            if value is None:
                raise BindError(f"'{e.value}' is not a {t.text()}")
            return Literal(t.null(False), value)
    return Cast(t.null(e.type.nullable), e)


def implicit(source: Type, target: Type) -> bool:
    """Whether a function's argument of type `source` may be given for `target` without CAST."""
    if source.kind == "NULL" or source.kind == target.kind:
        return True
    if source.is_string and target.is_string:
        return True
    if source.is_numeric and target.is_numeric:
        widths = ["TINYINT", "SMALLINT", "INT", "BIGINT", "DECIMAL", "FLOAT", "DOUBLE"]
        # Narrowing whole numbers is allowed where a function takes INT (positions, lengths): overflow is an error.
        return widths.index(source.kind) <= widths.index(target.kind) or (source.is_integer and target.is_integer)
    return source.is_timestamp and target.is_timestamp


def check_cast(source: Type, target: Type) -> None:
    """Refuses a CAST that has no meaning."""
    if source.kind == "NULL" or source.kind == target.kind or source.is_string or target.is_string:
        return
    times = ("DATE", "TIMESTAMP", "TIMESTAMP_LTZ")
    fine = (
        (source.is_numeric or source.kind == "BOOLEAN") and (target.is_numeric or target.kind == "BOOLEAN")
        or source.kind in times and target.kind in times
        or source.is_timestamp and target.kind == "TIME"
        or source.is_timestamp and target.kind in ("BIGINT", "INT")
        or source.is_interval and target.kind == "BIGINT"
        or {source.kind, target.kind} <= {"BINARY", "VARBINARY"}
    )  # fmt: skip
    if not fine:
        raise BindError(f"CAST from {source.text()} to {target.text()} has no meaning")


def parse_time(text: str, kind: str) -> int | None:
    """µs since 1970 (days for DATE, µs since midnight for TIME), or None when it is not one."""
    import datetime

    try:
        t = text.strip().replace("T", " ")
        if kind == "DATE":
            return (datetime.date.fromisoformat(t) - datetime.date(1970, 1, 1)).days
        if kind == "TIME":
            x = datetime.time.fromisoformat(t)
            return ((x.hour * 60 + x.minute) * 60 + x.second) * 10**6 + x.microsecond
        stamp = datetime.datetime.fromisoformat(t)
        if stamp.tzinfo is not None:
            return None
        return (stamp - datetime.datetime(1970, 1, 1)) // datetime.timedelta(microseconds=1)
    except ValueError:
        return None


__all__ = ["ExpressionBinder", "case", "check_cast", "coerce", "implicit", "parse_time"]


def _places(args: list[Expr]) -> int:
    """The digits that ROUND keeps of a DECIMAL, by which its type goes."""
    if len(args) < 2:
        return 0
    places, sign = args[1], 1
    if isinstance(places, Call) and places.function == "NEGATE":
        places, sign = places.args[0], -1
    if not isinstance(places, Literal) or places.value is None:
        raise NotSupported(
            "ROUND of a DECIMAL takes a constant number of digits", hint="CAST the first argument to DOUBLE"
        )
    return sign * int(places.value)
