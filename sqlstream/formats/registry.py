"""The formats there are, by name. Adding one is a file and a line here; other packages have theirs as entry points."""

from __future__ import annotations

from sqlstream import extensions
from sqlstream.contracts import TableContext
from sqlstream.errors import NotSupported, OptionError, did_you_mean
from sqlstream.formats.avro.format import AvroFormat
from sqlstream.formats.base import Format
from sqlstream.formats.canal_json import CanalJsonFormat
from sqlstream.formats.confluent.avro import ConfluentAvroFormat
from sqlstream.formats.confluent.debezium_avro import DebeziumAvroFormat
from sqlstream.formats.confluent.json import ConfluentJsonFormat
from sqlstream.formats.confluent.protobuf import ConfluentProtobufFormat
from sqlstream.formats.csv import CsvFormat
from sqlstream.formats.debezium_json import DebeziumJsonFormat
from sqlstream.formats.json import JsonFormat
from sqlstream.formats.maxwell_json import MaxwellJsonFormat
from sqlstream.formats.ogg_json import OggJsonFormat
from sqlstream.formats.parquet import ParquetFormat
from sqlstream.formats.protobuf.format import ProtobufFormat
from sqlstream.formats.raw import RawFormat

FORMATS: dict[str, type[Format]] = {
    "avro": AvroFormat,
    "avro-confluent": ConfluentAvroFormat,
    "canal-json": CanalJsonFormat,
    "csv": CsvFormat,
    "debezium-avro-confluent": DebeziumAvroFormat,
    "debezium-json": DebeziumJsonFormat,
    "json": JsonFormat,
    "json-confluent": ConfluentJsonFormat,
    "maxwell-json": MaxwellJsonFormat,
    "ogg-json": OggJsonFormat,
    "parquet": ParquetFormat,
    "protobuf": ProtobufFormat,
    "protobuf-confluent": ConfluentProtobufFormat,
    "raw": RawFormat,
}


def format_of(table: TableContext) -> Format:
    """The format that option 'format' of `table` names; OptionError when it is missing or unknown."""
    name = table.options.get("format")
    if name is None:
        raise OptionError(f"table {table.name}: option 'format' is missing", hint=f"formats: {', '.join(names())}")
    found = format_named(name, f"table {table.name}: ")
    if not found.files:
        raise NotSupported(
            f"table {table.name}: format '{name}' is one of messages: its records have no ends in a file",
            hint="connector 'kafka' has it; for files, format 'csv' of one column reads lines",
        )
    return found


def format_named(name: str, where: str = "") -> Format:
    """A format. OptionError with the nearest names when there is none; its message begins with `where`."""
    known = FORMATS.get(name) or extensions.extension(extensions.FORMATS, name, Format)
    if known is None:
        raise OptionError(f"{where}unknown format '{name}'", hint=did_you_mean(name, names(), "formats"), subject=name)
    return known()


def names() -> list[str]:
    """Of all formats, also those of other packages."""
    return sorted({*FORMATS, *extensions.names(extensions.FORMATS)})
