"""Format 'avro-confluent': Avro records, each behind the number of the schema that it was written by.

Messages are read by the schemas that they name, field by field into the table's columns; those of one schema at a time. Rows are written
by Flink's schema of the table, or by the one that is given, which is registered under the subject.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from sqlstream.contracts import ScanRequest, TableContext
from sqlstream.errors import OptionError
from sqlstream.formats.avro.decoder import RecordReader, Wants
from sqlstream.formats.avro.encode_program import Unfit
from sqlstream.formats.avro.encoder import RecordWriter
from sqlstream.formats.avro.flink import schema_of, text_of
from sqlstream.formats.avro.format import program, wants_of
from sqlstream.formats.avro.schema import SchemaError, parse
from sqlstream.formats.base import Decoder, Encoder, Format
from sqlstream.formats.binary.messages import MessageDecoder, MessageEncoder, records_of
from sqlstream.formats.confluent.client import Registry
from sqlstream.formats.confluent.readers import Readers, Unreadable
from sqlstream.formats.confluent.settings import options_of, registry_of
from sqlstream.formats.confluent.writing import Written, written_as
from sqlstream.formats.messages import MessageRecords, Records, Texts

NULL_RECORD = "the record is null"


class AvroReaders(Readers):
    """Of Avro's schemas."""

    def __init__(self, registry: Registry, wants: Wants) -> None:
        super().__init__(wants.types)
        self._registry, self._wants = registry, wants

    def reader(self, key: Hashable) -> RecordReader:
        assert isinstance(key, int)
        try:
            return RecordReader(parse(self._registry.schema(key).text), self._wants, NULL_RECORD)
        except SchemaError as e:
            raise Unreadable(f"schema {key} of the registry {self._registry.shown} cannot be read: {e}") from None


@dataclass(frozen=True)
class ConfluentAvroDecoder(MessageDecoder):
    """By the registry's schemas."""

    registry: Registry
    wants: Wants

    @cached_property
    def _readers(self) -> AvroReaders:
        return AvroReaders(self.registry, self.wants)

    def messages(self) -> MessageRecords:
        return self._records

    def _records(self, texts: Texts) -> Records:
        return records_of(*self._readers.read(texts))


def writer(written: Written, table: TableContext) -> RecordWriter:
    """Of rows of a table that fit the schema. RegistryError."""
    return RecordWriter(program(parse(written.schema), table, written.prefix), table.name)


@dataclass(frozen=True)
class ConfluentAvroEncoder(MessageEncoder):
    """By one schema. The registry is asked with the first rows."""

    table: TableContext
    written: Written
    kept: dict[str, RecordWriter] = field(default_factory=dict, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        return {"table": self.table, "written": self.written, "kept": {}}

    def messages(self, batch: pa.RecordBatch, kinds: np.ndarray | None) -> Texts:
        if not self.kept:
            self.kept["writer"] = writer(self.written, self.table)
        return self.kept["writer"].texts(batch.columns, batch.num_rows)


def check_options(name: str, table: TableContext, options: Mapping[str, Any]) -> None:
    """The registry's options, and that a schema that is given is one. OptionError, NotSupported."""
    registry_of(name, table.name, options, table.working_directory)
    try:
        parse(options[f"{name}.schema"] or '"null"')
    except SchemaError as e:
        raise OptionError(
            f"table {table.name}: option '{name}.schema': {e}", hint="a schema of Avro, as JSON"
        ) from None


def written_by(
    name: str, table: TableContext, options: Mapping[str, Any], derived: str, checked: TableContext
) -> Written:
    """The schema that is given, or `derived`, checked against the columns of `checked`. OptionError."""
    given = options[f"{name}.schema"]
    if given is not None:
        try:
            program(parse(given), checked)
        except (SchemaError, Unfit) as e:
            raise OptionError(
                f"table {table.name}: option '{name}.schema': {e}", hint="it has to be of the table's columns"
            ) from None
    return written_as(name, table, options, given or derived)


class ConfluentAvroFormat(Format):
    """`'format' = 'avro-confluent'`: append-only, for reading and writing messages."""

    name = "avro-confluent"
    extension = "avro"
    files = False
    text = False
    registers = True
    options = options_of("avro-confluent")

    def check(self, table: TableContext, options: Mapping[str, Any]) -> None:
        check_options(self.name, table, options)

    def decoder(self, table: TableContext, request: ScanRequest, options: Mapping[str, Any]) -> Decoder:
        return ConfluentAvroDecoder(
            registry_of(self.name, table.name, options, table.working_directory), wants_of(request)
        )

    def encoder(self, table: TableContext, options: Mapping[str, Any]) -> Encoder:
        # Flink's schema has no form for some types: the one that is given may have
        given = options["avro-confluent.schema"] is not None
        derived = "" if given else text_of(schema_of(table.schema, True, table.name))
        return ConfluentAvroEncoder(table, written_by(self.name, table, options, derived, table))
