"""Columns of JSON lines: DuckDB sniffs, and the types that decoding is strict about are tried on the data."""

from __future__ import annotations

from dataclasses import replace

import duckdb

from sqlstream.formats.conversion import is_scalar, pointer
from sqlstream.formats.inference import column_type, settled
from sqlstream.types import Type


def infer_columns(cursor: duckdb.DuckDBPyConnection, source: str, standard: str) -> list[tuple[str, Type]]:
    """(name, type) of each field of the objects in the files of `source` (a SQL list of paths)."""
    relation = cursor.sql(f"SELECT * FROM read_json({source}, format='newline_delimited', records=true)")
    return [
        (name, settled_field(cursor, source, (name,), column_type(t), standard))
        for name, t in zip(relation.columns, relation.types, strict=True)
    ]


def settled_field(
    cursor: duckdb.DuckDBPyConnection, source: str, path: tuple[str, ...], t: Type, standard: str
) -> Type:
    """`settled` for the field at `path`, and for each field of a ROW."""
    if t.kind == "ROW":
        fields = (replace(f, type=settled_field(cursor, source, (*path, f.name), f.type, standard)) for f in t.fields)
        return replace(t, fields=tuple(fields))
    if not is_scalar(t):
        return t
    json = f"read_json({source}, format='newline_delimited', records=false, columns={{'j': 'JSON'}})"
    return settled(cursor, f"SELECT json_extract_string(j, {pointer(path)}) AS x FROM {json}", "x", t, standard)
