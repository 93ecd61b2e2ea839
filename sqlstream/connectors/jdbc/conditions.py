"""The parts of a filter that PostgreSQL may evaluate: those of which it keeps every row that the filter lets through.

The engine looks at all conditions of a filter again, so what is asked of the database may let more through and must never
let less: its `=` between strings may go by a collation that ignores case, and is asked; `<>` and `<` between strings are not.
Numbers with fractions in binary and NaN are left to the engine.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlstream.connectors.jdbc.postgres import quoted, text
from sqlstream.connectors.jdbc.postgres_table import DbColumn
from sqlstream.expressions import Call, Column, Expr, Literal, conjuncts
from sqlstream.literals import literal_text
from sqlstream.types import Type

_FLIPPED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "=": "=", "<>": "<>"}
_INTEGERS = ("int2", "int4", "int8")
# What a column here must be there, for both to compare alike.
_ALIKE = {
    **dict.fromkeys(("TINYINT", "SMALLINT", "INT", "BIGINT"), _INTEGERS),
    "DECIMAL": ("numeric", *_INTEGERS), "DATE": ("date",), "TIMESTAMP": ("timestamp",), "TIMESTAMP_LTZ": ("timestamptz",),
    "BOOLEAN": ("bool",), "CHAR": ("text", "varchar", "bpchar"), "VARCHAR": ("text", "varchar", "bpchar"),
}  # fmt: skip


def condition(filter_: Expr | None, columns: Mapping[int, DbColumn]) -> str | None:
    """SQL that is true of each row that `filter_` is true of. `columns`: those there by their positions in the filter. None:
    nothing of it can be asked."""
    parts = [sql for e in conjuncts(filter_) if (sql := _asked(e, columns)) is not None]
    return " AND ".join(parts) if parts else None


def _asked(e: Expr, columns: Mapping[int, DbColumn]) -> str | None:
    if isinstance(e, Column):
        return quoted(columns[e.index].name) if _comparable(e, columns) else None
    if not isinstance(e, Call):
        return None
    if e.function in ("AND", "OR"):
        asked = [_asked(a, columns) for a in e.args]
        if e.function == "AND":
            asked = [a for a in asked if a is not None]
        return f"({f' {e.function} '.join(asked)})" if asked and None not in asked else None  # type: ignore[arg-type]
    if e.function == "NOT" and isinstance(e.args[0], Column) and _comparable(e.args[0], columns):
        return f"NOT {quoted(columns[e.args[0].index].name)}"
    if e.function in ("IS NULL", "IS NOT NULL") and isinstance(e.args[0], Column):
        return f"{quoted(columns[e.args[0].index].name)} {e.function}"
    if e.function in _FLIPPED and len(e.args) == 2:
        a, b = e.args
        if isinstance(a, Literal):
            return _compared(_FLIPPED[e.function], b, (a,), columns)
        return _compared(e.function, a, (b,), columns)
    if e.function == "IN":
        return _compared("IN", e.args[0], e.args[1:], columns)
    return None


def _comparable(column: Column, columns: Mapping[int, DbColumn]) -> bool:
    return columns[column.index].base in _ALIKE.get(column.type.kind, ())


def _compared(op: str, column: Expr, values: tuple[Expr, ...], columns: Mapping[int, DbColumn]) -> str | None:
    if not isinstance(column, Column) or not _comparable(column, columns):
        return None
    if column.type.is_string and op not in ("=", "IN"):
        return None
    if column.type.is_timestamp and (column.type.precision or 0) < 6:
        return None  # here its values are cut to the precision
    if column.type.kind == "DECIMAL" and not _exact(columns[column.index], column.type):
        return None  # here they are rounded
    constants = [_constant(v, column.type) for v in values]
    if None in constants:
        return None
    name = quoted(columns[column.index].name)
    listed = ", ".join(c for c in constants if c is not None)
    return f"{name} IN ({listed})" if op == "IN" else f"{name} {op} {listed}"


def _exact(column: DbColumn, t: Type) -> bool:
    return column.base != "numeric" or column.scale is not None and column.scale <= (t.scale or 0)


def _constant(e: Expr, t: Type) -> str | None:
    """A constant as PostgreSQL writes it, of the kind of `t`."""
    if not isinstance(e, Literal) or e.value is None:
        return None
    kind = e.type.kind
    if t.is_string:
        return text(e.value) if e.type.is_string and "\0" not in e.value else None
    if t.is_integer or t.kind == "DECIMAL":
        return str(e.value) if e.type.is_integer or kind == "DECIMAL" else None
    if kind != t.kind:
        return None
    if kind == "BOOLEAN":
        return "TRUE" if e.value else "FALSE"
    said = literal_text(e.value, e.type)  # DATE '…', TIMESTAMP '… …', TIMESTAMP_LTZ '… … UTC'
    word, _, quoted_part = said.partition(" ")
    return (
        f"{'timestamptz' if word == 'TIMESTAMP_LTZ' else word} {quoted_part}" if quoted_part.startswith("'") else None
    )
