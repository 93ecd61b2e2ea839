"""Schemas of Protobuf as registries have them: a file of types, and the files that it imports.

Confluent's says a file as a FileDescriptorProto where it is asked to (`format=serialized`), in base64. What others have is the text of the
file, which protoc compiles where there is one: of the package grpcio-tools, or the system's.
"""

from __future__ import annotations

import base64
import binascii
import importlib
import importlib.util
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from sqlstream.distribution import install
from sqlstream.errors import OptionError
from sqlstream.formats.confluent.client import PROTOBUF, Found, Registry
from sqlstream.formats.confluent.proto_known import BUILT_IN
from sqlstream.formats.confluent.readers import Unreadable
from sqlstream.formats.confluent.writing import Import
from sqlstream.formats.protobuf.descriptors import Message, Types, parsed

SERIALIZED = "serialized"
_NAME = re.compile(r"\w[\w./+-]*")  # of a file
MAIN = "sqlstream-main.proto"  # what the schema is called that imports others
# Files of Google's that the package protobuf has, and those that are built in beside them: protoc has to be told of these.
_GOOGLES = (
    "any", "api", "descriptor", "duration", "empty", "field_mask", "source_context", "struct", "timestamp", "type", "wrappers",
)  # fmt: skip
_TEXTS = {
    "confluent/type/decimal.proto": 'syntax = "proto3"; package confluent.type; '
    "message Decimal { bytes value = 1; uint32 precision = 2; int32 scale = 3; }",
    "confluent/meta.proto": 'syntax = "proto3"; package confluent; import "google/protobuf/descriptor.proto"; '
    "message Meta { string doc = 1; map<string, string> params = 2; repeated string tags = 3; } "
    "extend google.protobuf.FileOptions { Meta file_meta = 1088; } extend google.protobuf.MessageOptions { Meta message_meta = 1088; } "
    "extend google.protobuf.FieldOptions { Meta field_meta = 1088; } extend google.protobuf.EnumOptions { Meta enum_meta = 1088; } "
    "extend google.protobuf.EnumValueOptions { Meta enum_value_meta = 1088; }",
    "google/type/date.proto": 'syntax = "proto3"; package google.type; message Date { int32 year = 1; int32 month = 2; int32 day = 3; }',
    "google/type/timeofday.proto": 'syntax = "proto3"; package google.type; '
    "message TimeOfDay { int32 hours = 1; int32 minutes = 2; int32 seconds = 3; int32 nanos = 4; }",
}


def needed(table: str, name: str) -> None:
    """OptionError where a package is not installed that reading takes."""
    try:
        importlib.import_module("google.protobuf.descriptor_pb2")
    except ImportError as e:
        raise OptionError(
            f"table {table}: format '{name}' needs a package that is not installed: {e}", hint=install("protobuf")
        ) from None


@dataclass(frozen=True)
class Schema:
    """`file`: a FileDescriptorProto, whose messages records name by their places; `types`: these, and what it imports."""

    file: Any
    types: Types

    def message(self, path: Sequence[int]) -> Message:
        """By its place. Unreadable."""
        messages, name = self.file.message_type, self.file.package
        for n in path:
            if n >= len(messages):
                raise Unreadable(f"it has no message at {'.'.join(map(str, path))}")
            name = _joined(name, messages[n].name)
            messages = messages[n].nested_type
        return self.types.messages[name]


def schema_of(registry: Registry, number: int) -> Schema:
    """A schema that the registry has. UnknownSchema, RegistryError, Unreadable."""
    sources: dict[str, str] = {}
    main = registry.schema(number, PROTOBUF, SERIALIZED)
    _gather(registry, main, sources)
    return _compiled(main.text, tuple(sources.items()))


def _gather(registry: Registry, found: Found, sources: dict[str, str]) -> None:
    """The sources of what a schema imports, by their names."""
    for r in found.references:
        if r.name not in sources:
            imported = registry.version(r, PROTOBUF, SERIALIZED)
            sources[r.name] = imported.text
            _gather(registry, imported, sources)


@lru_cache(maxsize=64)
def _compiled(main: str, imported: tuple[tuple[str, str], ...]) -> Schema:
    """Unreadable."""
    from google.protobuf import descriptor_pb2

    files, sources = descriptor_pb2.FileDescriptorSet(), {**dict(imported), MAIN: main}
    descriptors = {name: _descriptor(text, name) for name, text in sources.items()}
    texts = {name: sources[name] for name, d in descriptors.items() if d is None}
    if texts:
        known = [d for d in descriptors.values() if d is not None]
        descriptors |= {f.name: f for f in _by_protoc(texts, known)}
    _add_known(descriptors)
    _resolve(list(descriptors.values()))
    files.file.extend(descriptors.values())
    return Schema(descriptors[MAIN], parsed(files.SerializeToString()))


def _descriptor(text: str, name: str) -> Any:
    """What base64 says; None where it is none."""
    from google.protobuf import descriptor_pb2
    from google.protobuf.message import DecodeError

    try:
        found = descriptor_pb2.FileDescriptorProto.FromString(base64.b64decode(text, validate=True))
    except (binascii.Error, DecodeError, ValueError):
        return None
    found.name = name
    return found


def _by_protoc(texts: dict[str, str], known: list[Any]) -> list[Any]:
    """FileDescriptorProtos of files, by their names, and of what they import. `known`: of others. Unreadable."""
    from google.protobuf import descriptor_pb2

    command = _protoc()
    made = descriptor_pb2.FileDescriptorSet(file=[*known, *(_googles(f"google/protobuf/{n}.proto") for n in _GOOGLES)])
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory).resolve()
        for name, text in {**_TEXTS, **texts}.items():
            path = root / name
            if not _NAME.fullmatch(name) or ".." in path.parts:
                raise Unreadable(f"it imports '{name}', which is no name of a file")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
        given, out = root / "known.desc", root / "out.desc"
        given.write_bytes(made.SerializeToString())
        arguments = [f"-I{root}", f"--descriptor_set_in={given}", "--include_imports", f"--descriptor_set_out={out}"]
        paths = [str(root / name) for name in texts]
        done = subprocess.run([*command, *arguments, *paths], capture_output=True, text=True, check=False)
        if done.returncode:
            said = " ".join(done.stderr.replace(f"{root}/", "").split())
            raise Unreadable(f"protoc does not understand it: {said}")
        return list(descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes()).file)


def _protoc() -> list[str]:
    """The command. Unreadable: there is none."""
    if importlib.util.find_spec("grpc_tools") is not None:
        return [sys.executable, "-m", "grpc_tools.protoc"]
    if (found := shutil.which("protoc")) is not None:
        return [found]
    raise Unreadable(
        f"the registry has it as text, and there is no protoc here that compiles it: {install('protoc')} brings one"
    )


def _googles(name: str) -> Any:
    """A file of an installed package. ImportError."""
    from google.protobuf import descriptor_pb2

    module = importlib.import_module(f"{name.removesuffix('.proto').replace('/', '.')}_pb2")
    return descriptor_pb2.FileDescriptorProto.FromString(module.DESCRIPTOR.serialized_pb)


def _add_known(descriptors: dict[str, Any]) -> None:
    """What is imported and built in, of the package protobuf and of those that are installed beside it."""
    wanted = [d for f in descriptors.values() for d in f.dependency]
    while wanted:
        name = wanted.pop()
        if name in descriptors or not name.startswith(BUILT_IN[:2]):
            continue
        try:
            made = _googles(name)
        except ImportError:
            continue  # a column of such a type says that it is not there
        descriptors[name] = made
        wanted += made.dependency


def _resolve(files: list[Any]) -> None:
    """Says the types of fields by their whole names, and what they are: Confluent's registry says them as they stand in the text."""
    scopes = [(name, m) for f in files for name, m in _within(f.package, f.message_type)]
    messages = {name for name, _ in scopes}
    enums = {f"{name}.{e.name}" for name, m in scopes for e in m.enum_type}
    enums |= {_joined(f.package, e.name) for f in files for e in f.enum_type}
    known = messages | enums
    for scope, message in scopes:
        for field in message.field:
            if field.type_name:
                found = _found(field.type_name, scope, known) or field.type_name.lstrip(".")
                field.type_name = f".{found}"
                if not field.HasField("type"):
                    field.type = field.TYPE_ENUM if found in enums else field.TYPE_MESSAGE


def _within(scope: str, messages: Any) -> Iterator[tuple[str, Any]]:
    for m in messages:
        name = _joined(scope, m.name)
        yield name, m
        yield from _within(name, m.nested_type)


def _found(name: str, scope: str, known: set[str]) -> str | None:
    """A name as it is meant in a scope: in the innermost one that has it."""
    if name.startswith("."):
        return name[1:]
    parts = scope.split(".") if scope else []
    return next((x for i in range(len(parts), -1, -1) if (x := ".".join([*parts[:i], name])) in known), None)


def _joined(scope: str, name: str) -> str:
    return f"{scope}.{name}" if scope else name


# ---- the way back


def text_of(file: Any) -> str:
    """As Confluent's clients register a file."""
    return base64.b64encode(file.SerializeToString()).decode()


def imports_of(file: Any, files: dict[str, Any]) -> tuple[Import, ...]:
    """What a file imports that registries have to be told of. `files`: all that there are, by name. KeyError: one is not there."""
    return tuple(
        Import(name, text_of(files[name]), imports_of(files[name], files))
        for name in file.dependency
        if not name.startswith(BUILT_IN)
    )
