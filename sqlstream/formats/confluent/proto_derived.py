"""The message of a table's columns, and the text of its file (proto3): the types are those of Confluent's Flink (format proto-registry).

What may be NULL and is no message is `optional`. Times, dates and decimals are the messages that stand for them. Lists and maps within
one another, and maps whose keys Protobuf has not, are in messages of their own. Fields are numbered in the order of the columns.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from sqlstream.errors import NotSupported
from sqlstream.formats.confluent.proto_known import FILES, MESSAGES, VALUE, stands_for
from sqlstream.formats.confluent.proto_known import field as pb_field
from sqlstream.formats.protobuf.descriptors import Message, PbField, Types
from sqlstream.types import Field, Schema, Type

NAME = "Row"
_SCALARS = {
    "BOOLEAN": "bool", "TINYINT": "int32", "SMALLINT": "int32", "INT": "int32", "BIGINT": "int64", "FLOAT": "float", "DOUBLE": "double",
    "CHAR": "string", "VARCHAR": "string", "BINARY": "bytes", "VARBINARY": "bytes",
}  # fmt: skip
_KEYS = ("bool", "int32", "int64", "string")  # of maps, of these
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class Derived:
    """`text`: of the file, which has one message, whose fields are the columns."""

    text: str
    message: Message
    types: Types


def derived(columns: Schema, table: str) -> Derived:
    """NotSupported, which names table and column, for what Protobuf has no form for."""
    made = _Maker(table)
    body = made.message(NAME, NAME, [Field(c.name, c.type) for c in columns], "", "  ")
    imports = "".join(f'import "{FILES[name]}";\n' for name in FILES if name in made.imported)
    text = f'syntax = "proto3";\n{imports}\nmessage {NAME} {{\n{body}}}\n'
    return Derived(text, made.types.messages[NAME], made.types)


@dataclass
class _Maker:
    table: str
    types: Types = field(default_factory=Types)
    imported: set[str] = field(default_factory=set)

    def message(self, name: str, full: str, fields: list[Field], path: str, indent: str) -> str:
        """The lines of a message's fields, and of the messages in it."""
        made = self.types.messages[full] = Message(full, False)
        lines, inner = "", ""
        for number, f in enumerate(fields, 1):
            shown = f"{path}{f.name}"
            if not _IDENTIFIER.fullmatch(f.name):
                raise self._refused(shown, "has a name that no field of Protobuf has", "letters, digits and _")
            kind, one, more = self._field(f.name, number, f.type, full, shown, indent)
            made.fields[f.name] = one
            lines += f"{indent}{kind} {f.name} = {number};\n"
            inner += more
        return lines + inner

    def _field(self, name: str, number: int, t: Type, scope: str, shown: str, indent: str) -> tuple[str, PbField, str]:
        """How it is declared, what it is, and the messages that are declared for it."""
        if t.kind == "ARRAY":
            if t.element.kind in ("ARRAY", "MAP"):
                return self._wrapped(name, number, t.element, scope, shown, indent, "repeated ")
            kind, one, inner = self._single(name, number, t.element, scope, shown, indent)
            return f"repeated {kind}", pb_field(name, number, one.kind, True, type_name=one.type_name), inner
        if t.kind == "MAP":
            return self._map(name, number, t, scope, shown, indent)
        kind, one, inner = self._single(name, number, t, scope, shown, indent)
        optional = t.nullable and one.kind != "message"
        one.has_presence = one.has_presence or optional
        return ("optional " if optional else "") + kind, one, inner

    def _single(self, name: str, number: int, t: Type, scope: str, shown: str, indent: str) -> tuple[str, PbField, str]:
        if t.kind == "ROW":
            return self._own(name, number, list(t.fields), scope, shown, indent, "Row")
        for known in MESSAGES:
            if stands_for(known, t):
                self.imported.add(known)
                return f".{known}", pb_field(name, number, "message", type_name=known), ""
        kind = _SCALARS.get(t.kind)
        if kind is None:
            raise self._refused(shown, f"is {t.text()}, which has no form in Protobuf", "cast it to STRING")
        return kind, pb_field(name, number, kind), ""

    def _own(
        self, name: str, number: int, fields: list[Field], scope: str, shown: str, indent: str, suffix: str
    ) -> tuple[str, PbField, str]:
        """A message of its own, called after the field."""
        own = f"{name}_{suffix}"
        body = self.message(own, f"{scope}.{own}", fields, f"{shown}.", indent + "  ")
        text = f"{indent}message {own} {{\n{body}{indent}}}\n"
        return own, pb_field(name, number, "message", type_name=f"{scope}.{own}"), text

    def _wrapped(
        self, name: str, number: int, t: Type, scope: str, shown: str, indent: str, label: str
    ) -> tuple[str, PbField, str]:
        kind, one, inner = self._own(name, number, [Field(VALUE, t)], scope, shown, indent, "Value")
        return f"{label}{kind}", pb_field(name, number, "message", True, type_name=one.type_name), inner

    def _map(self, name: str, number: int, t: Type, scope: str, shown: str, indent: str) -> tuple[str, PbField, str]:
        key, value = t.fields[0].type, t.fields[1].type
        if _SCALARS.get(key.kind) not in _KEYS or value.kind in ("ARRAY", "MAP"):
            fields = [Field("key", key), Field(VALUE, value)]
            kind, one, inner = self._own(name, number, fields, scope, shown, indent, "Entry")
            return f"repeated {kind}", pb_field(name, number, "message", True, type_name=one.type_name), inner
        if value.kind == "ROW":
            kind, made, inner = self._own(name, 2, list(value.fields), scope, shown, indent, "Row")
            one = pb_field(VALUE, 2, "message", type_name=made.type_name)
        else:
            kind, one, inner = self._single(VALUE, 2, value, scope, f"{shown}.value", indent)
        entry = f"{scope}.{name}Entry"
        key_kind = _SCALARS[key.kind]
        self.types.messages[entry] = Message(entry, True, {"key": pb_field("key", 1, key_kind), VALUE: one})
        made = pb_field(name, number, "message", True, type_name=entry)
        return f"map<{key_kind}, {kind}>", made, inner

    def _refused(self, shown: str, what: str, hint: str) -> NotSupported:
        return NotSupported(
            f"table {self.table}: column {shown} {what}",
            hint=f"{hint}; or options 'protobuf-confluent.descriptor-file' and '….message-class-name' say which message is written",
        )
