"""Format 'avro': records of the schema that Flink makes of the table (`flink.py`). Messages are such, binary and without it; files
are containers that have it, and are read by the schema that they have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import duckdb
import numpy as np
import pyarrow as pa

from sqlstream.contracts import ScanRequest, TableContext
from sqlstream.errors import NotSupported
from sqlstream.formats.avro import container
from sqlstream.formats.avro.columns import columns_of
from sqlstream.formats.avro.decoder import RecordReader, Wants
from sqlstream.formats.avro.encode_program import EncodeProgram
from sqlstream.formats.avro.encoder import RecordWriter
from sqlstream.formats.avro.flink import schema_of, text_of
from sqlstream.formats.avro.schema import Node, parse
from sqlstream.formats.base import Decoder, Encoder, Format, Packed, Part, Sample
from sqlstream.formats.binary.messages import MessageDecoder, MessageEncoder, records_of
from sqlstream.formats.json import with_derived
from sqlstream.formats.messages import MessageRecords, Records, Refused, Texts
from sqlstream.formats.readers import METADATA
from sqlstream.options import Option
from sqlstream.types import Type

BINARY, JSON = "binary", "json"


def wants_of(request: ScanRequest) -> Wants:
    """The columns of a request that stand in messages."""
    return Wants.of([c for c in request.columns if c.path[0] != METADATA])


@dataclass(frozen=True)
class AvroDecoder(MessageDecoder):
    """`legacy`: the form of times that the table's messages have, whose schema is not with them."""

    table: TableContext
    request: ScanRequest
    legacy: bool
    blocks = False
    packs = True

    @property
    def statement(self) -> bool:
        return False

    @cached_property
    def _reader(self) -> RecordReader:
        schema = parse(text_of(schema_of(self.table.schema, self.legacy, self.table.name)))
        return RecordReader(schema, wants_of(self.request))

    def messages(self) -> MessageRecords:
        return self._records

    def _records(self, texts: Texts) -> Records:
        given = texts.given
        arrays, rows, reasons = self._reader.read(texts.buffer, *texts.places())
        return records_of(arrays, given[rows], [Refused(int(given[i]), r) for i, r in reasons.items()])

    def is_whole(self, file: Any) -> bool:
        return container.is_whole(file)

    def packed(self, file: Any, begin: int) -> Iterator[Packed]:
        file.seek(0)
        header = container.read_header(file)
        return container.read_blocks(file, header, begin, RecordReader(header.schema, wants_of(self.request)))

    def rows(self, records: str, constants: Mapping[str, str]) -> str:
        columns = [
            f"{constants[c.path[1]]} AS c{i}" if c.path[0] == METADATA else f"c{i}"
            for i, c in enumerate(self.request.columns)
        ]
        return with_derived(f"SELECT {', '.join(columns) or '1 AS one'} FROM {records}", self.request)


@dataclass(frozen=True)
class AvroEncoder(MessageEncoder):
    """`schema`: that records are written by, as text; `codec`: how files are compressed."""

    table: TableContext
    schema: str
    codec: str

    @cached_property
    def _writer(self) -> RecordWriter:
        return RecordWriter(program(parse(self.schema), self.table), self.table.name)

    def messages(self, batch: pa.RecordBatch, kinds: np.ndarray | None) -> Texts:
        return self._writer.texts(batch.columns, batch.num_rows)

    def part(self, file: IO[bytes]) -> Part:
        return container.AvroPart(file, self.schema, self.codec, self._writer)


def program(node: Node, table: TableContext, prefix: bytes = b"") -> EncodeProgram:
    """How the table's rows are written by a schema, behind some bytes. Unfit where they are not of it."""
    made = EncodeProgram()
    made.literal(prefix)
    made.root(node, table.schema)
    return made


class AvroFormat(Format):
    """`'format' = 'avro'`, of messages and of files."""

    name = "avro"
    extension = "avro"
    blocks = False
    text = False
    options = (
        Option("avro.encoding", "enum", BINARY, "how records are written; json is not there", (BINARY, JSON)),
        Option("avro.timestamp_mapping.legacy", "bool", True,
               "true: TIMESTAMP is timestamp-millis, and TIMESTAMP_LTZ has no form, as in Flink before 1.19; false: TIMESTAMP is "
               "local-timestamp-millis or -micros, TIMESTAMP_LTZ timestamp-millis or -micros"),
        Option("avro.codec", "enum", "snappy", "how the blocks of files are compressed that are written; of messages none is", tuple(container.CODECS),
               compared="nothing"),
        Option("avro.open.fastread", "bool", False, "no effect: records are read by compiled loops anyway"),
    )  # fmt: skip

    def check(self, table: TableContext, options: Mapping[str, Any]) -> None:
        _schema(table, options)

    def decoder(self, table: TableContext, request: ScanRequest, options: Mapping[str, Any]) -> Decoder:
        _check_encoding(table, options)
        return AvroDecoder(table, request, options["avro.timestamp_mapping.legacy"])

    def encoder(self, table: TableContext, options: Mapping[str, Any]) -> Encoder:
        return AvroEncoder(table, _schema(table, options), options["avro.codec"])

    def beginning(self, file: Any, target: str) -> None:
        """The header alone, which says all."""
        size = container.read_header(file).size
        file.seek(0)
        Path(target).write_bytes(file.read(size))

    def infer(
        self, cursor: duckdb.DuckDBPyConnection, sample: Sample, options: Mapping[str, Any]
    ) -> list[tuple[str, Type]]:
        with open(sample.paths[0], "rb") as file:
            schema = container.read_header(file).schema
        return columns_of(schema)


def _check_encoding(table: TableContext, options: Mapping[str, Any]) -> None:
    if options["avro.encoding"] == JSON:
        raise NotSupported(
            f"table {table.name}: option 'avro.encoding' = 'json': Avro's records as JSON are not there",
            hint="leave it out: they are binary; format 'json' is plain JSON",
        )


def _schema(table: TableContext, options: Mapping[str, Any]) -> str:
    _check_encoding(table, options)
    return text_of(schema_of(table.schema, options["avro.timestamp_mapping.legacy"], table.name))
