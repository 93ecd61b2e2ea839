"""The JSON Schema (draft 7) of a table's columns, as its rows are written.

It says of types what Confluent's converter of Kafka Connect says (JsonSchemaData): `connect.type`, and `connect.index`, a field's place
among others; what may be NULL is one of null and the type. Times are text here, as format 'json' writes them, and so the schema says.
"""

from __future__ import annotations

import json
from typing import Any

from sqlstream.errors import InternalError
from sqlstream.formats.conversion import ISO_STANDARD
from sqlstream.types import Field, Schema, Type

DRAFT = "http://json-schema.org/draft-07/schema#"
TITLE = "Record"
_DECIMAL = "org.apache.kafka.connect.data.Decimal"
_CONNECT = {
    "TINYINT": "int8", "SMALLINT": "int16", "INT": "int32", "BIGINT": "int64", "INTERVAL_DAY": "int64", "INTERVAL_MONTH": "int32",
    "FLOAT": "float32", "DOUBLE": "float64",
}  # fmt: skip
_PLAIN: dict[str, dict[str, Any]] = {
    "BOOLEAN": {"type": "boolean"}, "NULL": {"type": "null"}, "CHAR": {"type": "string"}, "VARCHAR": {"type": "string"},
    "TIME": {"type": "string"}, "TIMESTAMP": {"type": "string"}, "DATE": {"type": "string", "format": "date"},
}  # fmt: skip
_BYTES = {"type": "string", "contentEncoding": "base64", "connect.type": "bytes"}


class Unfit(ValueError):
    """A schema is none, or none of the table's columns; says why."""


def schema_of(columns: Schema, standard: str) -> dict[str, Any]:
    """Of these columns, whose times are written by this standard."""
    fields = tuple(Field(c.name, c.type) for c in columns)
    return {"$schema": DRAFT, **_object(fields, standard, TITLE)}


def text_of(schema: dict[str, Any]) -> str:
    """As one line."""
    return json.dumps(schema, separators=(",", ":"), ensure_ascii=False)


def _object(fields: tuple[Field, ...], standard: str, title: str) -> dict[str, Any]:
    properties = {f.name: _nullable(f.type, standard, f"{title}_{f.name}", i) for i, f in enumerate(fields)}
    required = [f.name for f in fields if not f.type.nullable]
    return {
        "title": title,
        "type": "object",
        "properties": properties,
        **({"required": required} if required else {}),
        # an optional property may be added to a schema that is closed, and later rows fit the earlier one
        "additionalProperties": False,
    }


def _nullable(t: Type, standard: str, title: str, index: int | None = None) -> dict[str, Any]:
    made = _value(t, standard, title)
    if t.nullable:
        made = {"oneOf": [{"type": "null"}, made]} if made["type"] != "null" else made
    return made if index is None else {**made, "connect.index": index}


def _value(t: Type, standard: str, title: str) -> dict[str, Any]:
    if t.kind == "ROW":
        return _object(t.fields, standard, title)
    if t.kind == "ARRAY":
        return {"type": "array", "items": _nullable(t.element, standard, title)}
    if t.kind in ("MAP", "MULTISET"):
        value = t.fields[1].type if t.kind == "MAP" else Type("INT", nullable=False)
        return {
            "type": "object",
            "connect.type": "map",
            "additionalProperties": _nullable(value, standard, title),
        }
    if t.kind == "DECIMAL":
        parameters = {"scale": str(t.scale), "connect.decimal.precision": str(t.precision)}
        return {
            "type": "number", "title": _DECIMAL, "connect.type": "bytes", "connect.version": 1, "connect.parameters": parameters,
        }  # fmt: skip
    if t.kind == "TIMESTAMP_LTZ":
        return {"type": "string", **({"format": "date-time"} if standard == ISO_STANDARD else {})}
    if t.kind in ("BINARY", "VARBINARY"):
        return dict(_BYTES)
    if t.kind in _CONNECT:
        return {"type": "number" if t.kind in ("FLOAT", "DOUBLE") else "integer", "connect.type": _CONNECT[t.kind]}
    if t.kind in _PLAIN:
        return dict(_PLAIN[t.kind])
    raise InternalError(f"a column of type {t.text()} has no form in JSON")


def checked(text: str, columns: Schema) -> None:
    """Unfit for what is no schema, or plainly none of these columns: it wants others, or allows no others than it names."""
    try:
        found = json.loads(text)
    except ValueError as e:
        raise Unfit(f"it is no JSON: {e}") from None
    if not isinstance(found, dict):
        raise Unfit("it is no object")
    if found.get("type", "object") != "object":
        raise Unfit(f"it is of {json.dumps(found['type'])}, and rows are objects")
    names, required, known = columns.names, found.get("required"), found.get("properties", {})
    for name in required if isinstance(required, list) else ():
        if name not in names:
            raise Unfit(f"it requires {json.dumps(name)}, which is no column")
    closed = found.get("additionalProperties") is False and "patternProperties" not in found
    for name in names if closed and isinstance(known, dict) else ():
        if name not in known:
            raise Unfit(f"it has no property '{name}', and allows no others")
