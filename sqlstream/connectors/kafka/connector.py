"""What `'connector' = 'kafka'` and `'upsert-kafka'` mean: their options, checked, and the sources and sinks that these make."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sqlstream.connectors.kafka.metadata import KAFKA_METADATA, WRITTEN
from sqlstream.connectors.kafka.settings import EARLIEST, OPTIONS, UPSERT_OPTIONS, Place, begin, end, settings
from sqlstream.connectors.messages.options import (
    bad_records,
    format_options,
    key_columns,
    key_format,
    value_format,
    value_metadata,
    with_subject,
)
from sqlstream.connectors.waiting import Limits
from sqlstream.contracts import Connector, Sink, Source, TableContext
from sqlstream.errors import NotSupported, OptionError
from sqlstream.options import Option, read
from sqlstream.types import Type

if TYPE_CHECKING:
    from sqlstream.connectors.kafka.source import Topics
    from sqlstream.connectors.messages.decoder import PartFormat

Parts = tuple["PartFormat", "PartFormat | None"]


class KafkaConnector(Connector):
    """`'connector' = 'kafka'`. A format's options are options of the table."""

    name = "kafka"
    options: tuple[Option, ...] = OPTIONS

    def known_options(self, given: Mapping[str, str]) -> tuple[Option, ...]:
        return self.options + format_options(given)

    def metadata(self, table: TableContext) -> Mapping[str, Type]:
        return {**KAFKA_METADATA, **value_metadata(table.options)}

    def source(self, table: TableContext) -> Source:
        # here: not before a table of it is read, and only then the package confluent-kafka must be there
        from sqlstream.connectors.kafka.library import library
        from sqlstream.connectors.kafka.source import KafkaSource

        options = self._read(table)
        value, key = self._parts(table, options)
        first, last = self._begin(table, options), end(table, options)
        library()
        return KafkaSource(
            table, settings(options), _topics(table, options), value, key, first, last,
            options["scan.topic-partition-discovery.interval"] / 1e6, bad_records(table, options, (value, key)),
            self._upserts,
        )  # fmt: skip

    def sink(self, table: TableContext) -> Sink:
        from sqlstream.connectors.kafka.coordinator import check_settings
        from sqlstream.connectors.kafka.extras import Columns
        from sqlstream.connectors.kafka.library import library
        from sqlstream.connectors.kafka.sink import KafkaSink, Target
        from sqlstream.connectors.messages.connector import metadata_columns
        from sqlstream.connectors.messages.encoder import MessageEncoder, PartEncoder

        options = self._read(table)
        value, key = self._parts(table, options, reads=False)
        if not value.columns:
            raise NotSupported(
                f"table {table.name}: no column is left for the values of messages",
                hint="'value.fields-include' = 'ALL' writes the key's columns into them, too",
            )
        topics = _topics(table, options)
        if len(topics.names) != 1:
            raise OptionError(
                f"table {table.name}: option 'topic' names several topics, and rows are written to one",
                hint="a table that is written to has one topic",
            )
        written = PartEncoder.of(with_subject(value, f"{topics.names[0]}-value"))
        keyed = None if key is None else PartEncoder.of(with_subject(key, f"{topics.names[0]}-key"))
        encoder = MessageEncoder(written, keyed, self._upserts)
        guarantee, prefix = options["sink.delivery-guarantee"], options["sink.transactional-id-prefix"]
        if guarantee == "exactly-once" and not (prefix or "").strip():
            raise OptionError(
                f"table {table.name}: 'sink.delivery-guarantee' = 'exactly-once' needs option 'sink.transactional-id-prefix'",
                hint="a name that no other table or job has, such as the job's",
            )
        library()
        if guarantee == "exactly-once":
            check_settings(settings(options), table.name)
        partitioner = options.get("sink.partitioner", "default")
        target = Target(
            table.name, topics.names[0], settings(options), encoder, guarantee, prefix or "", partitioner,
            _partitions(table, options, topics.names[0]) if partitioner != "default" else 0, Columns.of(metadata_columns(table, self.name, WRITTEN), table.time_zone),
        )  # fmt: skip
        changes = self._upserts or value.format.changelog
        return KafkaSink(
            target, changes, not self._upserts, table.primary_key if self._upserts else (), self._limits(table, options), table.seconds
        )  # fmt: skip

    _upserts = False

    def _limits(self, table: TableContext, options: Mapping[str, Any]) -> Limits | None:
        """Of rows that wait; None: they do not."""
        return None

    def _begin(self, table: TableContext, options: Mapping[str, Any]) -> Place:
        return begin(table, options)

    def _parts(self, table: TableContext, options: Mapping[str, Any], reads: bool = True) -> Parts:
        """The formats of values and keys. Who reads has no need of keys whose columns stand in the values, too."""
        keys = key_columns(table, options)
        alone = options["value.fields-include"] == "EXCEPT_KEY"
        value = value_format(table, options, keys if alone else ())
        return value, key_format(table, options, keys if alone or not reads else ())

    def _read(self, table: TableContext) -> dict[str, Any]:
        return read(table.options, self.known_options(table.options), f"table {table.name}")


class UpsertKafkaConnector(KafkaConnector):
    """`'connector' = 'upsert-kafka'`: the last message of a key is the row; one without a value deletes it."""

    name = "upsert-kafka"
    options = UPSERT_OPTIONS
    _upserts = True

    def _begin(self, table: TableContext, options: Mapping[str, Any]) -> Place:
        return Place(EARLIEST)

    def _limits(self, table: TableContext, options: Mapping[str, Any]) -> Limits | None:
        both = ("sink.buffer-flush.max-rows", "sink.buffer-flush.interval")
        rows, interval = (options[k] for k in both)
        if bool(rows) != bool(interval):
            alone, lacking = both if rows else both[::-1]
            raise OptionError(
                f"table {table.name}: option '{alone}' goes with '{lacking}': rows wait where both are above 0",
                hint="'sink.buffer-flush.max-rows' = '1000', 'sink.buffer-flush.interval' = '1 s'; or neither",
                subject=alone,
            )
        return Limits(rows, interval) if rows else None

    def _parts(self, table: TableContext, options: Mapping[str, Any], reads: bool = True) -> Parts:
        if not table.primary_key:
            raise OptionError(
                f"table {table.name}: connector 'upsert-kafka' needs a PRIMARY KEY: its columns are the messages' keys",
                hint="PRIMARY KEY (…) NOT ENFORCED in CREATE TABLE; without a key connector 'kafka' is for rows that only come",
            )
        alone = options["value.fields-include"] == "EXCEPT_KEY"
        keyed = {**options, "key.fields": ";".join(table.primary_key)}
        keys = key_columns(table, keyed)
        value = value_format(table, options, keys if alone else ())
        if value.format.changelog:
            raise NotSupported(
                f"table {table.name}: format '{value.format.name}' has changes of its own, and connector 'upsert-kafka' too",
                hint="connector 'kafka' is for such formats; 'value.format' = 'json' for this one",
            )
        return value, key_format(table, options, keys)


def _topics(table: TableContext, options: Mapping[str, Any]) -> Topics:
    from sqlstream.connectors.kafka.source import Topics

    names, pattern = options["topic"], options.get("topic-pattern")
    if (names is None) == (pattern is None):
        said = "options 'topic' and 'topic-pattern' are both set" if names else "option 'topic' is missing"
        raise OptionError(f"table {table.name}: {said}", hint="one of them says which topics are read")
    return Topics(tuple(t.strip() for t in (names or "").split(";") if t.strip()), pattern)


def _partitions(table: TableContext, options: Mapping[str, Any], topic: str) -> int:
    from sqlstream.connectors.kafka.brokers import Brokers

    brokers = Brokers(settings(options), table.name)
    try:
        return brokers.topics((topic,), None)[topic]
    finally:
        brokers.close()
