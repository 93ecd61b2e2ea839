"""Operators: comparisons, logic, conditions, arithmetic, IN."""

from __future__ import annotations

from collections.abc import Sequence

from sqlstream.errors import BindError, NotSupported
from sqlstream.expressions import Expr, Literal
from sqlstream.functions.comparisons import among, compared
from sqlstream.functions.decimals import product, quotient, remainder
from sqlstream.functions.scalar_function import Nulls, Rule, ScalarFunction, Text, Typing, function, merged
from sqlstream.functions.typing import arithmetic, as_decimal, common, comparable, implicit
from sqlstream.types import BIGINT, BOOLEAN, INT, STRING, Type, timestamp

# ---- comparisons


def _compared(op: str) -> Rule:
    def rule(args: Sequence[Expr]) -> Typing:
        t = comparable(args[0].type, args[1].type, f"'{op}'")
        return Typing((t, t), BOOLEAN)

    return rule


def _comparison(op: str, nulls: Nulls = Nulls.PASS) -> ScalarFunction:
    def sql(args: list[str], types: list[Type], result: Type) -> str:
        return compared(op, args[0], args[1], types)

    return ScalarFunction(op, _compared(op), sql, 2, 2, nulls, operator=True, light=True)


def _in_rule(args: Sequence[Expr]) -> Typing:
    t = args[0].type
    for item in args[1:]:
        t = comparable(t, item.type, "IN")
    return Typing((t,) * len(args), BOOLEAN)


def _in(args: list[str], types: list[Type], result: Type) -> str:
    return among(args[0], args[1:], types)


# ---- conditions


def _case_rule(args: Sequence[Expr]) -> Typing:
    """WHEN, THEN, WHEN, THEN, …, ELSE."""
    for condition in args[:-1:2]:
        if not implicit(condition.type, BOOLEAN):
            raise BindError(f"a condition must be BOOLEAN, not {condition.type.text()}")
    t = common([*(a.type for a in args[1::2]), args[-1].type], "CASE")
    if t.is_string:
        t = STRING.null(t.nullable)
    return Typing((*(x for _ in args[1::2] for x in (BOOLEAN, t)), t), t)


def _case(args: list[str], types: list[Type], result: Type) -> str:
    parts = [f"WHEN {args[i]} THEN {args[i + 1]}" for i in range(0, len(args) - 1, 2)]
    return f"CASE {' '.join(parts)} ELSE {args[-1]} END"


def _extreme(name: str) -> Text:
    """GREATEST and LEAST give NULL when any argument is NULL (DuckDB's skip NULLs)."""

    def sql(args: list[str], types: list[Type], result: Type) -> str:
        nulls = " OR ".join(f"{a} IS NULL" for a, t in zip(args, types, strict=True) if t.nullable)
        call = f"{name}({', '.join(args)})"
        return f"CASE WHEN {nulls} THEN NULL ELSE {call} END" if nulls else call

    return sql


def _nullif(args: list[str], types: list[Type], result: Type) -> str:
    if types[0].kind not in ("FLOAT", "DOUBLE"):
        return f"nullif({args[0]}, {args[1]})"
    return f"CASE WHEN {compared('=', args[0], args[1], types)} THEN NULL ELSE {args[0]} END"


def _nullif_rule(args: Sequence[Expr]) -> Typing:
    t = common([a.type for a in args], "NULLIF")
    return Typing((t, t), t)


# ---- arithmetic

_DAY = 86_400_000_000


def _arithmetic_rule(op: str) -> Rule:
    def rule(args: Sequence[Expr]) -> Typing:
        a, b = args[0].type, args[1].type
        plain = (None, None)
        if a.is_interval or b.is_interval:
            if op in ("+", "-"):
                return _moved(op, args) if a.kind != b.kind else Typing(plain, a)
            if b.is_integer and op in ("*", "/") or a.is_integer and op == "*":
                return Typing((None, BIGINT) if a.is_interval else (BIGINT, None), a if a.is_interval else b)
        if a.is_timestamp and b.is_timestamp and op == "-":
            raise NotSupported("'-' between timestamps", hint="TIMESTAMPDIFF(SECOND, earlier, later)")
        return Typing(plain, arithmetic(op, a, b))

    return rule


def _moved(op: str, args: Sequence[Expr]) -> Typing:
    """The types of a time moved by an interval, which may stand first when they are added.

    A DATE moved by a part of a day is a TIMESTAMP. Of an interval that is no constant this is not known: then it stays.
    """
    at = 1 if args[0].type.is_interval and op == "+" else 0
    time, interval = args[at].type, args[1 - at]
    if not time.is_timestamp and time.kind not in ("DATE", "TIME"):
        raise BindError(f"an INTERVAL cannot be added to {time.text()}")
    if time.kind == "TIME" and interval.type.kind == "INTERVAL_MONTH":
        raise BindError("a month INTERVAL cannot be added to TIME")
    part = interval.type.kind == "INTERVAL_DAY" and isinstance(interval, Literal) and (interval.value or 0) % _DAY != 0
    if time.kind != "DATE" or not part:
        return Typing((None, None), time)
    wanted = timestamp(6)
    return Typing((None, wanted) if at else (wanted, None), wanted)


def moved(op: str, time: str, amount: str, t: Type, unit: str) -> str:
    """A time `t` moved by microseconds or months (`unit`: DuckDB's name of them). Months of an instant are UTC's."""
    by = f"to_{unit}({amount})"
    if t.kind == "DATE":
        return f"CAST(({time} {op} {by}) AS DATE)"
    if t.kind == "TIMESTAMP_LTZ" and unit == "months":
        return f"timezone('UTC', timezone('UTC', {time}) {op} {by})"
    return f"({time} {op} {by})"


def _arithmetic(op: str) -> Text:
    def sql(args: list[str], types: list[Type], result: Type) -> str:
        if not result.is_interval and any(t.is_interval for t in types):
            at = 0 if types[0].is_interval else 1
            unit = "microseconds" if types[at].kind == "INTERVAL_DAY" else "months"
            return moved(op, args[1 - at], args[at], result, unit)
        if result.kind == "DECIMAL":
            return _of_decimals(op, args, types, result)
        a, b = args
        if result.is_integer:
            # Integers stay integers; each operand in the result's width, so that overflow is found there.
            if op != "%":
                a, b = (_as(x, t, result) for x, t in zip(args, types, strict=True))
            if op == "/":
                return f"flink_div({a}, {b})"
            if op == "%":
                return f"CAST(flink_mod({a}, {b}) AS {result.duckdb()})"
            return f"({a} {op} {b})"
        return f"(CAST({a} AS {result.duckdb()}) {op} CAST({b} AS {result.duckdb()}))"

    return sql


def _of_decimals(op: str, args: list[str], types: list[Type], result: Type) -> str:
    wide = (as_decimal(types[0]), as_decimal(types[1]))
    a, b = (_as(x, t, w) for x, t, w in zip(args, types, wide, strict=True))
    if op == "/":
        return quotient(a, b, wide, result)
    if op == "*":
        return product(a, b, wide, result)
    if op == "%":
        return remainder(a, b, wide, result) or f"CAST(flink_mod({a}, {b}) AS {result.duckdb()})"
    return f"CAST(({a} {op} {b}) AS {result.duckdb()})"


def _as(x: str, t: Type, wanted: Type) -> str:
    return x if t.null() == wanted.null() else f"CAST({x} AS {wanted.duckdb()})"


def _operation(op: str, name: str = "", example: str = "") -> ScalarFunction:
    return ScalarFunction(
        name or op, _arithmetic_rule(op), _arithmetic(op), 2, 2, operator=not name, example=example, stands_for=op
    )


def _negated(types: list[Type]) -> Type:
    t = types[0]
    if not t.is_numeric and not t.is_interval and t.kind != "NULL":
        raise BindError(f"'-' takes a number, not {t.text()}", hint="CAST the argument")
    return t


def _minus(args: list[str], types: list[Type], result: Type) -> str:
    """DuckDB's -x of the smallest integer is of a wider type, not an overflow."""
    return f"(CAST(0 AS {result.duckdb()}) - {args[0]})" if result.is_integer else f"(-{args[0]})"


def _hash_code(args: list[str], types: list[Type], result: Type) -> str:
    """Of whole numbers, and of what has one text."""
    (x,), (t,) = args, types
    if t.is_integer:
        return f"CAST(abs(CAST({x} AS BIGINT) % 2147483629) * 2654435761 // 65536 % 2147483647 AS INTEGER)"
    return f"CAST(md5_number(CAST({x} AS VARCHAR)) % 2147483647 AS INTEGER)"


_B = BOOLEAN
_SINGLE = (
    "CASE WHEN {0} > 1 THEN error('a subquery as a value gives more than one row: aggregate it, or ORDER BY … LIMIT 1') "
    "ELSE {1} END"
)

IS_NULL = function("IS NULL", (None,), _B, "({0} IS NULL)", nulls=Nulls.NEVER, operator=True, light=True)
IS_NOT_NULL = function("IS NOT NULL", (None,), _B, "({0} IS NOT NULL)", nulls=Nulls.NEVER, operator=True, light=True)


def _typeof(args: list[str], types: list[Type], result: Type) -> str:
    name = types[0].text() + ("" if types[0].nullable else " NOT NULL")
    return "'" + name.replace("'", "''") + "'"


CURRENT_DATABASE = "CURRENT_DATABASE"

FUNCTIONS = (
    *(_comparison(op) for op in ("=", "<>", "<", "<=", ">", ">=")),
    *(_comparison(op, Nulls.NEVER) for op in ("IS DISTINCT FROM", "IS NOT DISTINCT FROM")),
    ScalarFunction("IN", _in_rule, _in, 2, None, operator=True, light=True),
    # logic
    function("NOT", (_B,), _B, "(NOT {0})", operator=True, light=True),
    function("AND", (_B,), _B, lambda a, t, r: f"({' AND '.join(a)})", least=2, most=None, operator=True, light=True),
    function("OR", (_B,), _B, lambda a, t, r: f"({' OR '.join(a)})", least=2, most=None, operator=True, light=True),
    IS_NULL,
    IS_NOT_NULL,
    function("IS TRUE", (_B,), _B, "({0} IS TRUE)", nulls=Nulls.NEVER, operator=True),
    function("IS FALSE", (_B,), _B, "({0} IS FALSE)", nulls=Nulls.NEVER, operator=True),
    # conditions
    ScalarFunction("CASE", _case_rule, _case, 3, None, Nulls.RULE, operator=True),
    ScalarFunction("IF", _case_rule, _case, 3, 3, Nulls.RULE, example="IF(1 < 2, 'a', 'b')", stands_for="CASE"),
    ScalarFunction("COALESCE", merged("COALESCE"), "coalesce({all})", 1, None, Nulls.ALL, example="COALESCE(NULL, 5)"),
    ScalarFunction("IFNULL", merged("IFNULL"), "coalesce({all})", 2, 2, Nulls.ALL, example="IFNULL(NULL, 5)",
                   stands_for="COALESCE"),
    ScalarFunction("NULLIF", _nullif_rule, _nullif, 2, 2, Nulls.MAYBE, example="NULLIF(5, 5)"),
    ScalarFunction("GREATEST", merged("GREATEST"), _extreme("greatest"), 1, None, example="GREATEST(1, 3, 2)"),
    ScalarFunction("LEAST", merged("LEAST"), _extreme("least"), 1, None, example="LEAST(1, 3, 2)"),
    # the one row of a subquery as a value: how many there are, and the value
    function("SINGLE_VALUE", (BIGINT, None), lambda types: types[1], _SINGLE, nulls=Nulls.MAYBE, operator=True),
    # of DISTINCT values in buckets: it is in the state, so it stays what it is
    function("HASH_CODE", (None,), INT, _hash_code, operator=True),
    # arithmetic
    *(_operation(op) for op in ("+", "-", "*", "/", "%")),
    _operation("%", "MOD", "MOD(-7, 3)"),
    function("TYPEOF", (None,), STRING, _typeof, "TYPEOF(1)", nulls=Nulls.NEVER),
    # the text of a session that has said no other: the binder knows which
    function(CURRENT_DATABASE, (), STRING.null(False), "'default_database'", f"{CURRENT_DATABASE}()", nulls=Nulls.NEVER),
    function("NEGATE", (None,), _negated, _minus, operator=True),
)  # fmt: skip
