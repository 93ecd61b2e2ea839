"""Flink types of what is found in files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import duckdb
import pyarrow as pa

from sqlstream.formats.conversion import SQL_STANDARD, convert
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
    TINYINT,
    Field,
    Type,
    array,
    decimal,
    map_of,
    timestamp,
    timestamp_ltz,
)

FINE_TIME = Type("TIME", 6)
_TYPES: dict[str, Type] = {
    "boolean": BOOLEAN, "tinyint": TINYINT, "smallint": SMALLINT, "integer": INT, "bigint": BIGINT,
    "utinyint": SMALLINT, "usmallint": INT, "uinteger": BIGINT, "ubigint": decimal(20, 0), "hugeint": decimal(38, 0),
    "float": FLOAT, "double": DOUBLE, "blob": BYTES_TYPE, "date": DATE,
    "time": FINE_TIME, "time_ns": FINE_TIME, "time with time zone": FINE_TIME,
    "timestamp": timestamp(6), "timestamp_s": timestamp(6), "timestamp_ms": timestamp(6), "timestamp_ns": timestamp(6),
    "timestamp with time zone": timestamp_ltz(6), "timestamptz_ns": timestamp_ltz(6),
}  # fmt: skip
# What text in a file may be, the narrowest first: the first type that all of it decodes as is the column's.
_OF_TEXT = (BOOLEAN, BIGINT, DOUBLE, DATE, FINE_TIME, timestamp(6), timestamp_ltz(6))


def column_type(found: Any) -> Type:
    """The Type of a DuckDB type, times with microseconds (see `fitted`); what has no other becomes STRING."""
    kind = str(found.id)
    if kind == "struct":
        return Type("ROW", fields=tuple(Field(n, column_type(t)) for n, t in found.children))
    if kind == "list":
        return array(column_type(found.children[0][1]))
    if kind == "map":
        return map_of(column_type(found.children[0][1]), column_type(found.children[1][1]))
    if kind == "decimal":
        sizes = dict(found.children)
        return decimal(int(sizes["precision"]), int(sizes["scale"]))
    return _TYPES.get(kind, STRING)


def settled(cursor: duckdb.DuckDBPyConnection, data: str, x: str, t: Type, standard: str) -> Type:
    """`t`, or what decodes where `t` does not: TIMESTAMP_LTZ for times with a zone, at last STRING. For a DOUBLE that
    would not keep the digits of whole numbers: DECIMAL(38, 0) if all are whole, else STRING.

    `data`: SQL of rows whose text `x` is the column's.
    """
    if t.is_string:
        return t
    candidates = (timestamp(6), timestamp_ltz(6)) if t.is_timestamp else (t,)
    if t in (_TYPES["ubigint"], _TYPES["hugeint"]):  # DuckDB's, also for a large number beside a negative one
        candidates = (BIGINT, t)
    if t == DOUBLE:
        ((all_whole,),) = cursor.sql(f"SELECT bool_and({_whole(x)}) FROM ({data})").fetchall()
        if all_whole:  # and too long for a BIGINT, which DuckDB would have found
            candidates = (decimal(38, 0),)
        elif loses_digits(cursor, data, x):
            return STRING
    return _first(cursor, data, x, candidates, standard)


def loses_digits(cursor: duckdb.DuckDBPyConnection, data: str, x: str) -> bool:
    """Whether a DOUBLE would not keep a whole number of the texts `x` of `data` as it is."""
    kept = f"printf('%.0f', TRY_CAST({x} AS DOUBLE))"
    lost = f"{_whole(x)} AND ltrim(trim({x}), '+') IS DISTINCT FROM {kept}"
    return bool(cursor.sql(f"SELECT 1 FROM ({data}) WHERE {lost} LIMIT 1").fetchall())


def _whole(x: str) -> str:
    return f"regexp_full_match({x}, '\\s*[+-]?\\d+\\s*')"


def type_of_text(cursor: duckdb.DuckDBPyConnection, data: str, x: str, standard: str) -> Type:
    """The first type that all of the text `x` of `data` decodes as; STRING when there is none, or no text."""
    if not cursor.sql(f"SELECT 1 FROM ({data}) WHERE {x} IS NOT NULL LIMIT 1").fetchall():
        return STRING
    return _first(cursor, data, x, _OF_TEXT, standard)


def type_of_values(cursor: duckdb.DuckDBPyConnection, values: Sequence[str]) -> Type:
    """The first type that all of these texts decode as, of those that directories are named by; else STRING."""
    cursor.register("named_values", pa.table({"x": pa.array(values, pa.string())}))
    try:
        found = type_of_text(cursor, "SELECT x FROM named_values", "x", SQL_STANDARD)
    finally:
        cursor.unregister("named_values")
    return found if found in (BIGINT, DATE) else STRING


def _first(cursor: duckdb.DuckDBPyConnection, data: str, x: str, candidates: tuple[Type, ...], standard: str) -> Type:
    for t in candidates:
        value = convert(t, x, standard)
        if not cursor.sql(f"SELECT 1 FROM ({data}) WHERE {x} IS NOT NULL AND TRY({value}) IS NULL LIMIT 1").fetchall():
            return fitted(cursor, data, value, t)
    return STRING


def fitted(cursor: duckdb.DuckDBPyConnection, data: str, x: str, t: Type) -> Type:
    """A time `t` with the least precision that holds all values `x` of `data`: 3 can carry a watermark, 6 cannot.

    Of seconds (TIME only), milliseconds and microseconds; any other type as it is.
    """
    if not t.is_timestamp and t.kind != "TIME":
        return t
    us = f"epoch_us({x})"
    finest = f"max(CASE WHEN {us} % 1000 <> 0 THEN 6 WHEN {us} % 1000000 <> 0 THEN 3 ELSE 0 END)"
    ((precision,),) = cursor.sql(f"SELECT {finest} FROM ({data})").fetchall()
    return replace(t, precision=max(precision or 0, 3 if t.is_timestamp else 0))
