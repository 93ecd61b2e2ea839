"""Which fields of a message are which columns, where the message is one of a registry's schemas.

As in format 'protobuf', but: numbers widen; a column that a writer's message has not is NULL; messages that stand for values (times,
dates, decimals, wrappers) are these; a field that is `optional` is NULL where it is not there. What the kernels read or write is the
*physical* type of each column, which `proto_values.py` makes into the column's, and back.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from sqlstream.errors import did_you_mean
from sqlstream.formats.confluent.proto_known import MESSAGES, VALUE, WRAPPERS, physical, stands_for
from sqlstream.formats.protobuf.descriptors import Message, PbField, Types
from sqlstream.formats.protobuf.shape import Shape
from sqlstream.types import INTEGERS, Field, Schema, Type

_BITS = {"TINYINT": 8, "SMALLINT": 16, "INT": 32, "BIGINT": 64}
_SIZES = {
    "int32": 32, "uint32": 32, "sint32": 32, "fixed32": 32, "sfixed32": 32, "int64": 64, "uint64": 64, "sint64": 64, "fixed64": 64,
    "sfixed64": 64,
}  # fmt: skip
NEVER = 1 << 29  # no field has this number
# What a column is that its message has not: of this type to the kernel, which no field is read as.
ABSENT = Type("TINYINT")
_WANTED = {
    "float": "FLOAT",
    "double": "DOUBLE",
    "bool": "BOOLEAN",
    "string": "STRING",
    "bytes": "BYTES",
    "enum": "STRING or INT",
}


class Unfit(ValueError):
    """A column is not of its field; says why, and what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True)
class Fit:
    """What the kernels are given, and the physical types of the columns."""

    shape: Shape
    types: tuple[Type, ...]


def fit(message: Message, columns: Schema, types: Types, reading: bool) -> Fit:
    """The columns as fields of a message. Unfit."""
    fields = tuple(Field(c.name, c.type) for c in columns)
    shape, row = _Fitting(types, reading).row(message, fields, "")
    return Fit(shape, tuple(f.type for f in row.fields))


class _Fitting:
    def __init__(self, types: Types, reading: bool) -> None:
        self._types, self._reading = types, reading

    def row(self, message: Message, fields: tuple[Field, ...], path: str) -> tuple[Shape, Type]:
        made: list[tuple[PbField, Type, Shape | None]] = []
        physicals: list[Field] = []
        for f in fields:
            found, shown = message.fields.get(f.name), f"{path}{f.name}"
            if found is None and self._reading:
                made.append((PbField(f.name, NEVER, "int32", False, False, False, True, False, ""), ABSENT, None))
                physicals.append(Field(f.name, ABSENT))
                continue
            if found is None:
                raise Unfit(
                    f"column {shown}: message {message.name} has no such field",
                    did_you_mean(f.name, message.fields, "fields"),
                )
            field, t, inner = self._field(found, f.type, shown)
            if field.has_presence:  # what was not said is NULL
                field = replace(field, proto3=False)
            made.append((field, t, inner))
            physicals.append(Field(f.name, t))
        return Shape(tuple(made)), Type("ROW", fields=tuple(physicals))

    def _field(self, f: PbField, t: Type, shown: str) -> tuple[PbField, Type, Shape | None]:
        if f.kind == "group":
            raise Unfit(f"column {shown}: groups are not read", "leave the column out")
        inner = self._message(f, shown)
        if f.repeated and t.kind == "MAP" and inner is not None and set(inner.fields) == {"key", VALUE}:
            shape, row = self.row(inner, (Field("key", t.fields[0].type), Field(VALUE, t.fields[1].type)), f"{shown}.")
            if row.fields[0].type.kind == "ROW":  # keys that are no values to the kernels: these have lists
                return f, Type("ARRAY", fields=(Field("element", row),), nullable=t.nullable), shape
            return f, replace(t, fields=row.fields), shape
        if f.repeated:
            if t.kind != "ARRAY":
                what = "a map" if inner is not None and inner.is_map else f"repeated {f.type_name or f.kind}"
                raise _unlike(shown, what, t, "MAP" if what == "a map" else "ARRAY")
            field, item, within = self._single(f, inner, t.element, shown)
            return field, replace(t, fields=(Field("element", item),)), within
        return self._single(f, inner, t, shown)

    def _message(self, f: PbField, shown: str) -> Message | None:
        if f.kind != "message":
            return None
        found = self._types.messages.get(f.type_name) or MESSAGES.get(f.type_name) or WRAPPERS.get(f.type_name)
        if found is None:
            raise Unfit(f"column {shown}: the schema has no message {f.type_name}, nor has what it imports")
        return found

    def _single(self, f: PbField, inner: Message | None, t: Type, shown: str) -> tuple[PbField, Type, Shape | None]:
        if inner is None:
            return self._scalar(f, t, shown)
        if stands_for(inner.name, t):
            made = physical(inner.name)
            return f, replace(made, nullable=t.nullable), self.row(MESSAGES[inner.name], made.fields, f"{shown}.")[0]
        if t.kind == "ROW":
            own, row = self.row(inner, t.fields, f"{shown}.")
            return f, replace(t, fields=row.fields), own
        if set(inner.fields) == {VALUE} and (inner.name in WRAPPERS or t.kind in ("ARRAY", "MAP")):
            shape, row = self.row(inner, (Field(VALUE, t),), f"{shown}.")
            return f, replace(row, nullable=t.nullable), shape
        raise _unlike(shown, f"message {inner.name}", t, "ROW")

    def _scalar(self, f: PbField, t: Type, shown: str) -> tuple[PbField, Type, None]:
        if f.kind == "enum" and (t.is_string or t.kind in INTEGERS):
            return f, t, None
        if f.kind == "string" and t.is_string or f.kind == "bytes" and t.kind in ("BINARY", "VARBINARY"):
            return f, t, None
        if f.kind == "bool" and t.kind == "BOOLEAN" or f.kind in ("float", "double") and t.kind == f.kind.upper():
            return f, t, None
        if {f.kind, t.kind} in (({"float", "DOUBLE"},) if self._reading else ({"double", "FLOAT"},)):
            return f, t, None
        size = _SIZES.get(f.kind)
        if size is None or t.kind not in _BITS:
            raise _unlike(shown, f.kind, t, _WANTED.get(f.kind) or ("INT" if size == 32 else "BIGINT"))
        return self._integer(f, size, t, shown), self._physical(size, t), None

    def _integer(self, f: PbField, size: int, t: Type, shown: str) -> PbField:
        wider = _BITS[t.kind] > size
        if self._reading and wider and f.kind == "uint32":
            return replace(f, kind="uint64")  # it has no sign, as in an INT, and on the wire it is the same
        if self._reading and wider and f.kind == "fixed32" or not self._reading and wider:
            raise _unlike(shown, f.kind, t, "INT" if size == 32 else "BIGINT")
        return f

    def _physical(self, size: int, t: Type) -> Type:
        """A number that is wider than its column has to fit, which is seen when it is read."""
        if self._reading and _BITS[t.kind] < size:
            return Type("INT" if size == 32 else "BIGINT", nullable=t.nullable)
        return t


def _unlike(shown: str, what: str, t: Type, wanted: str) -> Unfit:
    return Unfit(f"column {shown} is {t.text()}, and the message's field is {what}", f"declare it {wanted}")
