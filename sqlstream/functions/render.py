"""Typed expressions as DuckDB SQL. Explicit casts wherever DuckDB's rules are not Flink's."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal

from sqlstream.errors import InternalError
from sqlstream.expressions import Call, Cast, Column, Expr, FieldOf, Literal, UserCall
from sqlstream.functions import user
from sqlstream.functions.decimals import product, quotient, remainder
from sqlstream.functions.numbers import number_text
from sqlstream.functions.scalar import ARITHMETIC, COMPARISONS, SCALARS
from sqlstream.functions.typing import as_decimal
from sqlstream.types import Type

Columns = Callable[[int], str]


def by_position(index: int) -> str:
    """The engine's name of column `index`."""
    return f"c{index}"


def to_duckdb(e: Expr, columns: Columns = by_position) -> str:
    """SQL text of `e`; `columns` names the input columns."""
    if isinstance(e, Column):
        return columns(e.index)
    if isinstance(e, Literal):
        return literal(e.value, e.type)
    if isinstance(e, Cast):
        return cast(to_duckdb(e.arg, columns), e.arg.type, e.type, e.lenient)
    if isinstance(e, FieldOf):
        return f"struct_extract_at({to_duckdb(e.arg, columns)}, {e.index + 1})"
    if isinstance(e, UserCall):
        f = user.resolve(e.path)
        user.REGISTERED[f.sql_name] = f
        args = ", ".join(
            cast(to_duckdb(a, columns), a.type, t, False) for a, t in zip(e.args, f.arguments, strict=True)
        )
        return f"{f.sql_name}({args})"
    if isinstance(e, Call):
        return _call(e, columns)
    raise InternalError(f"no DuckDB form of {type(e).__name__}")


def predicate(e: Expr, columns: Columns = by_position) -> str:
    """SQL text of a condition as a column, true where a WHERE would keep the row (else false or NULL).

    Like a WHERE it looks at a part of an AND or OR only where the parts before do not decide: a part may raise elsewhere.
    """
    if isinstance(e, Call) and e.function in ("AND", "OR"):
        *before, out = (predicate(a, columns) for a in e.args)
        for part in reversed(before):
            yes, no = (out, "FALSE") if e.function == "AND" else ("TRUE", out)
            out = f"CASE WHEN {part} THEN {yes} ELSE {no} END"
        return out
    if isinstance(e, Literal) and e.value is None:
        return "FALSE"
    return to_duckdb(e, columns)


def _call_args(e: Call, columns: Columns) -> list[str]:
    return [to_duckdb(a, columns) for a in e.args]


def _call(e: Call, columns: Columns) -> str:
    args = _call_args(e, columns)
    types = [a.type for a in e.args]
    name = e.function
    if name == "CASE":
        parts = [f"WHEN {args[i]} THEN {args[i + 1]}" for i in range(0, len(args) - 1, 2)]
        return f"CASE {' '.join(parts)} ELSE {args[-1]} END"
    asked = e.args[0] if name in ("IS NULL", "IS NOT NULL") else None
    if isinstance(asked, Call) and asked.function == "REGEXP_EXTRACT":
        # whether it matches is all that is asked
        matches = f"coalesce(regexp_matches({', '.join(_call_args(asked, columns)[:2])}), FALSE)"
        return matches if name == "IS NOT NULL" else f"(NOT {matches})"
    if name in COMPARISONS:
        return f"({args[0]} {name} {args[1]})"
    if name in ARITHMETIC:
        return _arithmetic(name, args, types, e.type)
    if name == "IN":
        return f"({args[0]} IN ({', '.join(args[1:])}))"
    if name == "ROW":
        return "{" + ", ".join(f"'f{i}': {a}" for i, a in enumerate(args)) + "}"
    if name == "MAP":
        return f"MAP {{{', '.join(f'{k}: {v}' for k, v in zip(args[::2], args[1::2], strict=True))}}}"
    if name.startswith("EXTRACT "):
        from sqlstream.functions.dates import part

        return part(name[8:])(args, types, e.type)
    if name.startswith(("CEIL TO ", "FLOOR TO ")):
        return _truncated(name, args[0], types[0])
    if name == "TIME + DAY":
        return f"({args[0]} + to_microseconds({args[1]}))"
    if name == "TIME - DAY":
        return f"({args[0]} - to_microseconds({args[1]}))"
    if name == "TIME + MONTH":
        return f"({args[0]} + to_months({args[1]}))"
    if name == "TIME - MONTH":
        return f"({args[0]} - to_months({args[1]}))"
    if name.startswith("TIMESTAMPDIFF "):
        return _difference(name[14:], args)
    f = SCALARS[name]
    if callable(f.sql):
        return f.sql(args, types, e.type)
    return f.sql.replace("{all}", ", ".join(args)) if "{all}" in f.sql else f.sql.format(*args)


def _arithmetic(op: str, args: list[str], types: list[Type], result: Type) -> str:
    if result.kind == "DECIMAL":
        wide = (as_decimal(types[0]), as_decimal(types[1]))
        a, b = (cast(x, t, w, False) for x, t, w in zip(args, types, wide, strict=True))
        if op == "/":
            return quotient(a, b, wide, result)
        if op == "*":
            return product(a, b, wide, result)
        if op == "%":
            return remainder(a, b, wide, result) or f"CAST(flink_mod({a}, {b}) AS {result.duckdb()})"
        return f"CAST(({a} {op} {b}) AS {result.duckdb()})"
    a, b = args
    if result.is_integer:
        # Integers stay integers; each operand in the result's width, so that overflow is found there.
        if op != "%":
            a, b = (
                x if t.null() == result.null() else f"CAST({x} AS {result.duckdb()})"
                for x, t in zip(args, types, strict=True)
            )
        if op == "/":
            return f"flink_div({a}, {b})"
        if op == "%":
            return f"CAST(flink_mod({a}, {b}) AS {result.duckdb()})"
        return f"({a} {op} {b})"
    return f"(CAST({a} AS {result.duckdb()}) {op} CAST({b} AS {result.duckdb()}))"


_TRUNC = {
    "MILLENNIUM",
    "CENTURY",
    "DECADE",
    "YEAR",
    "QUARTER",
    "MONTH",
    "WEEK",
    "DAY",
    "HOUR",
    "MINUTE",
    "SECOND",
    "MILLISECOND",
}


def _truncated(name: str, arg: str, t: Type) -> str:
    unit = name.split(" TO ")[1]
    if unit not in _TRUNC:
        raise InternalError(f"{name}: unknown unit")
    floor = f"CAST(date_trunc('{unit.lower()}', {arg}) AS {t.duckdb()})"
    if name.startswith("FLOOR"):
        return floor
    step = {"QUARTER": "INTERVAL 3 MONTH"}.get(unit, f"INTERVAL 1 {unit}")
    return f"CASE WHEN {floor} = {arg} THEN {arg} ELSE CAST({floor} + {step} AS {t.duckdb()}) END"


def _difference(unit: str, args: list[str]) -> str:
    """TIMESTAMPDIFF counts whole units from the first to the second argument."""
    return f"CAST(date_sub('{unit.lower()}', CAST({args[0]} AS TIMESTAMP), CAST({args[1]} AS TIMESTAMP)) AS INTEGER)"


def cast(sql: str, source: Type, target: Type, lenient: bool) -> str:
    """CAST of `sql` from `source` to `target` as Flink does it."""
    if source.null() == target.null():
        return sql
    fn = "TRY_CAST" if lenient else "CAST"
    to = target.duckdb()
    if source.kind == "NULL":
        return f"CAST({sql} AS {to})"
    if target.is_integer and source.kind in ("FLOAT", "DOUBLE", "DECIMAL"):
        return f"{fn}(trunc({sql}) AS {to})"  # DuckDB would round
    if target.is_integer and source.is_timestamp:
        return f"{fn}(epoch({sql}) AS {to})"
    if target.is_string:
        text = _text(sql, source)
        if target.precision and target.precision < 2147483647:
            text = f"left({text}, {target.precision})"
            if target.kind == "CHAR":
                text = f"rpad({text}, {target.precision}, ' ')"
        return text
    if target.kind == "TIMESTAMP_LTZ" and source.is_numeric:
        return f"make_timestamptz(CAST({sql} AS BIGINT) * 1000000)"
    if target.is_timestamp:
        inner = f"{fn}({sql} AS {to})" if source.kind != target.kind else sql
        p = 6 if target.precision is None else target.precision
        finer = source.is_string or (source.precision if source.precision is not None else 6) > p
        if not finer or p >= 6:
            return inner
        step = 10 ** (6 - p)
        make = "make_timestamptz" if target.kind == "TIMESTAMP_LTZ" else "make_timestamp"
        if p == 3:
            return f"date_trunc('milliseconds', {inner})"
        if p == 0:
            return f"date_trunc('seconds', {inner})"
        return f"{make}(epoch_us({inner}) - epoch_us({inner}) % {step})"
    if source.is_string and target.is_numeric:
        if target.is_integer:
            # ' 12 ' and '12.7' are 12 in Flink; DuckDB would round 12.7
            return f"{fn}(trunc({fn}(trim({sql}) AS DECIMAL(38,10))) AS {to})"
        return f"{fn}(trim({sql}) AS {to})"
    if target.kind == "BOOLEAN" and source.is_numeric:
        return f"({sql} <> 0)"
    return f"{fn}({sql} AS {to})"


def _text(sql: str, source: Type, depth: int = 0) -> str:
    """CAST(… AS STRING); `depth` tells the variables of nested lambdas apart."""
    if source.is_string:
        return sql
    if source.is_timestamp:
        p = 6 if source.precision is None else source.precision
        value = f"CAST({sql} AS TIMESTAMP)" if source.kind == "TIMESTAMP_LTZ" else sql
        if p == 0:
            return f"strftime({value}, '%Y-%m-%d %H:%M:%S')"
        if p == 3:
            return f"strftime({value}, '%Y-%m-%d %H:%M:%S.%g')"
        return f"left(strftime({value}, '%Y-%m-%d %H:%M:%S.%f'), {20 + p})"
    if source.kind in ("FLOAT", "DOUBLE"):
        return number_text(sql, source)
    if source.kind == "BOOLEAN":
        return f"upper(CAST({sql} AS VARCHAR))"
    if source.kind == "VARBINARY" or source.kind == "BINARY":
        return f"decode({sql})"
    if source.kind == "ROW":
        fields = [f"struct_extract_at({sql}, {i + 1})" for i in range(len(source.fields))]
        parts = [_part(x, f.type, depth) for x, f in zip(fields, source.fields, strict=True)]
        inside = " || ', ' || ".join(parts)
        return f"CASE WHEN {sql} IS NOT NULL THEN '(' || {inside} || ')' END"
    if source.kind == "ARRAY":
        x = f"x{depth}"
        parts_of = f"list_transform({sql}, lambda {x}: {_part(x, source.element, depth + 1)})"
        return f"('[' || array_to_string({parts_of}, ', ') || ']')"
    if source.kind == "MAP":
        x = f"x{depth}"
        key, item = (_part(f"{x}.{f.name}", f.type, depth + 1) for f in source.fields)
        entry = f"concat({key}, '=', {item})"
        return f"('{{' || array_to_string(list_transform(map_entries({sql}), lambda {x}: {entry}), ', ') || '}}')"
    return f"CAST({sql} AS VARCHAR)"


def _part(sql: str, t: Type, depth: int) -> str:
    """Text of what stands in a ROW, ARRAY or MAP."""
    return f"coalesce({_text(sql, t, depth)}, 'NULL')"


def literal(value: object, t: Type) -> str:
    """A constant of type `t`; Python value as in `Literal`."""
    if value is None:
        return f"CAST(NULL AS {t.duckdb()})" if t.kind != "NULL" else "NULL"
    if t.kind == "BOOLEAN":
        return "TRUE" if value else "FALSE"
    if t.is_string:
        text = str(value)
        if "\0" in text:
            return "(" + " || chr(0) || ".join(_quote(p) for p in text.split("\0")) + ")"
        return _quote(text)
    if t.kind in ("BINARY", "VARBINARY"):
        assert isinstance(value, bytes)
        return f"unhex('{value.hex()}')"
    if t.kind == "INT":
        return str(value) if int(value) >= 0 else f"({value})"  # type: ignore[call-overload]
    if t.is_integer or t.is_interval:
        return f"CAST({value} AS {t.duckdb()})"
    if t.kind == "DECIMAL":
        assert isinstance(value, Decimal | int)
        return f"CAST({format(value, 'f')} AS {t.duckdb()})"
    if t.kind in ("FLOAT", "DOUBLE"):
        number = float(value)  # type: ignore[arg-type]
        if math.isinf(number) or math.isnan(number):
            return f"CAST('{number}' AS {t.duckdb()})"
        return f"CAST({number!r} AS {t.duckdb()})"
    if t.kind == "TIMESTAMP":
        return f"make_timestamp(CAST({value} AS BIGINT))"
    if t.kind == "TIMESTAMP_LTZ":
        return f"make_timestamptz(CAST({value} AS BIGINT))"
    if t.kind == "DATE":
        return f"(DATE '1970-01-01' + {value})"
    if t.kind == "TIME":
        return f"CAST(make_timestamp(CAST({value} AS BIGINT)) AS TIME)"
    raise InternalError(f"no literal of type {t}")


def _quote(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


__all__ = ["by_position", "cast", "literal", "to_duckdb"]
