"""Comparisons as DuckDB SQL. Of FLOAT and DOUBLE they are Java's: NaN is neither equal to itself nor above or below.

DuckDB orders NaN above all and equal to itself, which is right for keys, groups and ORDER BY, and wrong for an
operator. `a > b` differs only where a is NaN, `a < b` where b is, `a = b` and `a <> b` where both are: one test is
enough, and none beside a constant of the right side. Measured on 10 M rows of DOUBLE, one thread: `a > 500` 2.9 ns a
row, with the test 3.0; `a > b` 4.0 and 4.5.
"""

from __future__ import annotations

import re

from sqlstream.functions.numbers import once
from sqlstream.types import Type

_CONSTANT = re.compile(r"CAST\(-?\d[\d.e+-]* AS (?:DOUBLE|FLOAT)\)")
_REPEATED = 300  # characters of SQL that may stand there twice; DuckDB evaluates them once


def compared(op: str, a: str, b: str, types: list[Type]) -> str:
    """`a op b`, both of one type; `types` tell whether they may be NULL."""
    if types[0].kind == "ROW" and op in ("=", "<>"):
        equal = equal_rows(a, b, types[0])
        return equal if op == "=" else f"(NOT {equal})"
    if types[0].kind not in ("FLOAT", "DOUBLE"):
        return f"({a} {op} {b})"
    if op in ("<", "<="):
        tested, other, type_of_other = b, a, types[0]
    else:
        tested, other, type_of_other = a, b, types[1]
    both = op not in ("<", "<=", ">", ">=")  # only two NaN differ
    if _CONSTANT.fullmatch(tested) or both and _CONSTANT.fullmatch(other):
        return f"({a} {op} {b})"
    if len(tested) > _REPEATED or "py_udf_" in tested:
        swapped = tested is b
        return once(tested, lambda x: compared(op, *((a, x) if swapped else (x, b)), types))
    nan = f"isnan({tested})"
    if op.startswith("IS"):
        nan = f"coalesce({nan}, FALSE)"
    elif type_of_other.nullable:
        nan = f"({nan} AND {other} IS NOT NULL)"  # beside NULL it is not known
    return f"({a} {op} {b} OR {nan})" if op in ("<>", "IS DISTINCT FROM") else f"({a} {op} {b} AND NOT {nan})"


def equal_rows(a: str, b: str, t: Type) -> str:
    """`a = b` of one type. Of rows, field by field: whether (1, NULL) = (1, 2) is not known."""
    if t.kind != "ROW":
        return compared("=", a, b, [t, t])
    fields = [(f"struct_extract_at({a}, {i})", f"struct_extract_at({b}, {i})") for i in range(1, len(t.fields) + 1)]
    return f"({' AND '.join(equal_rows(x, y, f.type) for (x, y), f in zip(fields, t.fields, strict=True))})"


def among(a: str, items: list[str], types: list[Type]) -> str:
    """`a IN (items)`, all of one type."""
    floating = types[0].kind in ("FLOAT", "DOUBLE") and not all(_CONSTANT.fullmatch(x) for x in items)
    if types[0].kind != "ROW" and not floating:
        return f"({a} IN ({', '.join(items)}))"
    return f"({' OR '.join(compared('=', a, x, [types[0], t]) for x, t in zip(items, types[1:], strict=True))})"
