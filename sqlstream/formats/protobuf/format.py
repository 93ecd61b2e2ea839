"""Format 'protobuf': messages of Protocol Buffers, whose types a descriptor file has.

Flink has Java classes of them; here `protobuf.descriptor-file` names what protoc writes of the same .proto files, and
`protobuf.message-class-name` is the message's name, or that of its Java class.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sqlstream.contracts import ScanColumn, ScanRequest, TableContext
from sqlstream.errors import OptionError
from sqlstream.formats.base import Decoder, Encoder, Format
from sqlstream.formats.binary.messages import MessageDecoder, MessageEncoder, records_of
from sqlstream.formats.messages import MessageRecords, Records, Refused, Texts
from sqlstream.formats.protobuf.decoder import MessageReader
from sqlstream.formats.protobuf.descriptors import load, unknown
from sqlstream.formats.protobuf.encoder import MessageWriter
from sqlstream.formats.protobuf.shape import Shape, shape_of
from sqlstream.formats.readers import METADATA
from sqlstream.options import Option
from sqlstream.types import Schema, Type


@dataclass(frozen=True)
class ProtobufDecoder(MessageDecoder):
    """`columns`: those of the table that are read, whole; `wanted`: what is asked for of them. `shape`: theirs."""

    shape: Shape
    columns: Schema
    wanted: tuple[ScanColumn, ...]
    defaults: bool

    @cached_property
    def _reader(self) -> MessageReader:
        return MessageReader(self.shape, self.defaults)

    def messages(self) -> MessageRecords:
        return self._records

    def _records(self, texts: Texts) -> Records:
        given = texts.given  # one without a byte is a message: all of it has its defaults
        arrays, rows, reasons = self._reader.read(texts.buffer, *texts.places())
        refused = [Refused(int(given[i]), r) for i, r in reasons.items()]
        return rows_of(self.columns, self.wanted, arrays, given[rows], refused)


def columns_of(columns: Schema, request: ScanRequest) -> tuple[Schema, tuple[ScanColumn, ...]]:
    """Which columns of a table have to be read, whole, for a request, and what of messages it wants."""
    wanted = tuple(c for c in request.columns if c.path[0] != METADATA)
    names = {c.path[0] for c in wanted}
    return Schema(tuple(c for c in columns if c.name in names or not c.type.nullable)), wanted


def rows_of(
    columns: Schema, wanted: tuple[ScanColumn, ...], arrays: list[pa.Array], of: np.ndarray, refused: list[Refused]
) -> Records:
    """What is wanted of columns that were read from messages `of`; those with a NULL that may be none are malformed."""
    for c, a in zip(columns, arrays, strict=True):
        if not c.type.nullable and a.null_count:
            keep = a.is_valid()
            reason = f"field {c.name} is NULL but its column is NOT NULL"
            refused = [*refused, *(Refused(int(m), reason) for m in of[~keep.to_numpy(zero_copy_only=False)])]
            of, arrays = of[keep.to_numpy(zero_copy_only=False)], [x.filter(keep) for x in arrays]
    found = {c.name: (a, c.type) for c, a in zip(columns, arrays, strict=True)}
    made = [_at(*found[c.path[0]], c.path[1:]) for c in wanted]
    return records_of(made, of, sorted(refused, key=lambda r: r.message))


def _at(array: pa.Array, t: Type, path: tuple[str, ...]) -> pa.Array:
    """A field within rows, NULL where one of these is."""
    for name in path:
        i = [f.name for f in t.fields].index(name)
        there, array, t = array.is_valid(), pc.struct_field(array, i), t.fields[i].type
        array = pc.if_else(there, array, pa.scalar(None, array.type))
    return array


@dataclass(frozen=True)
class ProtobufEncoder(MessageEncoder):
    """`null`: what a text in a list or map is that is NULL."""

    shape: Shape
    null: str
    table: str

    @cached_property
    def _writer(self) -> MessageWriter:
        return MessageWriter(self.shape, self.null, self.table)

    def messages(self, batch: pa.RecordBatch, kinds: np.ndarray | None) -> Texts:
        return self._writer.texts(batch.columns, batch.num_rows)


class ProtobufFormat(Format):
    """`'format' = 'protobuf'`: append-only, for reading and writing messages."""

    name = "protobuf"
    extension = "pb"
    files = False
    text = False
    options = (
        Option("protobuf.message-class-name", required=True, doc="the message: package.Message, or the name of its Java class"),
        Option("protobuf.descriptor-file", "path", required=True,
               doc="the types, as protoc --include_imports --descriptor_set_out writes them"),
        Option("protobuf.ignore-parse-errors", "bool", False, "skip malformed messages (and count them) instead of failing",
               compared="nothing"),
        Option("protobuf.read-default-values", "bool", False,
               "whether what a message has not is read as the default instead of NULL; what is no message and not repeated is in proto3 "
               "always read so"),
        Option("protobuf.write-null-string-literal", "string", "", "what is written for a text in an ARRAY or MAP that is NULL"),
    )  # fmt: skip

    def check(self, table: TableContext, options: Mapping[str, Any]) -> None:
        _shape(table, options, table.schema)

    def decoder(self, table: TableContext, request: ScanRequest, options: Mapping[str, Any]) -> Decoder:
        columns, wanted = columns_of(table.schema, request)
        shape = _shape(table, options, columns)
        return ProtobufDecoder(shape, columns, wanted, options["protobuf.read-default-values"])

    def encoder(self, table: TableContext, options: Mapping[str, Any]) -> Encoder:
        null = options["protobuf.write-null-string-literal"]
        return ProtobufEncoder(_shape(table, options, table.schema), null, table.name)


def _shape(table: TableContext, options: Mapping[str, Any], columns: Schema) -> Shape:
    """OptionError, BindError, NotSupported."""
    where, name = f"table {table.name}: option 'protobuf", options["protobuf.message-class-name"]
    path = Path(table.working_directory) / options["protobuf.descriptor-file"]
    types = load(path, f"{where}.descriptor-file'")
    message = types.named(name)
    if message is None:
        raise OptionError(
            f"{where}.message-class-name': {path} has no message '{name}'", hint=unknown(name, types), subject=name
        )
    return shape_of(message, columns, types, table.name)
