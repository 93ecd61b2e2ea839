"""Scalar functions and operators: one line each. Name, what it takes, what it gives, its DuckDB form.

`sql` is a template ({0}, {1}, … are the arguments, {all} all of them) or a function of (argument SQL, argument
types, result type). `takes` casts arguments: a type an argument, the last one repeated for the rest; None leaves
an argument as it is. The result is nullable when an argument is, unless `nullable` says otherwise. Both modes
compile from here. Adding a function is one line.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from sqlstream.errors import BindError
from sqlstream.functions import dates, numbers
from sqlstream.functions.typing import arithmetic, common
from sqlstream.types import (
    BIGINT,
    BOOLEAN,
    DATE,
    DOUBLE,
    INT,
    STRING,
    Type,
    array,
    timestamp,
    timestamp_ltz,
)  # fmt: skip

Template = str | Callable[[list[str], list[Type], Type], str]
Result = Type | Callable[[list[Type]], Type]


@dataclass(frozen=True)
class ScalarFunction:
    name: str
    takes: tuple[Type | None, ...]
    gives: Result
    sql: Template
    least: int = -1  # fewest arguments; -1: as many as `takes`
    most: int | None = -1  # None: any number
    nullable: bool | None = None  # None: when an argument is
    volatile: bool = False
    example: str = ""

    @property
    def fewest(self) -> int:
        return len(self.takes) if self.least < 0 else self.least

    @property
    def utmost(self) -> int | None:
        return len(self.takes) if self.most == -1 else self.most

    def result(self, types: list[Type]) -> Type:
        t = self.gives(types) if callable(self.gives) else self.gives
        nullable = any(x.nullable or x.kind == "NULL" for x in types) if self.nullable is None else self.nullable
        return t.null(nullable)


def _same(types: list[Type]) -> Type:
    return types[0]


def _number(types: list[Type]) -> Type:
    if not types[0].is_numeric and types[0].kind != "NULL":
        raise BindError(f"a number is needed, not {types[0].text()}", hint="CAST the argument")
    return types[0]


def _merged(types: list[Type]) -> Type:
    return common(types, "arguments")


def _whole(types: list[Type]) -> Type:
    t = _number(types)
    return Type("DECIMAL", t.precision, 0) if t.kind == "DECIMAL" else t


def _coalesced(types: list[Type]) -> Type:
    return common(types, "COALESCE").null(all(t.nullable for t in types))


def _strict_extreme(name: str) -> Template:
    """GREATEST and LEAST give NULL when any argument is NULL (DuckDB's skip NULLs)."""

    def sql(args: list[str], types: list[Type], result: Type) -> str:
        nulls = " OR ".join(f"{a} IS NULL" for a, t in zip(args, types, strict=True) if t.nullable)
        call = f"{name}({', '.join(args)})"
        return f"CASE WHEN {nulls} THEN NULL ELSE {call} END" if nulls else call

    return sql


def _concat_ws(args: list[str], types: list[Type], result: Type) -> str:
    return f"CASE WHEN {args[0]} IS NULL THEN NULL ELSE concat_ws({', '.join(args)}) END"


def _rounded(args: list[str], types: list[Type], result: Type) -> str:
    if types[0].is_integer and len(args) == 1:
        return args[0]
    if types[0].kind == "DOUBLE":
        return numbers.rounded(args[0], args[1] if len(args) > 1 else "0")
    if types[0].kind != "DECIMAL":
        return f"round({', '.join(args)})"
    if result.null() == types[0].null():
        return args[0]  # it has no more digits than are asked for
    # 9.99 to one digit is 10.0: a digit more
    wide = Type("DECIMAL", min(38, (types[0].precision or 10) + 1), types[0].scale)
    return f"CAST(round(CAST({args[0]} AS {wide.duckdb()}), {args[1] if len(args) > 1 else 0}) AS {result.duckdb()})"


def rounded_type(t: Type, places: int) -> Type:
    """Flink's type of ROUND(DECIMAL, places)."""
    precision, scale = t.precision or 10, t.scale or 0
    if places >= scale:
        return t
    kept = max(places, 0)
    return Type("DECIMAL", min(38, 1 + precision - scale + kept), kept, nullable=t.nullable)


def _substring(args: list[str], types: list[Type], result: Type) -> str:
    """Flink: position 0 is the first character, one before the text gives '', a negative length NULL."""
    if all(a.isdigit() and a != "0" for a in args[1:]):
        return f"substring({', '.join(args)})"
    return f"flink_substring({args[0]}, {args[1]}, {args[2] if len(args) > 2 else 2147483647})"


def _padded(name: str) -> Template:
    """No padding, or a negative length: NULL."""

    def sql(args: list[str], types: list[Type], result: Type) -> str:
        call = f"{name}({', '.join(args)})"
        if args[1].isdigit() and args[2][:1] == "'" and args[2] != "''":
            return call
        return f"CASE WHEN {args[1]} >= 0 AND {args[2]} <> '' THEN {call} END"

    return sql


def _constant(sql: str) -> str | None:
    """The text of a string literal."""
    if re.fullmatch(r"'(?:[^']|'')*'", sql) is None:
        return None
    return sql[1:-1].replace("''", "'")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _regexp_replace(args: list[str], types: list[Type], result: Type) -> str:
    """A constant replacement as RE2 has it: Java's $1 is \\1, and a backslash takes the next character as it is."""
    text = _constant(args[2])
    if text is not None:

        def one(m: re.Match[str]) -> str:
            plain = m[0][1:] if m[0][0] == "\\" else None
            return "\\" + m[0][1:] if plain is None else "\\\\" if plain == "\\" else plain

        args = [*args[:2], _quoted(re.sub(r"\\.|\$\d", one, text))]
    return f"regexp_replace({', '.join(args)}, 'g')"


def _regexp_extract(args: list[str], types: list[Type], result: Type) -> str:
    """A group that the pattern does not have is NULL."""
    pattern, group = _constant(args[1]), args[2] if len(args) > 2 else "0"
    if pattern is not None and group.isdigit() and int(group) > 0:
        try:
            if int(group) > re.compile(pattern).groups:
                return f"CASE WHEN FALSE THEN {args[0]} END"
        except re.error:
            pass  # RE2 says what is wrong with it
    return f"flink_regexp_extract({args[0]}, {args[1]}, {group})"


def _json(macro: str) -> Template:
    """JSON functions; the path in DuckDB's form: no mode before it, fields in brackets after a point."""

    def sql(args: list[str], types: list[Type], result: Type) -> str:
        path = _constant(args[1])
        if path is not None:
            path = re.sub(r"^\s*(?:lax|strict)\s+", "", path)
            args = [args[0], _quoted(re.sub(r"\['([^']*)'\]", r'."\1"', path))]
        return f"{macro}({', '.join(args)})"

    return sql


# Words are runs of ASCII letters and digits.
_INITCAP = (
    "CASE WHEN {0} = '' THEN '' ELSE list_aggregate(list_transform(regexp_extract_all({0}, '[A-Za-z0-9]+|[^A-Za-z0-9]+'), "
    "lambda x: upper(left(x, 1)) || lower(x[2:])), 'string_agg', '') END"
)


def _split_index(args: list[str], types: list[Type], result: Type) -> str:
    """With a constant index the split is a common subexpression of all calls over one string.

    An empty text has no parts. An empty separator means white space.
    """
    separator = _constant(args[1])
    if separator == "":
        return f"regexp_split_to_array(nullif({args[0]}, ''), '\\s')[CASE WHEN {args[2]} >= 0 THEN {args[2]} + 1 END]"
    if args[2].isdigit() and separator is not None:
        text = f"nullif({args[0]}, '')" if args[2] == "0" else args[0]
        return f"str_split({text}, {args[1]})[{int(args[2]) + 1}]"
    return f"flink_split_index({', '.join(args)})"


def _mod(types: list[Type]) -> Type:
    return arithmetic("%", types[0], types[1])


def _mod_sql(args: list[str], types: list[Type], result: Type) -> str:
    return f"flink_mod({args[0]}, {args[1]})"


def _element(types: list[Type]) -> Type:
    return types[0].element.null()


_S, _I, _D, _B = STRING, INT, DOUBLE, BIGINT


def _f(name: str, takes: tuple[Type | None, ...], gives: Result, sql: Template, **kw: object) -> ScalarFunction:
    return ScalarFunction(name, takes, gives, sql, **kw)  # type: ignore[arg-type]


_ALL: tuple[ScalarFunction, ...] = (
    # strings
    _f("LOWER", (_S,), _S, "lower({0})", example="LOWER('AbC')"),
    _f("UPPER", (_S,), _S, "upper({0})", example="UPPER('AbC')"),
    _f("LCASE", (_S,), _S, "lower({0})", example="LCASE('AbC')"),
    _f("UCASE", (_S,), _S, "upper({0})", example="UCASE('AbC')"),
    _f("CHAR_LENGTH", (_S,), INT, "CAST(length({0}) AS INTEGER)", example="CHAR_LENGTH('añb')"),
    _f("CHARACTER_LENGTH", (_S,), INT, "CAST(length({0}) AS INTEGER)", example="CHARACTER_LENGTH('abc')"),
    _f("OCTET_LENGTH", (_S,), INT, "CAST(strlen({0}) AS INTEGER)", example="OCTET_LENGTH('añb')"),
    _f("REPLACE", (_S, _S, _S), _S, "replace({0}, {1}, {2})", example="REPLACE('hello', 'l', 'L')"),
    _f("SUBSTRING", (_S, _I, _I), _S, _substring, least=2, example="SUBSTRING('hello', 2, 3)"),
    _f("SUBSTR", (_S, _I, _I), _S, _substring, least=2, example="SUBSTR('hello', 2, 3)"),
    _f("CONCAT", (_S,), _S, lambda a, t, r: "(" + " || ".join(a) + ")", least=1, most=None, example="CONCAT('a', 'b')"),
    _f("||", (_S, _S), _S, "({0} || {1})", example="'a' || 'b'"),
    _f("CONCAT_WS", (_S,), _S, _concat_ws, least=2, most=None, example="CONCAT_WS('-', 'a', 'b')"),
    _f("SPLIT_INDEX", (_S, _S, _I), _S, _split_index, nullable=True,
       example="SPLIT_INDEX('a/b/c', '/', 1)"),
    _f("REGEXP_EXTRACT", (_S, _S, _I), _S,
       _regexp_extract, least=2, nullable=True,
       example="REGEXP_EXTRACT('foothebar', 'foo(.*?)(bar)', 2)"),
    _f("REGEXP_REPLACE", (_S, _S, _S), _S, _regexp_replace, example="REGEXP_REPLACE('foobar', 'oo|ar', '')"),
    _f("REGEXP", (_S, _S), BOOLEAN, "regexp_matches({0}, {1})", example="REGEXP('foobar', 'o+b')"),
    _f("LEFT", (_S, _I), _S, "left({0}, greatest({1}, 0))", example="LEFT('hello', 2)"),
    _f("RIGHT", (_S, _I), _S, "right({0}, greatest({1}, 0))", example="RIGHT('hello', 2)"),
    _f("LPAD", (_S, _I, _S), _S, _padded("lpad"), nullable=True, example="LPAD('hi', 4, '??')"),
    _f("RPAD", (_S, _I, _S), _S, _padded("rpad"), nullable=True, example="RPAD('hi', 4, '??')"),
    _f("REPEAT", (_S, _I), _S, "repeat({0}, {1})", example="REPEAT('ab', 3)"),
    _f("REVERSE", (_S,), _S, "reverse({0})", example="REVERSE('abc')"),
    _f("TRIM", (_S, _S), _S, lambda a, t, r: f"trim({a[0]}, {a[1] if len(a) > 1 else chr(39) + ' ' + chr(39)})", least=1,
       example="TRIM('  a ')"),
    _f("LTRIM", (_S, _S), _S, lambda a, t, r: f"ltrim({a[0]}, {a[1] if len(a) > 1 else chr(39) + ' ' + chr(39)})", least=1,
       example="LTRIM('  a ')"),
    _f("RTRIM", (_S, _S), _S, lambda a, t, r: f"rtrim({a[0]}, {a[1] if len(a) > 1 else chr(39) + ' ' + chr(39)})", least=1,
       example="RTRIM(' a  ')"),
    _f("POSITION", (_S, _S), INT, "CAST(position({0} IN {1}) AS INTEGER)", example="POSITION('l' IN 'hello')"),
    _f("INSTR", (_S, _S), INT, "CAST(instr({0}, {1}) AS INTEGER)", example="INSTR('hello', 'l')"),
    _f("LOCATE", (_S, _S), INT, "CAST(instr({1}, {0}) AS INTEGER)", example="LOCATE('l', 'hello')"),
    _f("ASCII", (_S,), INT, "ascii({0})", example="ASCII('a')"),
    _f("CHR", (_B,), _S, "CASE WHEN {0} < 0 THEN '' ELSE chr(CAST({0} % 256 AS INTEGER)) END", example="CHR(97)"),
    _f("INITCAP", (_S,), _S, _INITCAP,
       example="INITCAP('hello wORLD')"),
    _f("MD5", (_S,), _S, "md5({0})", example="MD5('abc')"),
    _f("SHA256", (_S,), _S, "sha256({0})", example="SHA256('abc')"),
    _f("TO_BASE64", (_S,), _S, "to_base64(encode({0}))", example="TO_BASE64('hello')"),
    _f("FROM_BASE64", (_S,), _S, "decode(from_base64({0}))", nullable=True, example="FROM_BASE64('aGVsbG8=')"),
    _f("STARTSWITH", (_S, _S), BOOLEAN, "starts_with({0}, {1})", example="STARTSWITH('hello', 'he')"),
    _f("ENDSWITH", (_S, _S), BOOLEAN, "ends_with({0}, {1})", example="ENDSWITH('hello', 'lo')"),
    _f("LIKE", (_S, _S), BOOLEAN, "({0} LIKE {1})", example="'hello' LIKE 'h%'"),
    _f("LIKE_ESCAPE", (_S, _S, _S), BOOLEAN, "({0} LIKE {1} ESCAPE {2})"),
    _f("SIMILAR TO", (_S, _S), BOOLEAN, "({0} SIMILAR TO {1})"),
    _f("JSON_VALUE", (_S, _S), _S, _json("flink_json_value"), nullable=True, example="JSON_VALUE('{\"a\": 1}', '$.a')"),
    _f("JSON_EXISTS", (_S, _S), BOOLEAN, _json("flink_json_exists"), example="JSON_EXISTS('{\"a\": 1}', '$.a')"),
    # numbers
    _f("ABS", (None,), _number, "abs({0})", example="ABS(-3)"),
    _f("MOD", (None, None), _mod, _mod_sql, example="MOD(-7, 3)"),
    _f("CEIL", (None,), _whole, lambda a, t, r: a[0] if t[0].is_integer else f"ceil({a[0]})", example="CEIL(1.2)"),
    _f("CEILING", (None,), _whole, lambda a, t, r: a[0] if t[0].is_integer else f"ceil({a[0]})", example="CEILING(1.2)"),
    _f("FLOOR", (None,), _whole, lambda a, t, r: a[0] if t[0].is_integer else f"floor({a[0]})", example="FLOOR(1.8)"),
    _f("ROUND", (None, _I), _number, _rounded, least=1, example="ROUND(2.345, 2)"),
    _f("SIGN", (None,), _number, lambda a, t, r: f"CAST(sign({a[0]}) AS {r.duckdb()})", example="SIGN(-3)"),
    _f("POWER", (_D, _D), _D, "pow({0}, {1})", example="POWER(2, 10)"),
    _f("SQRT", (_D,), _D, "sqrt({0})", example="SQRT(16)"),
    _f("LN", (_D,), _D, "ln({0})", example="LN(1)"),
    _f("LOG10", (_D,), _D, "log10({0})", example="LOG10(100)"),
    _f("LOG2", (_D,), _D, "log2({0})", example="LOG2(8)"),
    _f("EXP", (_D,), _D, "exp({0})", example="EXP(0)"),
    _f("SIN", (_D,), _D, "sin({0})", example="SIN(0)"),
    _f("COS", (_D,), _D, "cos({0})", example="COS(0)"),
    _f("TAN", (_D,), _D, "tan({0})", example="TAN(0)"),
    _f("PI", (), _D, "pi()", nullable=False, example="PI()"),
    _f("RAND", (), _D, "random()", nullable=False, volatile=True),
    _f("UUID", (), _S, "CAST(uuid() AS VARCHAR)", nullable=False, volatile=True),
    _f("GREATEST", (None,), _merged, _strict_extreme("greatest"), least=1, most=None, example="GREATEST(1, 3, 2)"),
    _f("LEAST", (None,), _merged, _strict_extreme("least"), least=1, most=None, example="LEAST(1, 3, 2)"),
    _f("NEGATE", (None,), _number, "(-{0})", example="-(3)"),
    # conditions
    _f("COALESCE", (None,), _coalesced, "coalesce({all})", least=1, most=None, example="COALESCE(NULL, 5)"),
    _f("IFNULL", (None, None), _coalesced, "coalesce({all})", example="IFNULL(NULL, 5)"),
    _f("NULLIF", (None, None), _same, "nullif({0}, {1})", nullable=True, example="NULLIF(5, 5)"),
    _f("NOT", (BOOLEAN,), BOOLEAN, "(NOT {0})"),
    _f("AND", (BOOLEAN, BOOLEAN), BOOLEAN, "({0} AND {1})"),
    _f("OR", (BOOLEAN, BOOLEAN), BOOLEAN, "({0} OR {1})"),
    _f("IS NULL", (None,), BOOLEAN, "({0} IS NULL)", nullable=False),
    _f("IS NOT NULL", (None,), BOOLEAN, "({0} IS NOT NULL)", nullable=False),
    _f("IS TRUE", (BOOLEAN,), BOOLEAN, "({0} IS TRUE)", nullable=False),
    _f("IS FALSE", (BOOLEAN,), BOOLEAN, "({0} IS FALSE)", nullable=False),
    _f("IS NOT TRUE", (BOOLEAN,), BOOLEAN, "({0} IS NOT TRUE)", nullable=False),
    _f("IS NOT FALSE", (BOOLEAN,), BOOLEAN, "({0} IS NOT FALSE)", nullable=False),
    # times
    _f("DATE_FORMAT", (None, None), _S, dates.date_format, nullable=True, example="DATE_FORMAT(TIMESTAMP '2024-05-06 07:08:09', 'yyyy-MM-dd HH:mm')"),
    _f("TO_TIMESTAMP", (_S, None), timestamp(3), dates.to_timestamp, least=1, nullable=True, example="TO_TIMESTAMP('2024-05-06 07:08:09')"),
    _f("TO_TIMESTAMP_LTZ", (_B, _I), timestamp_ltz(3), dates.to_timestamp_ltz, least=1, nullable=True, example="TO_TIMESTAMP_LTZ(1700000000000, 3)"),
    _f("TO_DATE", (_S,), DATE, "TRY_CAST({0} AS DATE)", nullable=True, example="TO_DATE('2024-05-06')"),
    _f("UNIX_TIMESTAMP", (_S, None), BIGINT, dates.unix_timestamp, least=1, example="UNIX_TIMESTAMP('2024-05-06 07:08:09')"),
    _f("FROM_UNIXTIME", (_B, None), _S, dates.from_unixtime, least=1, example="FROM_UNIXTIME(1700000000)"),
    _f("QUARTER", (None,), BIGINT, "quarter({0})", example="QUARTER(DATE '2024-05-06')"),
    _f("CURRENT_TIMESTAMP", (), timestamp_ltz(3), "date_trunc('milliseconds', now())", nullable=False, volatile=True),
    _f("NOW", (), timestamp_ltz(3), "date_trunc('milliseconds', now())", nullable=False, volatile=True),
    _f("LOCALTIMESTAMP", (), timestamp(3), "date_trunc('milliseconds', CAST(now() AS TIMESTAMP))", nullable=False, volatile=True),
    _f("CURRENT_DATE", (), DATE, "CAST(now() AS DATE)", nullable=False, volatile=True),
    _f("PROCTIME", (), timestamp_ltz(3), "date_trunc('milliseconds', now())", nullable=False, volatile=True),
    # collections
    _f("CARDINALITY", (None,), INT, lambda a, t, r: f"CAST({'cardinality' if t[0].kind == 'MAP' else 'len'}({a[0]}) AS INTEGER)",
       example="CARDINALITY(ARRAY[1, 2])"),
    _f("ARRAY_CONTAINS", (None, None), BOOLEAN, "list_contains({0}, {1})", example="ARRAY_CONTAINS(ARRAY[1, 2], 2)"),
    _f("ARRAY", (None,), lambda t: array(common(t, "ARRAY")), lambda a, t, r: "[" + ", ".join(a) + "]", least=0, most=None,
       nullable=False, example="ARRAY[1, 2]"),
    _f("ELEMENT", (None, None), _element, lambda a, t, r: f"{a[0]}[{a[1]}]", nullable=True),
)  # fmt: skip

for _unit in ("YEAR", "MONTH", "WEEK", "DAYOFYEAR", "DAYOFMONTH", "DAYOFWEEK", "HOUR", "MINUTE", "SECOND"):
    _ALL += (_f(_unit, (None,), BIGINT, dates.part(_unit), example=f"{_unit}(TIMESTAMP '2024-05-06 07:08:09')"),)

SCALARS: dict[str, ScalarFunction] = {f.name: f for f in _ALL}

COMPARISONS = ("=", "<>", "<", "<=", ">", ">=", "IS DISTINCT FROM", "IS NOT DISTINCT FROM")
ARITHMETIC = ("+", "-", "*", "/", "%")
# Never folded, pushed into a source or evaluated twice for one row.
VOLATILE = frozenset(f.name for f in _ALL if f.volatile)
