"""Typed expressions as DuckDB SQL. Explicit casts wherever DuckDB's rules are not Flink's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import groupby

from sqlstream.errors import InternalError
from sqlstream.expressions import Call, Cast, Column, Expr, FieldOf, Literal, Symbol, UserCall
from sqlstream.functions import casts, unicode, user
from sqlstream.functions.constants import literal
from sqlstream.functions.numbers import number_text, once
from sqlstream.functions.operators import IS_NOT_NULL, IS_NULL
from sqlstream.functions.scalar import scalar, volatile
from sqlstream.functions.scalar_function import render
from sqlstream.functions.times import interval_text
from sqlstream.types import MAX_LENGTH, STRINGS, Type

Columns = Callable[[int], str]
# The Python functions that rendered texts call: rendering adds them, and who runs a text prepares its connection with
# them (`duck.prepare_functions`).
Used = set[user.UserFunction]

_ABOVE_FLOAT = "CAST(3.4028235677973366e38 AS DOUBLE)"  # the greatest FLOAT and half a unit more


def by_position(index: int) -> str:
    """The engine's name of column `index`."""
    return f"c{index}"


def to_duckdb(e: Expr, used: Used, columns: Columns = by_position) -> str:
    """SQL text of `e`; `columns` names the input columns. Adds the Python functions that it calls to `used`."""
    if isinstance(e, Column):
        return columns(e.index)
    if isinstance(e, Literal):
        return literal(e.value, e.type)
    if isinstance(e, Symbol):
        return e.word
    if isinstance(e, Cast):
        return _cast(to_duckdb(e.arg, used, columns), e.arg.type, e.type, e.lenient, used)
    if isinstance(e, FieldOf):
        return f"struct_extract_at({to_duckdb(e.arg, used, columns)}, {e.index + 1})"
    if isinstance(e, UserCall):
        f = user.resolve(e.path)
        args = [
            _cast(to_duckdb(a, used, columns), a.type, t, False, used) for a, t in zip(e.args, f.arguments, strict=True)
        ]
        used.add(f)
        return f.called(args)
    if isinstance(e, Call):
        return _call(e, used, columns)
    raise InternalError(f"no DuckDB form of {type(e).__name__}")


def predicate(e: Expr, used: Used, columns: Columns = by_position) -> str:
    """SQL text of a condition as a column, true where a WHERE would keep the row (else false or NULL).

    Like a WHERE it looks at a part of an AND or OR only where the parts before do not decide: a part may raise
    elsewhere. Among parts side by side that cannot, those that take little time come first.
    """
    if isinstance(e, Call) and e.function in ("AND", "OR"):
        parts: list[Expr] = []
        for total, run in groupby(_parts(e, e.function), _is_total):
            some = list(run)
            parts += sorted(some, key=_is_light, reverse=True) if total else some
        return _decided([predicate(a, used, columns) for a in parts], e.function == "AND")
    if isinstance(e, Literal) and e.value is None:
        return "FALSE"
    return to_duckdb(e, used, columns)


def _parts(e: Expr, of: str) -> Iterator[Expr]:
    """What the condition says together by AND or OR (`of`), in order."""
    if isinstance(e, Call) and e.function == of:
        for a in e.args:
            yield from _parts(a, of)
    else:
        yield e


def _is_light(e: Expr) -> bool:
    """Whether it takes little time, and fails for no value."""
    return _is_plain(e) or isinstance(e, Call) and scalar(e.function).light and all(map(_is_light, e.args))


def _is_total(e: Expr) -> bool:
    """Whether it fails for no value."""
    if _is_plain(e):
        return True
    if not isinstance(e, Call):
        return False
    f, constants = scalar(e.function), all(isinstance(a, Literal) for a in e.args[1:])
    return (f.light or f.total and constants) and all(map(_is_total, e.args))


def _is_plain(e: Expr) -> bool:
    return isinstance(e, Column | Literal) or isinstance(e, FieldOf) and _is_plain(e.arg)


def _decided(parts: list[str], every: bool) -> str:
    """AND (`every`) or OR of conditions, looked at in order; in halves, as DuckDB bounds how deep a text may be."""
    if len(parts) == 1:
        return parts[0]
    half = len(parts) // 2
    first, second = _decided(parts[:half], every), _decided(parts[half:], every)
    yes, no = (second, "FALSE") if every else ("TRUE", second)
    return f"CASE WHEN {first} THEN {yes} ELSE {no} END"


def _call(e: Call, used: Used, columns: Columns) -> str:
    f = scalar(e.function)
    if f in (IS_NULL, IS_NOT_NULL) and isinstance(e.args[0], Call):
        asked, test = e.args[0], scalar(e.args[0].function).is_null
        if test is not None:
            text = render(test, *_arguments(asked, used, columns), e.type)
            used.update(scalar(asked.function).called_in(text))
            return text if f is IS_NULL else f"(NOT {text})"
    args, types = _arguments(e, used, columns)
    text = f.text(args, types, e.type)
    used.update(f.called_in(text))
    # what the text needs several times is evaluated once where two evaluations may differ
    shared = [i for i, a in enumerate(e.args) if text.count(args[i]) > 1 and volatile(a)]
    if not shared:
        return text
    names = [f"once{i}" if i in shared else a for i, a in enumerate(args)]
    text = f.text(names, types, e.type)
    for i in shared:
        text = f"list_transform([{args[i]}], lambda {names[i]}: {text})[1]"
    return text


def _arguments(e: Call, used: Used, columns: Columns) -> tuple[list[str], list[Type]]:
    return [to_duckdb(a, used, columns) for a in e.args], [a.type for a in e.args]


def _cast(sql: str, source: Type, target: Type, lenient: bool, used: Used) -> str:
    text = cast(sql, source, target, lenient)
    if unicode.DECODED_TEXTS.sql_name in text:  # of bytes, or of what has them inside
        used.add(unicode.DECODED_TEXTS)
    return text


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
    if target.kind == "FLOAT" and source.kind == "DOUBLE":
        return once(sql, _narrowed)
    if target.is_string:
        text = _text(sql, source)
        if target.precision not in (None, MAX_LENGTH):
            text = f"left({text}, {target.precision})"
            if target.kind == "CHAR":
                text = f"rpad({text}, {target.precision}, ' ')"
        return text
    if target.kind == "TIMESTAMP_LTZ" and source.is_numeric:
        return f"make_timestamptz(CAST({sql} AS BIGINT) * 1000000)"
    if target.kind in ("BINARY", "VARBINARY") and source.kind in ("BINARY", "VARBINARY", *STRINGS):
        return _bytes(f"encode({sql})" if source.is_string else sql, target)
    if target.is_timestamp:
        inner = sql
        if source.is_string:
            inner = casts.from_text(sql, target, lenient) or sql
        elif source.kind != target.kind:
            inner = f"{fn}({sql} AS {to})"
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
    if target.kind == "TIME" and source.kind in ("TIME", "TIMESTAMP", "TIMESTAMP_LTZ"):
        return _time_of_day(sql, source, target)
    if source.is_string:
        read = casts.from_text(sql, target, lenient)
        if read is not None:
            return read
    if target.kind == "BOOLEAN" and source.is_numeric:
        return f"({sql} <> 0)"
    return f"{fn}({sql} AS {to})"


def _time_of_day(sql: str, source: Type, target: Type) -> str:
    """TIME of a time, its fraction cut to the precision."""
    digits = target.precision or 0
    if (6 if source.precision is None else source.precision) <= digits:
        return f"CAST({sql} AS TIME)"
    if source.kind == "TIME":
        return f"CAST(left(CAST({sql} AS VARCHAR), {9 + digits if digits else 8}) AS TIME)"
    return f"CAST({cast(sql, source, Type(source.kind, digits), False)} AS TIME)"


def _narrowed(x: str) -> str:
    """A DOUBLE as FLOAT: what is too large for it is infinite, as in Java."""
    infinite = f"CAST(CASE WHEN {x} > 0 THEN 'Infinity' ELSE '-Infinity' END AS FLOAT)"
    return f"CASE WHEN abs({x}) >= {_ABOVE_FLOAT} AND isfinite({x}) THEN {infinite} ELSE CAST({x} AS FLOAT) END"


def _bytes(sql: str, target: Type) -> str:
    """No more bytes than the type has; BINARY is filled up with zeros."""
    if target.precision in (None, MAX_LENGTH):
        return sql
    if target.kind == "BINARY":
        sql = f"{sql} || repeat('\\x00'::BLOB, {target.precision})"
    return f"array_slice({sql}, 1, {target.precision})"


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
    if source.kind == "TIME" and source.precision:  # with a fraction, of one digit at least
        return once(f"CAST({sql} AS VARCHAR)", lambda x: f"CASE WHEN contains({x}, '.') THEN {x} ELSE {x} || '.0' END")
    if source.kind in ("FLOAT", "DOUBLE", "DECIMAL"):
        return number_text(sql, source)
    if source.is_interval:
        return once(sql, lambda x: interval_text(x, source, 3))
    if source.kind == "BOOLEAN":
        return f"upper(CAST({sql} AS VARCHAR))"
    if source.kind == "VARBINARY" or source.kind == "BINARY":
        return once(sql, unicode.decoded)
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
