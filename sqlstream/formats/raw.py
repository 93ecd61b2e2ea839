"""Format 'raw': one column, whose bytes a message is: text in an encoding, or a number in so many bytes.

A message without a value is a row whose column is NULL, and an empty one an empty text. For messages only: in a file such
records would have no ends.
"""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sqlstream.contracts import ScanRequest, TableContext
from sqlstream.errors import InternalError, NotSupported, OptionError
from sqlstream.formats.base import Decoder, Encoder, Format
from sqlstream.formats.binary.messages import MessageDecoder
from sqlstream.formats.messages import MessageRecords, Records, Refused, Texts
from sqlstream.formats.readers import METADATA
from sqlstream.options import Option
from sqlstream.types import Type

BIG, LITTLE = "big-endian", "little-endian"
# How Java's DataOutput and ByteBuffer write numbers.
_NUMBERS = {
    "BOOLEAN": "i1",
    "TINYINT": "i1",
    "SMALLINT": "i2",
    "INT": "i4",
    "BIGINT": "i8",
    "FLOAT": "f4",
    "DOUBLE": "f8",
}
_BINARY = ("BINARY", "VARBINARY")


@dataclass(frozen=True)
class RawColumn:
    """The column of a table, and how its values are bytes. `charset`: Python's name of it."""

    name: str
    type: Type
    charset: str
    endianness: str

    @property
    def number(self) -> np.dtype[Any] | None:
        """Of numbers: how they lie in memory."""
        kind = _NUMBERS.get(self.type.kind)
        return None if kind is None else np.dtype((">" if self.endianness == BIG else "<") + kind)

    @property
    def is_utf8(self) -> bool:
        """Whether bytes are the text as Arrow has it."""
        return self.charset == "utf-8"


@dataclass(frozen=True)
class RawDecoder(MessageDecoder):
    """`wanted`: the column is read."""

    column: RawColumn
    wanted: bool

    def messages(self) -> MessageRecords:
        return self._records

    def _records(self, texts: Texts) -> Records:
        of = np.arange(len(texts))
        values, wrong = self._values(texts.array())
        if wrong:
            of = np.delete(of, [r.message for r in wrong])
            values = values.take(pa.array(of))
        if not self.wanted:
            return Records(pa.RecordBatch.from_arrays([pa.nulls(len(of), pa.int8())], names=["r0"]), of, wrong)
        return Records(pa.RecordBatch.from_arrays([values], names=["c0"]), of, wrong)

    def _values(self, data: pa.Array) -> tuple[pa.Array, list[Refused]]:
        """The values, those of malformed messages whatever they are, and which these are."""
        c = self.column
        t = c.type
        wrong = (
            []
            if t.nullable
            else [Refused(i, f"field {c.name} is NULL but its column is NOT NULL") for i in _nulls(data)]
        )
        if t.kind in _BINARY:
            return data.cast(t.arrow()), wrong
        if c.number is not None:
            return self._numbers(data, c.number, wrong)
        if c.is_utf8:
            try:
                return data.cast(pa.string()), wrong
            except pa.ArrowInvalid:
                pass  # which one, the next lines say
        texts: list[str | None] = []
        for i, value in enumerate(data.to_pylist()):
            try:
                texts.append(None if value is None else value.decode(c.charset))
            except UnicodeDecodeError as e:
                texts.append(None)
                wrong.append(Refused(i, f"field {c.name}: it is no text in {c.charset}: {e.reason} at byte {e.start}"))
        return pa.array(texts, pa.string()), sorted(wrong, key=lambda r: r.message)

    def _numbers(self, data: pa.Array, kind: np.dtype[Any], wrong: list[Refused]) -> tuple[pa.Array, list[Refused]]:
        t = self.column.type
        sizes = pc.fill_null(pc.binary_length(data), kind.itemsize).to_numpy()
        for i in np.flatnonzero(sizes != kind.itemsize).tolist():
            reason = f"field {self.column.name}: {sizes[i]} bytes are not a {t.text()}, which has {kind.itemsize}"
            wrong.append(Refused(i, reason))
        fine = pc.if_else(pa.array(sizes == kind.itemsize), data, b"\0" * kind.itemsize)
        filled = pc.fill_null(fine, b"\0" * kind.itemsize)
        joined = b"".join(filled.to_pylist())
        numbers = np.frombuffer(joined, kind).astype(kind.newbyteorder("="))
        mask = pc.is_null(data).to_numpy(zero_copy_only=False)
        made = numbers != 0 if t.kind == "BOOLEAN" else numbers
        return pa.array(made, t.arrow(), mask=mask), sorted(wrong, key=lambda r: r.message)


@dataclass(frozen=True)
class RawEncoder(Encoder):
    """Of one column."""

    column: RawColumn

    def messages(self, batch: pa.RecordBatch, kinds: np.ndarray | None) -> Texts:
        c = self.column
        values = batch.column(0)
        if c.type.kind in _BINARY:
            return Texts.of(values.to_pylist())
        if c.number is None:
            texts = values.to_pylist()
            return Texts.of([None if v is None else v.encode(c.charset, "replace") for v in texts])
        there = values.is_valid().to_numpy(zero_copy_only=False)
        numbers = pc.fill_null(values, False if c.type.kind == "BOOLEAN" else 0).to_numpy(zero_copy_only=False)
        data = np.ascontiguousarray(numbers.astype(c.number)).tobytes()
        size = c.number.itemsize
        return Texts.of([data[i * size : (i + 1) * size] if there[i] else None for i in range(len(values))])

    def encode(self, batch: pa.RecordBatch, kinds: np.ndarray | None) -> list[pa.Buffer]:
        raise InternalError("raw records have no ends")


class RawFormat(Format):
    """`'format' = 'raw'`: for values and keys of messages."""

    name = "raw"
    extension = "bin"
    files = False
    options = (
        Option("raw.charset", "string", "UTF-8", "the encoding of texts"),
        Option("raw.endianness", "enum", BIG, "how the bytes of numbers stand", (BIG, LITTLE)),
    )

    def decoder(self, table: TableContext, request: ScanRequest, options: Mapping[str, Any]) -> Decoder:
        wanted = any(c.path[0] != METADATA for c in request.columns)
        return RawDecoder(_column(table, options), wanted)

    def encoder(self, table: TableContext, options: Mapping[str, Any]) -> Encoder:
        return RawEncoder(_column(table, options))


def _column(table: TableContext, options: Mapping[str, Any]) -> RawColumn:
    if len(table.schema) != 1:
        there = ", ".join(table.schema.names) or "none"
        raise NotSupported(
            f"table {table.name}: format 'raw' is of one column, and there are {len(table.schema)} ({there})",
            hint="'value.fields-include' = 'EXCEPT_KEY' leaves the key's columns out of values; METADATA columns do not count",
        )
    (column,) = table.schema
    if column.type.kind not in _NUMBERS and not column.type.is_string and column.type.kind not in _BINARY:
        raise NotSupported(
            f"table {table.name}: format 'raw' has no form for {column.type.text()} (column {column.name})",
            hint="STRING, BYTES, BOOLEAN and numbers but DECIMAL have one",
        )
    try:
        charset = codecs.lookup(options["raw.charset"]).name
    except LookupError:
        raise OptionError(
            f"table {table.name}: option 'raw.charset': there is no encoding '{options['raw.charset']}'",
            subject=options["raw.charset"],
        ) from None
    return RawColumn(column.name, column.type, charset, options["raw.endianness"])


def _nulls(data: pa.Array) -> list[int]:
    found: list[int] = np.flatnonzero(pc.is_null(data).to_numpy(zero_copy_only=False)).tolist()
    return found
