"""What connectors of message systems have in common whose messages have values and no keys: a format, and how rows are written."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from sqlstream.connectors.messages.arrays import Known, types_of
from sqlstream.connectors.messages.decoder import PartFormat
from sqlstream.connectors.messages.encoder import PartEncoder
from sqlstream.connectors.messages.options import (
    BAD_RECORDS,
    VALUE_OPTIONS,
    bad_records,
    format_options,
    value_format,
    value_metadata,
)
from sqlstream.contracts import Connector, TableContext
from sqlstream.errors import NotSupported, OptionError, did_you_mean
from sqlstream.options import Option, read
from sqlstream.types import Type

FORMAT_OPTIONS = (
    Option("format", required=True, doc="the format of messages"),
    *(o for o in VALUE_OPTIONS if o.key == BAD_RECORDS),
)


class MessageConnector(Connector):
    """The options of a table's format are options of the table. `written`: the METADATA keys that rows may be written with."""

    written: frozenset[str] = frozenset()

    def known(self, table: TableContext) -> Known:
        """The METADATA keys of the table's messages beside those of its format."""
        return {}

    def metadata(self, table: TableContext) -> Mapping[str, Type]:
        return {
            **types_of(self.known(table)),
            **value_metadata({k: v for k, v in table.options.items() if k == "format"}),
        }

    def known_options(self, given: Mapping[str, str]) -> tuple[Option, ...]:
        return self.options + format_options({k: v for k, v in given.items() if k == "format"})

    def _read(self, table: TableContext) -> tuple[dict[str, Any], PartFormat, str]:
        """The options, the format of values, and what becomes of malformed ones."""
        options = read(table.options, self.known_options(table.options), f"table {table.name}")
        value = value_format(table, {**options, "value.format": None})
        return options, value, bad_records(table, options, (value,))

    def _encoder(self, table: TableContext, value: PartFormat) -> PartEncoder:
        if not value.columns:
            raise NotSupported(
                f"table {table.name}: it has METADATA columns alone, and a message needs a value",
                hint="declare a column that is stored",
            )
        return PartEncoder.of(value)

    def _metadata_columns(self, table: TableContext) -> dict[str, str]:
        """The columns that say METADATA of the messages that are written, by its keys."""
        return metadata_columns(table, self.name, self.written)


def metadata_columns(table: TableContext, connector: str, allowed: Collection[str]) -> dict[str, str]:
    """Columns whose values become METADATA of what is written, by its keys. OptionError for a key that can only be read."""
    for column, key in table.metadata:
        if key not in allowed:
            raise OptionError(
                f"table {table.name}: column '{column}': connector '{connector}' does not write METADATA '{key}'",
                hint=f"declare it METADATA VIRTUAL to read it; {did_you_mean(key, allowed, 'written')}",
                subject=column,
            )
    return {key: column for column, key in table.metadata}
