"""Which fields of a message are which columns of a table: flink-protobuf's mapping, checked."""

from __future__ import annotations

from dataclasses import dataclass

from sqlstream.errors import BindError, NotSupported, did_you_mean
from sqlstream.formats.protobuf.descriptors import Message, PbField, Types
from sqlstream.types import Field, Schema, Type

_NUMBERS = {
    "int32": "INT", "uint32": "INT", "sint32": "INT", "fixed32": "INT", "sfixed32": "INT", "int64": "BIGINT", "uint64": "BIGINT",
    "sint64": "BIGINT", "fixed64": "BIGINT", "sfixed64": "BIGINT", "float": "FLOAT", "double": "DOUBLE", "bool": "BOOLEAN",
}  # fmt: skip
_BITS = {"TINYINT": 8, "SMALLINT": 16, "INT": 32, "BIGINT": 64}


@dataclass(frozen=True)
class Shape:
    """A message as a row: a field for each column, with the column's type, and the shape of what it has inside (of a map: of its entries)."""

    fields: tuple[tuple[PbField, Type, Shape | None], ...]


def shape_of(message: Message, columns: Schema, types: Types, table: str) -> Shape:
    """BindError, NotSupported where the columns are not those of the message."""
    row = Type("ROW", fields=tuple(Field(c.name, c.type) for c in columns))
    return _row(message, row, types, table, "")


def _row(message: Message, t: Type, types: Types, table: str, path: str) -> Shape:
    made = []
    for f in t.fields:
        found = message.fields.get(f.name)
        if found is None:
            raise BindError(
                f"table {table}: column {path}{f.name}: message {message.name} has no such field",
                hint=did_you_mean(f.name, message.fields, "fields"),
            )
        made.append((found, f.type, _inside(found, f.type, types, table, f"{path}{f.name}")))
    return Shape(tuple(made))


def _inside(f: PbField, t: Type, types: Types, table: str, shown: str) -> Shape | None:
    inner = types.messages.get(f.type_name)
    if f.kind == "group":
        raise NotSupported(f"table {table}: column {shown}: groups are not read", hint="leave the column out")
    if f.kind == "message" and inner is None:
        raise BindError(
            f"table {table}: column {shown}: the descriptor file has no {f.type_name}",
            hint="protoc --include_imports adds what is imported",
        )
    if f.repeated and inner is not None and inner.is_map:
        if t.kind != "MAP":
            raise _unlike(table, shown, "a map", t, "MAP")
        return _row(
            inner,
            Type("ROW", fields=(Field("key", t.fields[0].type), Field("value", t.fields[1].type))),
            types,
            table,
            f"{shown}.",
        )
    if f.repeated:
        if t.kind != "ARRAY":
            raise _unlike(table, shown, f"repeated {f.type_name or f.kind}", t, "ARRAY")
        t = t.element
    if inner is not None:
        if t.kind != "ROW":
            raise _unlike(table, shown, f"message {f.type_name}", t, "ROW")
        return _row(inner, t, types, table, f"{shown}.")
    if not _fits(f, t):
        wanted = _NUMBERS.get(f.kind, {"string": "STRING", "bytes": "BYTES", "enum": "STRING or INT"}.get(f.kind, ""))
        raise _unlike(table, shown, f.kind, t, wanted)
    return None


def _fits(f: PbField, t: Type) -> bool:
    if f.kind == "enum":
        most = 1 << (_BITS.get(t.kind, 1) - 1)
        numbers = () if f.enum is None else f.enum.numbers
        return t.is_string or t.kind in _BITS and all(-most <= n < most for n in numbers)
    if f.kind == "string":
        return t.is_string
    if f.kind == "bytes":
        return t.kind in ("BINARY", "VARBINARY")
    return _NUMBERS[f.kind] == t.kind


def _unlike(table: str, shown: str, what: str, t: Type, wanted: str) -> BindError:
    return BindError(
        f"table {table}: column {shown} is {t.text()}, and the message's field is {what}", hint=f"declare it {wanted}"
    )
