"""Format 'json-confluent': objects of JSON, each behind the number of its schema, as Confluent's serializer of JSON Schema writes them.

Reading asks no registry: what stands behind the number says what it is, as in format 'json'. Rows are written as it writes them, by a
JSON Schema of the table's columns, or the one that is given, which is registered under the subject.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from sqlstream.contracts import ScanRequest, TableContext
from sqlstream.errors import InternalError, OptionError
from sqlstream.formats.base import Decoder, Encoder, Format
from sqlstream.formats.confluent.client import JSON
from sqlstream.formats.confluent.framing import MAGIC, SHORT, SIZE, framed, unframed
from sqlstream.formats.confluent.json_schema import Unfit, checked, schema_of, text_of
from sqlstream.formats.confluent.settings import SUBJECT, client_options, registry_of
from sqlstream.formats.confluent.writing import Written, written_as
from sqlstream.formats.json import JsonDecoder, encoder_of, options_of, records_of
from sqlstream.formats.json_encode import JsonEncoder
from sqlstream.formats.messages import Refused, Texts
from sqlstream.options import Option

NAME = "json-confluent"


@dataclass(frozen=True)
class ConfluentJsonDecoder(JsonDecoder):
    """Lines of JSON, once the numbers are gone."""

    def bare(self, texts: Texts) -> tuple[Texts, list[Refused]]:
        found, refused = unframed(texts)
        return found.unmarked(SIZE), refused

    def hint(self, reason: str) -> str | None:
        if reason in (MAGIC, SHORT):
            return "format 'json' reads messages without the number of a schema"
        return super().hint(reason)


@dataclass(frozen=True)
class ConfluentJsonEncoder(Encoder):
    """The registry is asked with the first rows."""

    lines: JsonEncoder
    written: Written

    def encode(self, batch: pa.RecordBatch, kinds: np.ndarray | None) -> list[pa.Buffer]:
        raise InternalError("messages with numbers of schemas are no lines")

    def messages(self, batch: pa.RecordBatch, kinds: np.ndarray | None) -> Texts:
        return framed(self.lines.messages(batch, None), self.written.prefix)


class ConfluentJsonFormat(Format):
    """`'format' = 'json-confluent'`: append-only, for reading and writing messages."""

    name = NAME
    extension = "json"
    files = False
    registers = True
    options = (
        Option(f"{NAME}.url", doc="where the schema registry is; several with ',' between; of a table that is written", compared="nothing"),
        Option(f"{NAME}.subject", doc=SUBJECT),
        Option(f"{NAME}.schema", doc="the JSON Schema that the table is written by; where it is not said one of the table's columns"),
        *client_options(NAME),
        *options_of(NAME),
    )  # fmt: skip

    def shown(self, record: bytes) -> str:
        return super().shown(record if record[:1] != b"\0" else record[SIZE:])

    def check(self, table: TableContext, options: Mapping[str, Any]) -> None:
        if options[f"{NAME}.url"] is not None:
            registry_of(NAME, table.name, options, table.working_directory)
        given = options[f"{NAME}.schema"]
        if given is not None:
            try:
                checked(given, table.schema)
            except Unfit as e:
                raise OptionError(
                    f"table {table.name}: option '{NAME}.schema': {e}", hint="a JSON Schema of the table's columns"
                ) from None

    def decoder(self, table: TableContext, request: ScanRequest, options: Mapping[str, Any]) -> Decoder:
        return ConfluentJsonDecoder(records_of(NAME, request, options), request, NAME)

    def encoder(self, table: TableContext, options: Mapping[str, Any]) -> Encoder:
        given, standard = options[f"{NAME}.schema"], options[f"{NAME}.timestamp-format.standard"]
        schema = given if given is not None else text_of(schema_of(table.schema, standard))
        return ConfluentJsonEncoder(encoder_of(NAME, table, options), written_as(NAME, table, options, schema, JSON))
