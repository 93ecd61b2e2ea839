"""Format 'avro-confluent': Avro records, each behind the number of the schema that it was written by.

Messages are read by the schemas that they name, field by field into the table's columns; those of one schema at a time. Rows are written
by Flink's schema of the table, or by the one that is given, which is registered under the subject.
"""

from __future__ import annotations

from collections.abc import Mapping
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
from sqlstream.formats.avro.format import MessageDecoder, MessageEncoder, program, records_of, wants_of
from sqlstream.formats.avro.schema import SchemaError, parse
from sqlstream.formats.base import Decoder, Encoder, Format
from sqlstream.formats.confluent.client import Registry, UnknownSchema
from sqlstream.formats.confluent.framing import MAGIC, SHORT, numbers, prefix
from sqlstream.formats.confluent.settings import options_of, registry_of
from sqlstream.formats.messages import MessageRecords, Records, Refused, Texts

NULL_RECORD = "the record is null"


class Readers:
    """Readers of records by the numbers of their schemas. For one thread at a time."""

    def __init__(self, registry: Registry, wants: Wants) -> None:
        self._registry, self._wants = registry, wants
        self._known: dict[int, RecordReader | str] = {}

    def read(self, texts: Texts) -> tuple[list[pa.Array], np.ndarray, list[Refused]]:
        """The wanted columns of messages, which of them are rows, ascending, and which are malformed. RegistryError."""
        schemas, begins, sizes, first = numbers(texts)
        there = texts.there
        parts: list[list[pa.Array]] = []
        rows: list[np.ndarray] = []
        refused: list[Refused] = []
        for number in np.unique(schemas).tolist() or [-1]:
            mine = np.flatnonzero(schemas == number)
            reader = self._reader(number) if number >= 0 else ""
            if isinstance(reader, str):
                refused += [
                    Refused(int(there[i]), reader or (SHORT if first[i] == 0 else MAGIC)) for i in mine.tolist()
                ]
                continue
            arrays, good, reasons = reader.read(texts.buffer, begins[mine], sizes[mine])
            parts.append(arrays)
            rows.append(mine[good])
            refused += [Refused(int(there[mine[i]]), r) for i, r in reasons.items()]
        if len(rows) == 1:
            return parts[0], there[rows[0]], sorted(refused, key=lambda r: r.message)
        of = np.concatenate(rows) if rows else np.empty(0, np.int64)
        order = np.argsort(of, kind="stable")
        taken = pa.array(order)
        columns = [
            (pa.concat_arrays([p[i] for p in parts]).take(taken) if parts else pa.nulls(0, t.arrow()))
            for i, t in enumerate(self._wants.types)
        ]
        return columns, there[of[order]], sorted(refused, key=lambda r: r.message)

    def _reader(self, number: int) -> RecordReader | str:
        """Of a schema; why there is none."""
        if number not in self._known:
            try:
                self._known[number] = RecordReader(parse(self._registry.schema(number)), self._wants, NULL_RECORD)
            except UnknownSchema as e:
                return str(e)  # it may be registered in a moment
            except SchemaError as e:
                self._known[number] = f"schema {number} of the registry {self._registry.shown} cannot be read: {e}"
        return self._known[number]


@dataclass(frozen=True)
class ConfluentAvroDecoder(MessageDecoder):
    """By the registry's schemas."""

    registry: Registry
    wants: Wants

    @cached_property
    def _readers(self) -> Readers:
        return Readers(self.registry, self.wants)

    def messages(self) -> MessageRecords:
        return self._records

    def _records(self, texts: Texts) -> Records:
        return records_of(*self._readers.read(texts))


@dataclass(frozen=True)
class Written:
    """The schema that rows are written by, and where it is registered."""

    registry: Registry
    subject: str
    schema: str
    register: bool

    @cached_property
    def prefix(self) -> bytes:
        """What stands before each record. RegistryError."""
        return prefix(self.registry.number(self.subject, self.schema, self.register))

    def writer(self, table: TableContext) -> RecordWriter:
        """Of rows of a table that fit the schema."""
        return RecordWriter(program(parse(self.schema), table, self.prefix), table.name)


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
            self.kept["writer"] = self.written.writer(self.table)
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
    registry = registry_of(name, table.name, options, table.working_directory)
    subject = options[f"{name}.subject"]
    if not subject:
        raise OptionError(
            f"table {table.name}: option '{name}.subject' is missing",
            hint="under it the table's schema is registered: '<topic>-value'",
        )
    given = options[f"{name}.schema"]
    if given is not None:
        try:
            program(parse(given), checked)
        except (SchemaError, Unfit) as e:
            raise OptionError(
                f"table {table.name}: option '{name}.schema': {e}", hint="it has to be of the table's columns"
            ) from None
    return Written(registry, subject, given or derived, options[f"{name}.auto.register.schemas"])


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
