"""What `'connector' = 'mongodb'` means: its options, by the names of Flink's connector, and what is made of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from sqlstream.connectors.lookup_options import LOOKUP_OPTIONS, caches
from sqlstream.contracts import Connector, Sink, Source, TableContext
from sqlstream.errors import NotSupported, OptionError
from sqlstream.options import Option, read

if TYPE_CHECKING:
    from sqlstream.connectors.mongodb.client import Place


class MongoConnector(Connector):
    """`'connector' = 'mongodb'`."""

    name = "mongodb"
    options = (
        Option("uri", required=True, doc="the server: mongodb://user:password@host:27017, mongodb+srv://…", compared="nothing"),
        Option("database", required=True, doc="the database"),
        Option("collection", required=True, doc="the collection there"),
        Option("scan.fetch-size", "int", 2048, "documents of an answer", minimum=1, compared="nothing"),
        *LOOKUP_OPTIONS,
        Option("lookup.retry.interval", "duration", 1_000_000, "how long to wait before lookups are tried again", minimum=0, compared="nothing"),
        Option("sink.buffer-flush.max-rows", "int", 1000, "rows of a request at most; so many that wait are sent", minimum=1, compared="nothing"),
        Option("sink.buffer-flush.interval", "duration", 1_000_000, "how long rows wait before they are sent; 0: until the epoch ends", minimum=0, compared="nothing"),
        Option("sink.max-retries", "int", 3, "tries after one that failed as the server was gone", minimum=0, compared="nothing"),
        Option("sink.retry.interval", "duration", 1_000_000, "how long to wait before that", minimum=0, compared="nothing"),
        Option("sink.delivery-guarantee", "enum", "at-least-once", "no effect: each checkpoint waits for its documents, always",
               ("at-least-once", "none"), compared="nothing"),
    )  # fmt: skip

    def source(self, table: TableContext) -> Source:
        # here: not before a table of it is read
        from sqlstream.connectors.mongodb.source import MongoSource

        options = self._read(table)
        lookup, cache = caches(table, options)
        return MongoSource(
            table,
            self._place(table, options, options["lookup.max-retries"], options["lookup.retry.interval"]),
            options["scan.fetch-size"],
            lookup,
            cache,
        )

    def sink(self, table: TableContext) -> Sink:
        from sqlstream.connectors.mongodb.sink import MongoSink, MongoUpsertSink, Target
        from sqlstream.connectors.waiting import Limits

        options = self._read(table)
        for name in table.primary_key:
            t = table.schema[table.schema.names.index(name)].type
            if t.kind in ("FLOAT", "DOUBLE", "ARRAY", "MAP", "ROW", "BINARY", "VARBINARY"):
                raise NotSupported(
                    f"table {table.name}: column '{name}' ({t.text()}) cannot be a document's key",
                    hint="a text, a number or a time can",
                )
        target = Target(
            table,
            self._place(table, options, options["sink.max-retries"], options["sink.retry.interval"]),
            options["sink.buffer-flush.max-rows"],
            Limits(options["sink.buffer-flush.max-rows"], options["sink.buffer-flush.interval"]),
        )
        return MongoUpsertSink(target) if table.primary_key else MongoSink(target)

    def _read(self, table: TableContext) -> dict[str, Any]:
        from sqlstream.connectors.mongodb.values import check

        options = read(table.options, self.options, f"table {table.name}")
        if urlsplit(options["uri"]).scheme not in ("mongodb", "mongodb+srv"):
            raise OptionError(
                f"table {table.name}: option 'uri' is not of the form mongodb://host:27017", subject="uri"
            )
        for c in table.schema:
            if "." in c.name or c.name.startswith("$") or not c.name:
                raise OptionError(
                    f"table {table.name}: column '{c.name}' cannot be a field: MongoDB takes such a name for a path or an operator",
                    hint="a name without '.', and without '$' in front; a nested field is one of a ROW",
                    subject=c.name,
                )
            check(c.type, f"table {table.name}: column '{c.name}'")
        return options

    def _place(self, table: TableContext, options: dict[str, Any], retries: int, interval: int) -> Place:
        from sqlstream.connectors.mongodb.client import Place

        return Place(
            table.name, options["uri"], options["database"], options["collection"], retries, interval / 1e6
        )  # fmt: skip
