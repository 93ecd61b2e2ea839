"""Which columns of PostgreSQL a column of a type may read and write, and what becomes of the values.

Where the types are the same, values are taken as they lie in the wire's binary form. Strings read anything, as PostgreSQL
writes it, and are read by it as anything (uuid, jsonb, inet, an enum). Values that the type here cannot hold are errors, and no
other values: 'infinity', a year outside 1 to 9999, NaN for DECIMAL, a number that is too large.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import pyarrow as pa

from sqlstream.connectors.jdbc.postgres import quoted
from sqlstream.connectors.jdbc.readings import Reading
from sqlstream.connectors.jdbc.tables import DbColumn
from sqlstream.errors import DataError, OptionError
from sqlstream.types import (
    BIGINT,
    BOOLEAN,
    BYTES_TYPE,
    DATE,
    DOUBLE,
    FLOAT,
    INT,
    SMALLINT,
    STRING,
    TIME,
    Type,
    array,
    decimal,
    timestamp,
    timestamp_ltz,
)

_INTEGERS = ("int2", "int4", "int8")
_CHARACTERS = ("text", "varchar", "bpchar", "name")
# By the kind of a type here: columns that are read as they are.
_SAME = {
    "BOOLEAN": ("bool",), "TINYINT": ("int2",), "SMALLINT": ("int2",), "INT": ("int4", "int2"), "BIGINT": _INTEGERS,
    "FLOAT": ("float4",), "DOUBLE": ("float8", "float4"), "CHAR": _CHARACTERS, "VARCHAR": _CHARACTERS,
    "BINARY": ("bytea",), "VARBINARY": ("bytea",), "DATE": ("date",), "TIME": ("time",), "TIMESTAMP": ("timestamp",),
    "TIMESTAMP_LTZ": ("timestamptz",),
}  # fmt: skip
# And those that PostgreSQL makes such of; what does not fit is its error.
_CAST = {
    "SMALLINT": ("int2", ("int4", "int8")), "INT": ("int4", ("int8",)), "TINYINT": ("int2", ("int4", "int8")),
    "DOUBLE": ("float8", ("int2", "int4", "int8", "numeric")), "FLOAT": ("float4", ("float8", "int2", "int4", "numeric")),
}  # fmt: skip
# What rows are written as, by the kind of a type here: a type there with the same binary form, and in Arrow.
_WIRE: dict[str, tuple[str, pa.DataType]] = {
    "BOOLEAN": ("bool", pa.bool_()), "TINYINT": ("int2", pa.int16()), "SMALLINT": ("int2", pa.int16()),
    "INT": ("int4", pa.int32()), "BIGINT": ("int8", pa.int64()), "FLOAT": ("float4", pa.float32()),
    "DOUBLE": ("float8", pa.float64()), "CHAR": ("text", pa.string()), "VARCHAR": ("text", pa.string()),
    "BINARY": ("bytea", pa.binary()), "VARBINARY": ("bytea", pa.binary()), "DATE": ("date", pa.date32()),
    "TIME": ("time", pa.time64("us")), "TIMESTAMP": ("timestamp", pa.timestamp("us")),
    "TIMESTAMP_LTZ": ("timestamptz", pa.timestamp("us", "UTC")),
}  # fmt: skip
_WIDER = {"int2": pa.int16(), "int4": pa.int32(), "int8": pa.int64(), "float8": pa.float64()}
_OF_THERE = {
    "bool": BOOLEAN, "int2": SMALLINT, "int4": INT, "int8": BIGINT, "float4": FLOAT, "float8": DOUBLE, "bytea": BYTES_TYPE,
    "date": DATE, "time": TIME, "timestamp": timestamp(6), "timestamptz": timestamp_ltz(6),
}  # fmt: skip
_TEXTS = ("text", "varchar", "bpchar")
_HINTS = {
    "numeric": "DECIMAL(p, s) or DOUBLE", "timestamptz": "TIMESTAMP_LTZ(6)", "timestamp": "TIMESTAMP(6)", "int8": "BIGINT",
    "int4": "INT", "int2": "SMALLINT", "bool": "BOOLEAN", "float8": "DOUBLE", "float4": "FLOAT", "date": "DATE",
    "time": "TIME", "bytea": "BYTES",
}  # fmt: skip


def type_of(column: DbColumn) -> Type:
    """The type here that holds what a column does: numeric without limits is DECIMAL(38, 18), what is not known a STRING."""
    if column.base.startswith("_"):
        limits = column.base != "_numeric" or column.scale is not None
        return array(type_of(replace(column, base=column.base[1:])) if limits else STRING)
    if column.base == "numeric":
        digits = re.match(r"numeric\((\d+)", column.type)
        fits = digits is not None and int(digits[1]) <= 38 and column.scale is not None and column.scale <= 38
        return decimal(int(digits[1]), column.scale or 0) if digits and fits else decimal(38, 18)
    return _OF_THERE.get(column.base, STRING)


def _fits(column: DbColumn, t: Type) -> bool:
    """Whether numeric has no more digits behind the point than a DECIMAL here."""
    return column.scale is not None and column.scale <= (t.scale or 0)


def reading(column: DbColumn, t: Type, where: str) -> Reading:
    """How a column there is read as a type here. OptionError where it cannot be."""
    name = quoted(column.name)
    told = f"{where}: column {column.name} ({column.type})"
    if t.kind == "ARRAY" and column.base.startswith("_"):
        element = column.base[1:]
        if element in _SAME.get(t.element.kind, ()):
            return Reading(name, t, told)
        exact = t.element.kind == "DECIMAL" and element == "numeric" and _fits(column, t.element)
        if t.element.is_string or exact:
            return Reading(f"{name}::text[]", t, told)
    elif column.base in _SAME.get(t.kind, ()):
        # a name is shorter than text in the wire's form, which the driver knows
        return Reading(name, t, told)
    elif t.is_string:
        return Reading(f"{name}::text", t, told)
    elif t.kind == "DECIMAL" and column.base in ("numeric", *_INTEGERS):
        fits = column.base != "numeric" or _fits(column, t)
        return Reading(f"{name}::text" if fits else f"round({name}, {t.scale})::text", t, told)
    elif t.kind in _CAST and column.base in _CAST[t.kind][1]:
        return Reading(f"{name}::{_CAST[t.kind][0]}", t, told)
    suggestion = _HINTS.get(column.base, "ARRAY<…>" if column.base.startswith("_") else "STRING")
    raise OptionError(
        f"{told} is no {t.null()}", hint=f"declare it {suggestion}; STRING reads anything", subject=column.name
    )


@dataclass(frozen=True)
class PostgresWriting:
    """How a column is written: its values as they go (`wire` and `arrow`), and what PostgreSQL makes of them (`sql`, over
    a column of that name; None: they are what the column has)."""

    column: DbColumn
    wire: str
    arrow: pa.DataType
    sql: str | None = None

    def values(self, rows: pa.Array, where: str) -> pa.Array:
        """As they go. DataError for a number that the column cannot hold."""
        try:
            return rows if rows.type == self.arrow else rows.cast(self.arrow)
        except pa.ArrowInvalid as e:
            raise DataError(f"{where}: column {self.column.name} ({self.column.type}) cannot hold a value: {e}") from e


def writing(column: DbColumn, t: Type, where: str) -> PostgresWriting:
    """How a type here is written to a column there. OptionError where it cannot be."""
    name, base = quoted(column.name), column.base
    if t.kind == "DECIMAL":
        own: tuple[str, pa.DataType] = ("numeric", t.arrow())
    elif t.kind == "ARRAY" and t.element.kind in _WIRE:
        element = _WIRE[t.element.kind]
        own = (f"_{element[0]}", pa.list_(element[1]))
    elif t.kind in _WIRE:
        own = _WIRE[t.kind]
    else:
        raise OptionError(
            f"{where}: column {column.name}: {t.null()} cannot be written to a database",
            hint="JSON_STRING(…) makes a string of it, which a json or jsonb column takes",
            subject=column.name,
        )
    wire, arrow = own
    if base == wire or (wire == "text" and base in _TEXTS) or (wire == "_text" and base in ("_varchar", "_bpchar")):
        return PostgresWriting(column, wire, arrow)
    if wire in _INTEGERS and base in _INTEGERS:  # checked here, where the value can be named
        return PostgresWriting(column, base, _WIDER[base])
    if wire == "float4" and base == "float8":
        return PostgresWriting(column, base, _WIDER[base])
    if wire == "text":
        return PostgresWriting(column, wire, arrow, f"{name}::{column.type}")
    numbers = ("int2", "int4", "int8", "float4", "float8", "numeric")
    times = (("date", "timestamp"), ("timestamp", "date"))
    if (wire in numbers and base in numbers) or (wire, base) in times or base in _TEXTS or wire == "_text":
        # as PostgreSQL assigns one to the other, or, of arrays of strings, reads them
        return PostgresWriting(column, wire, arrow, f"{name}::{column.type}" if wire == "_text" else name)
    suggestion = _HINTS.get(base, "STRING")
    raise OptionError(
        f"{where}: {t.null()} cannot be written to column {column.name}, which is {column.type} in the database",
        hint=f"declare it {suggestion}, and CAST in the query",
        subject=column.name,
    )
