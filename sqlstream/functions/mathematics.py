"""Functions of numbers."""

from __future__ import annotations

from collections.abc import Sequence

from sqlstream.errors import BindError, NotSupported
from sqlstream.expressions import Call, Expr, Literal
from sqlstream.functions import randoms, times
from sqlstream.functions.numbers import once, rounded
from sqlstream.functions.scalar_function import Nulls, Rule, ScalarFunction, Template, Typing, alias, function, takes
from sqlstream.types import BIGINT, BYTES_TYPE, DOUBLE, INT, STRING, Type


def _number(types: list[Type]) -> Type:
    if not types[0].is_numeric and types[0].kind != "NULL":
        raise BindError(f"a number is needed, not {types[0].text()}", hint="CAST the argument")
    return types[0]


def _whole(types: list[Type]) -> Type:
    t = _number(types)
    return Type("DECIMAL", t.precision, 0) if t.kind == "DECIMAL" else t


# ---- CEIL and FLOOR, of numbers and of times


def _to_whole_rule(name: str) -> Rule:
    def rule(args: Sequence[Expr]) -> Typing:
        if len(args) == 2:
            return times.truncation(name, args)
        return takes(name, (None,), _whole)(args)

    return rule


def _to_whole(name: str) -> Template:
    def sql(args: list[str], types: list[Type], result: Type) -> str:
        if len(args) == 2:
            return times.truncated(args[0], args[1], types[0], up=name == "CEIL")
        return args[0] if types[0].is_integer else f"{name.lower()}({args[0]})"

    return sql


# ---- ROUND


def _round_rule(name: str) -> Rule:
    def rule(args: Sequence[Expr]) -> Typing:
        typing = takes(name, (None, INT), _number)(args)
        if typing.result.kind != "DECIMAL":
            return typing
        return Typing(typing.arguments, rounded_type(typing.result, _places(name, args)))

    return rule


def rounded_type(t: Type, places: int) -> Type:
    """Flink's type of ROUND(DECIMAL, places)."""
    precision, scale = t.precision or 10, t.scale or 0
    if places >= scale:
        return t
    kept = max(places, 0)
    return Type("DECIMAL", min(38, 1 + precision - scale + kept), kept)


def _places(name: str, args: Sequence[Expr]) -> int:
    """The digits that ROUND or TRUNCATE keeps of a DECIMAL, by which its type goes."""
    if len(args) < 2:
        return 0
    places, sign = args[1], 1
    if isinstance(places, Call) and places.function == "NEGATE":
        places, sign = places.args[0], -1
    if not isinstance(places, Literal) or places.value is None:
        raise NotSupported(
            f"{name} of a DECIMAL takes a constant number of digits", hint="CAST the first argument to DOUBLE"
        )
    return sign * int(places.value)


def _round(args: list[str], types: list[Type], result: Type) -> str:
    if types[0].is_integer and len(args) == 1:
        return args[0]
    if types[0].kind == "DOUBLE":
        return rounded(args[0], args[1] if len(args) > 1 else "0")
    if types[0].kind != "DECIMAL":
        return f"round({', '.join(args)})"
    if result.null() == types[0].null():
        return args[0]  # it has no more digits than are asked for
    # 9.99 to one digit is 10.0: a digit more
    wide = Type("DECIMAL", min(38, (types[0].precision or 10) + 1), types[0].scale)
    return f"CAST(round(CAST({args[0]} AS {wide.duckdb()}), {args[1] if len(args) > 1 else 0}) AS {result.duckdb()})"


# ---- LOG, HEX, TRUNCATE


def _log(args: list[str], types: list[Type], result: Type) -> str:
    """LOG(x), or LOG(base, x)."""
    return f"ln({args[0]})" if len(args) == 1 else f"(ln({args[1]}) / ln({args[0]}))"


def _hex_rule(args: Sequence[Expr]) -> Typing:
    t = args[0].type
    if not (t.is_string or t.is_integer or t.kind == "NULL"):
        raise BindError(f"HEX takes a whole number or a text, not {t.text()}", hint="CAST the argument")
    return Typing((BIGINT if t.is_integer else STRING,), STRING)


def _unhex(args: list[str], types: list[Type], result: Type) -> str:
    """NULL for what is not written in hexadecimal digits. Where their number is odd, a zero byte stands for the first."""
    even = "CASE WHEN length({0}) % 2 = 1 THEN '00' || {0}[2:] ELSE {0} END"
    return once(args[0], lambda x: f"CASE WHEN regexp_full_match({x}, '[0-9A-Fa-f]*') THEN unhex({even.format(x)}) END")


def _truncate(args: list[str], types: list[Type], result: Type) -> str:
    """A DOUBLE by the digits that are shown: of what has no more of them than are asked for, nothing goes."""
    if types[0].is_integer and len(args) == 1:
        return args[0]
    text = f"trunc({', '.join(args)})"
    if types[0].kind == "DECIMAL":
        return f"CAST({text} AS {result.duckdb()})"
    if len(args) == 1 or types[0].is_integer:
        return text
    x, n = args
    whole = f"abs({x}) * pow(10, {n}) >= 1e15 OR round({x}, {n}) = {x}"
    return f"CASE WHEN {n} IS NULL THEN NULL WHEN {whole} THEN {x} ELSE {text} END"


def _rand(args: list[str], types: list[Type], result: Type) -> str:
    return randoms.RAND.called(args) if args else "random()"


def _rand_integer(args: list[str], types: list[Type], result: Type) -> str:
    """From 0 on, below the bound, which must be above 0, as in Java."""
    if len(args) == 2:
        return randoms.RAND_INTEGER.called(args)
    bound = f"CASE WHEN {args[0]} <= 0 THEN error('RAND_INTEGER: the bound must be above 0') ELSE {args[0]} END"
    return f"CAST(floor(random() * {bound}) AS INTEGER)"


_D = DOUBLE
_CEIL = ScalarFunction("CEIL", _to_whole_rule("CEIL"), _to_whole("CEIL"), 1, 2, example="CEIL(1.2)")

FUNCTIONS = (
    function("ABS", (None,), _number, "abs({0})", "ABS(-3)"),
    _CEIL,
    alias("CEILING", _CEIL, "CEILING(1.2)"),
    ScalarFunction("FLOOR", _to_whole_rule("FLOOR"), _to_whole("FLOOR"), 1, 2, example="FLOOR(1.8)"),
    ScalarFunction("ROUND", _round_rule("ROUND"), _round, 1, 2, example="ROUND(2.345, 2)"),
    function("SIGN", (None,), _number, lambda a, t, r: f"CAST(sign({a[0]}) AS {r.duckdb()})", "SIGN(-3)"),
    function("POWER", (_D, _D), _D, "pow({0}, {1})", "POWER(2, 10)"),
    function("SQRT", (_D,), _D, "sqrt({0})", "SQRT(16)"),
    function("LN", (_D,), _D, "ln({0})", "LN(1)"),
    function("LOG10", (_D,), _D, "log10({0})", "LOG10(100)"),
    function("LOG2", (_D,), _D, "log2({0})", "LOG2(8)"),
    function("EXP", (_D,), _D, "exp({0})", "EXP(0)"),
    function("SIN", (_D,), _D, "sin({0})", "SIN(0)"),
    function("COS", (_D,), _D, "cos({0})", "COS(0)"),
    function("TAN", (_D,), _D, "tan({0})", "TAN(0)"),
    function("ASIN", (_D,), _D, "asin({0})", "ASIN(1)"),
    function("ACOS", (_D,), _D, "acos({0})", "ACOS(1)"),
    function("ATAN", (_D,), _D, "atan({0})", "ATAN(1)"),
    function("ATAN2", (_D, _D), _D, "atan2({0}, {1})", "ATAN2(1, 1)"),
    function("SINH", (_D,), _D, "sinh({0})", "SINH(0)"),
    function("COSH", (_D,), _D, "cosh({0})", "COSH(0)"),
    function("TANH", (_D,), _D, "tanh({0})", "TANH(0)"),
    function("COT", (_D,), _D, "cot({0})", "COT(1)"),
    function("DEGREES", (_D,), _D, "degrees({0})", "DEGREES(PI())"),
    function("RADIANS", (_D,), _D, "radians({0})", "RADIANS(180)"),
    function("LOG", (_D, _D), _D, _log, "LOG(2, 8)", least=1),
    function("BIN", (BIGINT,), STRING, "bin({0})", "BIN(12)"),
    ScalarFunction("HEX", _hex_rule, "hex({0})", 1, 1, example="HEX(255)"),
    function("UNHEX", (STRING,), BYTES_TYPE, _unhex, "UNHEX('466C696E6B')", nulls=Nulls.MAYBE),
    ScalarFunction("TRUNCATE", _round_rule("TRUNCATE"), _truncate, 1, 2, example="TRUNCATE(42.345, 2)"),
    function("E", (), _D, "exp(1)", "E()", nulls=Nulls.NEVER),
    function("PI", (), _D, "pi()", "PI()", nulls=Nulls.NEVER),
    ScalarFunction("RAND", randoms.seeded("RAND", (INT,), _D, 0), _rand, 0, 1, example="RAND()", python=(randoms.RAND,),
                   volatile=True),
    ScalarFunction("RAND_INTEGER", randoms.seeded("RAND_INTEGER", (INT, INT), INT, 1), _rand_integer, 1, 2,
                   example="RAND_INTEGER(10)", python=(randoms.RAND_INTEGER,), volatile=True),
    function("UUID", (), STRING, "CAST(uuid() AS VARCHAR)", "UUID()", nulls=Nulls.NEVER, volatile=True),
)  # fmt: skip
