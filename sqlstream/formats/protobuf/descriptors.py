"""Descriptor files: the types of messages, as protoc writes them (`--descriptor_set_out`, with `--include_imports`)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from sqlstream.distribution import install
from sqlstream.errors import OptionError, did_you_mean

# Of FieldDescriptorProto.Type, by number.
KINDS = {
    1: "double", 2: "float", 3: "int64", 4: "uint64", 5: "int32", 6: "fixed64", 7: "fixed32", 8: "bool", 9: "string", 10: "group",
    11: "message", 12: "bytes", 13: "uint32", 14: "enum", 15: "sfixed32", 16: "sfixed64", 17: "sint32", 18: "sint64",
}  # fmt: skip
_REPEATED, _REQUIRED = 3, 2
_IMPLICIT, _EXPANDED, _LEGACY_REQUIRED, _CLOSED, _UNVERIFIED = 2, 2, 3, 2, 3  # features of editions


@dataclass(frozen=True)
class EnumType:
    """Names and numbers; `is_open`: another number than these may come."""

    names: tuple[str, ...]
    numbers: tuple[int, ...]
    is_open: bool


@dataclass
class PbField:
    """A field. `kind`: of KINDS; `has_presence`: whether a value that is the default is told from none; `proto3`: as its file says;
    `verified`: a string that is no UTF-8 makes the message malformed, as Java has it; else it is read with replacement characters."""

    name: str
    number: int
    kind: str
    repeated: bool
    packed: bool
    required: bool
    has_presence: bool
    proto3: bool
    default: str
    verified: bool = False
    enum: EnumType | None = None
    type_name: str = ""


@dataclass
class Message:
    """A type of messages. `is_map`: its messages are entries of a map."""

    name: str
    is_map: bool
    fields: dict[str, PbField] = field(default_factory=dict)


@dataclass
class Types:
    """All of a descriptor file, by their full names; `java`: these by the names of Java's classes."""

    messages: dict[str, Message] = field(default_factory=dict)
    enums: dict[str, EnumType] = field(default_factory=dict)
    java: dict[str, str] = field(default_factory=dict)

    def named(self, name: str) -> Message | None:
        """A message type, by its name or that of its class."""
        return self.messages.get(name) or self.messages.get(self.java.get(name, ""))


@lru_cache(maxsize=16)
def parsed(data: bytes) -> Types:
    """Of a FileDescriptorSet. DecodeError."""
    from google.protobuf import descriptor_pb2

    files = descriptor_pb2.FileDescriptorSet.FromString(data)
    types = Types()
    parts = [(f, m, name) for f in files.file for m, name in _nested(f)]
    for f, m, name in parts:
        types.java[_java_name(f, name)] = name
        for e in m.enum_type:
            types.enums[f"{name}.{e.name}"] = _enum(f, e)
    for f in files.file:
        for e in f.enum_type:
            types.enums[f"{f.package}.{e.name}".lstrip(".")] = _enum(f, e)
    for f, m, name in parts:
        made = types.messages[name] = Message(name, m.options.map_entry)
        for d in m.field:
            made.fields[d.name] = _field(f, d, types)
    return types


def load(path: Path, where: str) -> Types:
    """OptionError, which begins with `where`."""
    try:
        from google.protobuf.message import DecodeError
    except ImportError:
        raise OptionError(f"{where}: format 'protobuf' needs the package protobuf", hint=install("protobuf")) from None
    how = "protoc --include_imports --descriptor_set_out=….desc ….proto makes one"
    try:
        found = parsed(path.read_bytes())
    except OSError as e:
        raise OptionError(f"{where}: {path} cannot be read: {e.strerror}", hint=how) from None
    except DecodeError:
        raise OptionError(f"{where}: {path} is no descriptor file", hint=how) from None
    if not found.messages:
        raise OptionError(f"{where}: {path} has no messages", hint=how)
    return found


def files_of(path: Path) -> dict[str, Any]:
    """The FileDescriptorProtos of a descriptor file that was loaded, by their names."""
    from google.protobuf import descriptor_pb2

    return {f.name: f for f in descriptor_pb2.FileDescriptorSet.FromString(path.read_bytes()).file}


def unknown(name: str, types: Types) -> str:
    """A hint for a name that is no message's."""
    return did_you_mean(name, (n for n, m in types.messages.items() if not m.is_map), "messages")


def _nested(f: Any) -> Iterator[tuple[Any, str]]:
    def within(messages: Any, scope: str) -> Iterator[tuple[Any, str]]:
        for m in messages:
            name = f"{scope}.{m.name}".lstrip(".")
            yield m, name
            yield from within(m.nested_type, name)

    yield from within(f.message_type, f.package)


def _java_name(f: Any, name: str) -> str:
    """Of the class that protoc makes of a message."""
    inner = name[len(f.package) :].lstrip(".").replace(".", "$")
    package = f.options.java_package or f.package
    outer = f.options.java_outer_classname
    if not outer:
        words = Path(f.name).stem.replace("-", "_").split("_")
        outer = "".join(w[:1].upper() + w[1:] for w in words)
        if outer in {x.name for x in (*f.message_type, *f.enum_type, *f.service)}:
            outer += "OuterClass"
    path = inner if f.options.java_multiple_files else f"{outer}${inner}"
    return f"{package}.{path}".lstrip(".")


def _enum(f: Any, e: Any) -> EnumType:
    closed = e.options.features.enum_type == _CLOSED if f.syntax == "editions" else f.syntax != "proto3"
    return EnumType(tuple(v.name for v in e.value), tuple(v.number for v in e.value), not closed)


def _field(f: Any, d: Any, types: Types) -> PbField:
    proto3, edition = f.syntax == "proto3", f.syntax == "editions"
    kind = KINDS[d.type]
    features = d.options.features if edition else None
    required = d.label == _REQUIRED or features is not None and features.field_presence == _LEGACY_REQUIRED
    implicit = proto3 and not d.proto3_optional and not d.HasField("oneof_index")
    implicit = implicit or features is not None and features.field_presence == _IMPLICIT
    packed = proto3 or features is not None and features.repeated_field_encoding != _EXPANDED
    if d.options.HasField("packed"):
        packed = d.options.packed
    verified = proto3 or features is not None and features.utf8_validation != _UNVERIFIED
    type_name = d.type_name.lstrip(".")
    return PbField(
        d.name, d.number, kind, d.label == _REPEATED, packed and kind not in ("string", "bytes", "message", "group"), required,
        not implicit or kind == "message", proto3, d.default_value, verified, types.enums.get(type_name), type_name,
    )  # fmt: skip
