"""Columns of JSON lines: DuckDB sniffs, and the types that decoding is strict about are tried on the data."""

from __future__ import annotations

from dataclasses import replace

import duckdb

from sqlstream.formats.conversion import convert, is_scalar, pointer
from sqlstream.formats.inference import column_type
from sqlstream.types import STRING, Type, timestamp, timestamp_ltz


def infer_columns(cursor: duckdb.DuckDBPyConnection, source: str, standard: str) -> list[tuple[str, Type]]:
    """(name, type) of each field of the objects in the files of `source` (a SQL list of paths)."""
    relation = cursor.sql(f"SELECT * FROM read_json({source}, format='newline_delimited', records=true)")
    return [
        (name, settled(cursor, source, (name,), column_type(t), standard))
        for name, t in zip(relation.columns, relation.types, strict=True)
    ]


def settled(
    cursor: duckdb.DuckDBPyConnection, source: str, path: tuple[str, ...], t: Type, standard: str
) -> Type:
    """`t`, or where the data at `path` do not decode so: TIMESTAMP_LTZ for times with a zone, and STRING at last."""
    if t.kind == "ROW":
        return replace(t, fields=tuple(
            replace(f, type=settled(cursor, source, (*path, f.name), f.type, standard)) for f in t.fields
        ))  # fmt: skip
    if not is_scalar(t) or t.is_string:
        return t
    candidates = [t] if not t.is_timestamp else [timestamp(3), timestamp_ltz(3)]
    text = f"json_extract_string(j, {pointer(path)})"
    json = f"read_json({source}, format='newline_delimited', records=false, columns={{'j': 'JSON'}})"
    for candidate in candidates:
        wrong = f"SELECT 1 FROM {json} WHERE {text} IS NOT NULL AND TRY({convert(candidate, text, standard)}) IS NULL"
        if not cursor.sql(f"{wrong} LIMIT 1").fetchall():
            return candidate
    return STRING


