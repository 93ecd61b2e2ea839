"""What `'connector' = 'kafka'` means: its options, checked, and the source and the sink that they make."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlstream.connectors.kafka.metadata import KAFKA_METADATA
from sqlstream.connectors.kafka.settings import OPTIONS, place, settings
from sqlstream.connectors.messages.options import bad_records, format_options, key_columns, key_format, value_format
from sqlstream.contracts import Connector, Source, TableContext
from sqlstream.errors import OptionError
from sqlstream.options import Option, read
from sqlstream.types import Type


class KafkaConnector(Connector):
    """`'connector' = 'kafka'`. A format's options are options of the table."""

    name = "kafka"
    options = OPTIONS

    def known_options(self, given: Mapping[str, str]) -> tuple[Option, ...]:
        return self.options + format_options(given)

    def metadata(self, table: TableContext) -> Mapping[str, Type]:
        return KAFKA_METADATA

    def source(self, table: TableContext) -> Source:
        # here: not before a table of it is read, and only then the package confluent-kafka must be there
        from sqlstream.connectors.kafka.library import library
        from sqlstream.connectors.kafka.source import KafkaSource

        options = self._read(table)
        keys = key_columns(table, options)
        alone = options["value.fields-include"] == "EXCEPT_KEY"
        value = value_format(table, options, keys if alone else ())
        key = key_format(table, options, keys if alone else ())
        begin, end = place(table, options, "startup"), place(table, options, "bounded")
        library()
        return KafkaSource(
            table, settings(options), _topics(table, options), value, key, begin, end,
            options["scan.topic-partition-discovery.interval"] / 1e6, bad_records(table, options, (value, key)),
        )  # fmt: skip

    def _read(self, table: TableContext) -> dict[str, Any]:
        return read(table.options, self.known_options(table.options), f"table {table.name}")


def _topics(table: TableContext, options: Mapping[str, Any]) -> Any:
    from sqlstream.connectors.kafka.source import Topics

    names, pattern = options["topic"], options["topic-pattern"]
    if (names is None) == (pattern is None):
        said = "options 'topic' and 'topic-pattern' are both set" if names else "option 'topic' is missing"
        raise OptionError(f"table {table.name}: {said}", hint="one of them says which topics are read")
    return Topics(tuple(t.strip() for t in (names or "").split(";") if t.strip()), pattern)
