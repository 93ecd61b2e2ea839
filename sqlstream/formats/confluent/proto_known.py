"""Messages that stand for single values, as Confluent's converters have them: times, dates, decimals, and what may be NULL."""

from __future__ import annotations

from sqlstream.formats.protobuf.descriptors import Message, PbField
from sqlstream.types import BIGINT, BYTES_TYPE, INT, Type, row

TIMESTAMP, DATE, TIME, DECIMAL = (
    "google.protobuf.Timestamp", "google.type.Date", "google.type.TimeOfDay", "confluent.type.Decimal",
)  # fmt: skip
FILES = {
    TIMESTAMP: "google/protobuf/timestamp.proto", DATE: "google/type/date.proto", TIME: "google/type/timeofday.proto",
    DECIMAL: "confluent/type/decimal.proto",
}  # fmt: skip
_FIELDS = {
    TIMESTAMP: (("seconds", "int64"), ("nanos", "int32")),
    DATE: (("year", "int32"), ("month", "int32"), ("day", "int32")),
    TIME: (("hours", "int32"), ("minutes", "int32"), ("seconds", "int32"), ("nanos", "int32")),
    DECIMAL: (("value", "bytes"), ("precision", "uint32"), ("scale", "int32")),
}
_WRAPPERS = {
    "DoubleValue": "double", "FloatValue": "float", "Int64Value": "int64", "UInt64Value": "uint64", "Int32Value": "int32",
    "UInt32Value": "uint32", "BoolValue": "bool", "StringValue": "string", "BytesValue": "bytes",
}  # fmt: skip
_TYPES = {"int64": BIGINT, "int32": INT, "uint32": INT, "bytes": BYTES_TYPE}
# What the registries of schemas know without being told.
BUILT_IN = ("google/protobuf/", "google/type/", "confluent/")
VALUE = "value"  # the one field of a message that wraps what may be NULL


def field(
    name: str, number: int, kind: str, repeated: bool = False, optional: bool = False, type_name: str = ""
) -> PbField:
    """Of a file of syntax proto3."""
    packed = repeated and kind not in ("string", "bytes", "message")
    return PbField(
        name, number, kind, repeated, packed, False, optional or kind == "message", True, "", True, None, type_name
    )


def _message(name: str, fields: tuple[tuple[str, str], ...]) -> Message:
    return Message(name, False, {n: field(n, i, kind) for i, (n, kind) in enumerate(fields, 1)})


MESSAGES = {name: _message(name, fields) for name, fields in _FIELDS.items()}
WRAPPERS = {f"google.protobuf.{n}": _message(f"google.protobuf.{n}", ((VALUE, kind),)) for n, kind in _WRAPPERS.items()}


def stands_for(message: str, t: Type) -> bool:
    """Whether a message of this name is a value of the type."""
    kinds = {TIMESTAMP: ("TIMESTAMP", "TIMESTAMP_LTZ"), DATE: ("DATE",), TIME: ("TIME",), DECIMAL: ("DECIMAL",)}
    return t.kind in kinds.get(message, ())


def physical(message: str) -> Type:
    """The row that such a message is."""
    return row(*((n, _TYPES[kind]) for n, kind in _FIELDS[message]))
