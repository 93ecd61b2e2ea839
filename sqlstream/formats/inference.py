"""Flink types of what DuckDB sniffed in files."""

from __future__ import annotations

from typing import Any

import duckdb

from sqlstream.formats.conversion import convert
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
    TINYINT,
    Field,
    Type,
    array,
    decimal,
    map_of,
    timestamp,
    timestamp_ltz,
)

_TYPES: dict[str, Type] = {
    "boolean": BOOLEAN, "tinyint": TINYINT, "smallint": SMALLINT, "integer": INT, "bigint": BIGINT,
    "utinyint": SMALLINT, "usmallint": INT, "uinteger": BIGINT, "ubigint": decimal(20, 0), "hugeint": decimal(38, 0),
    "float": FLOAT, "double": DOUBLE, "blob": BYTES_TYPE, "date": DATE, "time": TIME,
    "timestamp": timestamp(3), "timestamp_s": timestamp(3), "timestamp_ms": timestamp(3), "timestamp_ns": timestamp(3),
    "timestamp with time zone": timestamp_ltz(3),
}  # fmt: skip


def column_type(sniffed: Any) -> Type:
    """The Type of a DuckDB type; what has no other becomes STRING. Times get precision 3, so that they can carry a watermark."""
    kind = str(sniffed.id)
    if kind == "struct":
        return Type("ROW", fields=tuple(Field(n, column_type(t)) for n, t in sniffed.children))
    if kind == "list":
        return array(column_type(sniffed.children[0][1]))
    if kind == "map":
        return map_of(column_type(sniffed.children[0][1]), column_type(sniffed.children[1][1]))
    if kind == "decimal":
        sizes = dict(sniffed.children)
        return decimal(int(sizes["precision"]), int(sizes["scale"]))
    return _TYPES.get(kind, STRING)


def settled(cursor: duckdb.DuckDBPyConnection, data: str, x: str, t: Type, standard: str) -> Type:
    """`t`, or what decodes where `t` does not: TIMESTAMP_LTZ for times with a zone, at last STRING.

    `data`: SQL of rows whose text `x` is the column's.
    """
    if t.is_string:
        return t
    for candidate in [timestamp(3), timestamp_ltz(3)] if t.is_timestamp else [t]:
        bad = f"{x} IS NOT NULL AND TRY({convert(candidate, x, standard)}) IS NULL"
        if not cursor.sql(f"SELECT 1 FROM ({data}) WHERE {bad} LIMIT 1").fetchall():
            return candidate
    return STRING
