"""Arrow schemas as readable JSON in manifests, and back.

A type is its Arrow name ("int64", "decimal128(10, 2)", "timestamp[us, tz=UTC]"), or for nested types
{"list": type}, {"map": [key, value]}, {"struct": [[name, type], …]}.
"""

from __future__ import annotations

import re
from typing import Any

import pyarrow as pa
from pyarrow import types as pt

from sqlstream.errors import CheckpointError

_SIMPLE = {
    str(t): t
    for t in (
        pa.null(), pa.bool_(), pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(),
        pa.uint64(), pa.float32(), pa.float64(), pa.string(), pa.binary(), pa.large_string(), pa.large_binary(),
        pa.date32(), pa.date64(), pa.time32("s"), pa.time32("ms"), pa.time64("us"), pa.time64("ns"),
        pa.duration("s"), pa.duration("ms"), pa.duration("us"), pa.duration("ns"),
    )
}  # fmt: skip


def type_to_json(t: pa.DataType) -> Any:
    """An Arrow type as JSON values, in the form above."""
    if pt.is_struct(t):
        return {"struct": [[t.field(i).name, type_to_json(t.field(i).type)] for i in range(t.num_fields)]}
    if pt.is_map(t):
        return {"map": [type_to_json(t.key_type), type_to_json(t.item_type)]}
    if pt.is_list(t):
        return {"list": type_to_json(t.value_type)}
    return str(t)


def type_from_json(value: Any) -> pa.DataType:
    """The Arrow type again. CheckpointError when this version knows none such."""
    if isinstance(value, dict):
        if "struct" in value:
            return pa.struct([(name, type_from_json(t)) for name, t in value["struct"]])
        if "map" in value:
            return pa.map_(*map(type_from_json, value["map"]))
        if "list" in value:
            return pa.list_(type_from_json(value["list"]))
    if value in _SIMPLE:
        return _SIMPLE[value]
    if m := re.fullmatch(r"decimal128\((\d+), (-?\d+)\)", str(value)):
        return pa.decimal128(int(m[1]), int(m[2]))
    if m := re.fullmatch(r"timestamp\[(\w+)(?:, tz=(.+))?\]", str(value)):
        return pa.timestamp(m[1], m[2])
    raise CheckpointError(f"the manifest names a type that this version does not know: {value}")


def schema_to_json(schema: pa.Schema) -> list[list[Any]]:
    """[name, type] for each field, in order. Nullability is not kept."""
    return [[f.name, type_to_json(f.type)] for f in schema]


def schema_from_json(value: list[list[Any]]) -> pa.Schema:
    """The Arrow schema again; every field may be NULL."""
    return pa.schema([(name, type_from_json(t)) for name, t in value])
