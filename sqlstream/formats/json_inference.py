"""Columns of JSON lines: DuckDB sniffs, and the types that decoding is strict about are tried on the data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import duckdb

from sqlstream.errors import DataError, NotSupported
from sqlstream.formats.base import Sample
from sqlstream.formats.conversion import pointer
from sqlstream.formats.inference import column_type, settled
from sqlstream.formats.readers import json_call, json_guess
from sqlstream.types import Type, array, map_of

_SHOWN = 80  # characters of a record in an error


def skips(options: Mapping[str, Any], format: str) -> bool:
    """Whether a table's options leave malformed records out."""
    return bool(options[f"{format}.ignore-parse-errors"]) or options.get("source.bad-records", "fail") != "fail"


def times_in(t: Type) -> int:
    """How many dates and times a type has, those in ROWs too."""
    return sum(times_in(f.type) for f in t.fields) if t.kind == "ROW" else int(t.is_timestamp)


def infer_columns(
    cursor: duckdb.DuckDBPyConnection, sample: Sample, standard: str, tolerant: bool = False
) -> list[tuple[str, Type]]:
    """(name, type) of each field of the objects. DataError that names file and line of what is no object."""
    return [
        (name, settled_field(cursor, sample, (name,), column_type(t), standard, tolerant))
        for name, t in fields_of(cursor, sample, tolerant).items()
    ]


def fields_of(cursor: duckdb.DuckDBPyConnection, sample: Sample, tolerant: bool = False) -> dict[str, Any]:
    """The fields of the objects with DuckDB's types."""
    try:
        relation = cursor.sql(f"SELECT * FROM {json_guess(sample.paths, tolerant)}")
        found = dict(zip(relation.columns, relation.types, strict=True))
    except duckdb.Error as e:
        raise _explained(sample) or e from e
    keys = cursor.sql(
        f"SELECT DISTINCT unnest(json_keys(j)) AS k FROM {json_call(sample.paths, {'j': 'JSON'}, records=False, tolerant=tolerant)}"
    ).fetchall()
    folded: dict[str, str] = {}
    for (key,) in sorted(keys):
        other = folded.setdefault(key.lower(), key)
        if other != key and not tolerant:
            raise NotSupported(
                f"{sample.names[0]}: fields '{other}' and '{key}' differ by case alone",
                hint=f"columns => '`{other}` …, `{key}` …' tells them apart",
            )
    return found


def settled_field(
    cursor: duckdb.DuckDBPyConnection,
    sample: Sample,
    path: tuple[str, ...],
    t: Type,
    standard: str,
    tolerant: bool = False,
) -> Type:
    """`settled` for the field at `path`, and for what is in it."""
    lines = json_call(sample.paths, {"j": "JSON"}, records=False, tolerant=tolerant)
    return _settled(cursor, f"SELECT j FROM {lines}", path, t, standard)


def _settled(cursor: duckdb.DuckDBPyConnection, data: str, path: tuple[str, ...], t: Type, standard: str) -> Type:
    """`data`: SQL of rows whose `j` is the JSON that `path` is in."""
    if t.kind == "ROW":
        fields = (replace(f, type=_settled(cursor, data, (*path, f.name), f.type, standard)) for f in t.fields)
        return replace(t, fields=tuple(fields))
    at = pointer(path)
    if t.kind == "ARRAY":
        inside = f"SELECT unnest(json_transform(json_extract(j, {at}), '[\"JSON\"]')) AS j FROM ({data})"
        return array(_settled(cursor, inside, (), t.element, standard))
    if t.kind == "MAP":
        inside = f"map_values(json_transform(json_extract(j, {at}), '\"MAP(VARCHAR, JSON)\"'))"
        inside = f"SELECT unnest({inside}) AS j FROM ({data})"
        key, value = (f.type for f in t.fields)
        return map_of(key, _settled(cursor, inside, (), value, standard))
    return settled(cursor, f"SELECT json_extract_string(j, {at}) AS x FROM ({data})", "x", t, standard)


def _explained(sample: Sample) -> DataError | None:
    """What is wrong with the first line that is no object."""
    for number, name in enumerate(sample.names):
        data = sample.data(number)
        for line, record in enumerate(data.split(b"\n"), start=1):
            if record.strip():
                try:
                    value = json.loads(record)
                except ValueError as e:
                    return _refused(name, line, record, data, str(e))
                if not isinstance(value, dict):
                    return _refused(name, line, record, data, f"it is no object, but {_kind(value)}")
                if not value and sample.whole:
                    return DataError(f"{name}, line {line}: the object has no fields", hint="columns => '…' says them")
                if "" in value:
                    return DataError(
                        f"{name}, line {line}: a field has no name", hint="columns => '…' says which fields to read"
                    )
    return None


def _refused(name: str, line: int, record: bytes, data: bytes, reason: str) -> DataError:
    hint = "json is an object a line; json.ignore-parse-errors (ignore_parse_errors => true) passes over what is none"
    start = data.lstrip()[:1]
    if line == 1 or not record.strip(b"[]{}, \t\r\n"):
        if start == b"[":
            hint = "an array of objects becomes lines with: jq -c '.[]' FILE"
        elif start == b"{" and b"\n" in data.strip():
            hint = "objects over several lines become one line each with: jq -c . FILE"
    text = record.decode("utf-8", "replace").rstrip("\r")
    text = text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
    return DataError(f"{name}, line {line}: not an object of JSON: {reason}: {text}", hint=hint)


def _kind(value: Any) -> str:
    return {list: "an array", str: "a text", type(None): "null", bool: "a boolean"}.get(type(value), "a number")
