"""Format 'protobuf-confluent': messages of Protocol Buffers, each behind the number of its schema and its place in that.

Messages are read by the schemas that they name, field by field into the table's columns (`proto_columns.py`). Rows are written by a
message of the table's columns, or one of a descriptor file, whose file is registered under the subject.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from sqlstream.contracts import ScanColumn, ScanRequest, TableContext
from sqlstream.errors import BindError, OptionError
from sqlstream.formats.base import Decoder, Encoder, Format
from sqlstream.formats.binary.messages import MessageDecoder, MessageEncoder
from sqlstream.formats.confluent import proto_values
from sqlstream.formats.confluent.client import PROTOBUF, Registry
from sqlstream.formats.confluent.framing import PLACE, place, places
from sqlstream.formats.confluent.proto_columns import Fit, Unfit, fit
from sqlstream.formats.confluent.proto_derived import derived
from sqlstream.formats.confluent.proto_files import imports_of, needed, schema_of, text_of
from sqlstream.formats.confluent.readers import Framed, Readers, Unreadable, distinct
from sqlstream.formats.confluent.settings import SUBJECT, client_options, registry_of
from sqlstream.formats.confluent.writing import Import, Written, written_as
from sqlstream.formats.messages import MessageRecords, Records, Texts
from sqlstream.formats.protobuf.decoder import MessageReader
from sqlstream.formats.protobuf.descriptors import Message, Types, files_of, load, unknown
from sqlstream.formats.protobuf.encoder import MessageWriter
from sqlstream.formats.protobuf.format import columns_of, rows_of
from sqlstream.options import Option
from sqlstream.types import Schema

NAME = "protobuf-confluent"


class SchemaReader:
    """Of records of one message."""

    def __init__(self, found: Fit, columns: Schema) -> None:
        self._types, self._columns = found.types, columns
        self._reader = MessageReader(found.shape, defaults=False)

    def read(
        self, data: np.ndarray, begins: np.ndarray, sizes: np.ndarray
    ) -> tuple[list[pa.Array], np.ndarray, dict[int, str]]:
        """The columns of records that lie in `data` (uint8, padded), which of them are rows, and why others are malformed."""
        arrays, rows, reasons = self._reader.read(data, begins, sizes)
        bad = np.zeros(len(rows), np.bool_)
        made = []
        for a, given, c in zip(arrays, self._types, self._columns, strict=True):
            found, wrong = proto_values.read(a, given, c.type)
            made.append(found)
            if wrong is not None:
                reason = f"field {c.name}: a value is no {c.type.text()}"
                reasons = {**{i: reason for i in rows[wrong & ~bad].tolist()}, **reasons}
                bad |= wrong
        if bad.any():
            keep = pa.array(~bad)
            return [a.filter(keep) for a in made], rows[~bad], reasons
        return made, rows, reasons


class ProtobufReaders(Readers):
    """By the numbers of schemas, and the places of messages in them."""

    def __init__(self, registry: Registry, columns: Schema) -> None:
        super().__init__([c.type for c in columns])
        self._registry, self._columns = registry, columns

    def framed(self, texts: Texts) -> Framed:
        by_number = Framed.by_number(texts)
        good = np.flatnonzero(by_number.of >= 0)
        begins, sizes = by_number.begins.copy(), by_number.sizes.copy()
        path, paths, used = places(texts.buffer, begins[good], sizes[good])
        begins[good] += used
        sizes[good] -= used
        pairs = np.where(path < 0, -1, by_number.of[good] * len(paths) + path)
        found, of_good = distinct(pairs)
        none = int(len(found) > 0 and found[0] < 0)
        of = np.full(len(begins), -1, np.int64)
        of[good] = of_good - none
        keys = [(by_number.keys[n // len(paths)], paths[n % len(paths)]) for n in found[none:].tolist()]
        why = dict.fromkeys(good[path < 0].tolist(), PLACE)
        return Framed(keys, of, begins, sizes, {**by_number.why, **why})

    def reader(self, key: Hashable) -> SchemaReader:
        assert isinstance(key, tuple)
        number, path = key
        try:
            found = schema_of(self._registry, number)
            return SchemaReader(fit(found.message(path), self._columns, found.types, reading=True), self._columns)
        except (Unreadable, Unfit) as e:
            shown = f"schema {number} of the registry {self._registry.shown} cannot be read"
            raise Unreadable(f"{shown}: {e}") from None


@dataclass(frozen=True)
class ConfluentProtobufDecoder(MessageDecoder):
    """`columns`: those of the table that are read, whole; `wanted`: what is asked for of them."""

    registry: Registry
    columns: Schema
    wanted: tuple[ScanColumn, ...]

    @cached_property
    def _readers(self) -> ProtobufReaders:
        return ProtobufReaders(self.registry, self.columns)

    def messages(self) -> MessageRecords:
        return self._records

    def _records(self, texts: Texts) -> Records:
        return rows_of(self.columns, self.wanted, *self._readers.read(texts))


@dataclass(frozen=True)
class ConfluentProtobufEncoder(MessageEncoder):
    """`place`: of the message in its schema. `null`: what a text in a list or map is that is NULL. The registry is asked with the first
    rows."""

    table: TableContext
    fit: Fit
    written: Written
    place: bytes
    null: str
    kept: dict[str, MessageWriter] = field(default_factory=dict, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "kept": {}}

    def messages(self, batch: pa.RecordBatch, kinds: np.ndarray | None) -> Texts:
        if not self.kept:
            before = self.written.prefix + self.place
            self.kept["writer"] = MessageWriter(self.fit.shape, self.null, self.table.name, before)
        columns = zip(batch.columns, self.table.schema, self.fit.types, strict=True)
        arrays = [proto_values.write(a, c.type, t) for a, c, t in columns]
        return self.kept["writer"].texts(arrays, batch.num_rows)


class ConfluentProtobufFormat(Format):
    """`'format' = 'protobuf-confluent'`: append-only, for reading and writing messages."""

    name = NAME
    extension = "pb"
    files = False
    text = False
    registers = True
    options = (
        Option(f"{NAME}.url", required=True, doc="where the schema registry is; several with ',' between", compared="nothing"),
        Option(f"{NAME}.subject", doc=SUBJECT),
        Option(f"{NAME}.message-class-name", doc="the message that a table is written as: package.Message, or the name of its Java class; where it is not said one of "
               "the table's columns"),
        Option(f"{NAME}.descriptor-file", "path", doc="the types of that message, as protoc --include_imports --descriptor_set_out writes them"),
        Option(f"{NAME}.write-null-string-literal", "string", "", "what is written for a text in an ARRAY or MAP that is NULL"),
        Option(f"{NAME}.ignore-parse-errors", "bool", False, "skip malformed messages (and count them) instead of failing",
               compared="nothing"),
        *client_options(NAME),
    )  # fmt: skip

    def check(self, table: TableContext, options: Mapping[str, Any]) -> None:
        registry_of(NAME, table.name, options, table.working_directory)
        both = {k: options[k] for k in (f"{NAME}.message-class-name", f"{NAME}.descriptor-file")}
        given = [k for k, v in both.items() if v is not None]
        if len(given) == 1:
            (missing,) = both.keys() - given
            raise OptionError(
                f"table {table.name}: option '{given[0]}' without '{missing}'",
                hint="both say what a table is written as; messages that are read name their own schemas",
            )
        if given:
            _chosen(table, options)

    def decoder(self, table: TableContext, request: ScanRequest, options: Mapping[str, Any]) -> Decoder:
        needed(table.name, NAME)
        columns, wanted = columns_of(table.schema, request)
        registry = registry_of(NAME, table.name, options, table.working_directory)
        return ConfluentProtobufDecoder(registry, columns, wanted)

    def encoder(self, table: TableContext, options: Mapping[str, Any]) -> Encoder:
        chosen = _derived(table) if options[f"{NAME}.message-class-name"] is None else _chosen(table, options)
        try:
            found = fit(chosen.message, table.schema, chosen.types, reading=False)
        except Unfit as e:
            raise BindError(f"table {table.name}: {e}", hint=e.hint) from None
        written = written_as(NAME, table, options, chosen.schema, PROTOBUF, chosen.imports)
        null = options[f"{NAME}.write-null-string-literal"]
        return ConfluentProtobufEncoder(table, found, written, place(chosen.path), null)


@dataclass(frozen=True)
class _Chosen:
    """The message that is written. `schema`: the file that it is in, where it is at `path`; `imports`: of that."""

    message: Message
    types: Types
    schema: str
    path: tuple[int, ...] = (0,)
    imports: tuple[Import, ...] = ()


def _derived(table: TableContext) -> _Chosen:
    """Of the columns. NotSupported."""
    made = derived(table.schema, table.name)
    return _Chosen(made.message, made.types, made.text)


def _chosen(table: TableContext, options: Mapping[str, Any]) -> _Chosen:
    """By the descriptor file. OptionError."""
    where, name = f"table {table.name}: option '{NAME}", options[f"{NAME}.message-class-name"]
    path = Path(table.working_directory) / options[f"{NAME}.descriptor-file"]
    types = load(path, f"{where}.descriptor-file'")
    message = types.named(name)
    if message is None:
        raise OptionError(
            f"{where}.message-class-name': {path} has no message '{name}'", hint=unknown(name, types), subject=name
        )
    files = files_of(path)
    file, at = next((f, at) for f in files.values() if (at := _place(f, message.name)))
    try:
        return _Chosen(message, types, text_of(file), at, imports_of(file, files))
    except KeyError as e:
        raise OptionError(
            f"{where}.descriptor-file': {path} has no file '{e.args[0]}', which others import",
            hint="protoc --include_imports adds it",
        ) from None


def _place(file: Any, name: str) -> tuple[int, ...]:
    """Of a message in a file; () where it is in another one."""

    def within(messages: Any, scope: str) -> tuple[int, ...]:
        for i, m in enumerate(messages):
            full = f"{scope}.{m.name}".lstrip(".")
            if full == name:
                return (i,)
            if found := within(m.nested_type, full):
                return (i, *found)
        return ()

    return within(file.message_type, file.package)
