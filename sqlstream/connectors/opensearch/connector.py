"""What `'connector' = 'opensearch'` and `'elasticsearch-7'` mean: their options, by the names of Flink's connectors, and the sinks that these
make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlstream.connectors.messages.clients import TLS_OPTIONS, tls_context
from sqlstream.connectors.messages.connector import MessageConnector
from sqlstream.connectors.messages.options import value_format
from sqlstream.contracts import Sink, Source, TableContext
from sqlstream.errors import NotSupported, OptionError
from sqlstream.options import Option, read

if TYPE_CHECKING:
    from sqlstream.connectors.opensearch.index import Index
    from sqlstream.connectors.opensearch.sink import Backoff

# Answers in zstd, which aiohttp would ask for where it can, have no end with OpenSearch 2.19.
_HEADERS = {"Accept-Encoding": "gzip, deflate"}
_AS_FLINK = ("DISABLED", "CONSTANT", "EXPONENTIAL")


class OpenSearchConnector(MessageConnector):
    """`'connector' = 'opensearch'`."""

    name = "opensearch"
    options = (
        Option("hosts", required=True, doc="the servers: https://host:9200, with ';' between several", compared="nothing"),
        Option("index", required=True, doc="the index: logs; with columns in it: logs-{day|yyyy-MM-dd}, {tenant}-logs, logs-{now()|yyyy.MM}"),
        Option("document-id.key-delimiter", "string", "_", "what stands between values of the PRIMARY KEY in ids of documents"),
        Option("username", doc="who asks, by basic authentication", compared="nothing"),
        Option("password", doc="of this user", compared="nothing"),
        Option("allow-insecure", "bool", False, "whether a server's certificate need not be valid", compared="nothing"),
        *(o for o in TLS_OPTIONS if o.key != "tls.verify"),
        Option("connection.path-prefix", doc="what stands before all paths on the servers: /v1", compared="nothing"),
        Option("socket.timeout", "duration", 30_000_000, "how long an answer may take", minimum=1000, compared="nothing"),
        Option("sink.bulk-flush.max-actions", "int", 1000, "rows of a request at most; so many that wait are sent; 0: any number", minimum=0, compared="nothing"),
        Option("sink.bulk-flush.max-size", "memory", 2 * 2**20, "bytes of a request at most, but for a row that is longer, and of rows that wait, about; 0: any number", minimum=0, compared="nothing"),
        Option("sink.bulk-flush.interval", "duration", 1_000_000, "how long rows wait before they are sent; 0: until the epoch ends", minimum=0, compared="nothing"),
        Option("sink.bulk-flush.backoff.strategy", "enum", "EXPONENTIAL",
               "what becomes of documents that a server is too busy for, and of requests to one that is gone. DISABLED: the job fails; CONSTANT: they are "
               "sent again; EXPONENTIAL: at ever longer intervals. Flink's default is DISABLED", _AS_FLINK, compared="nothing"),
        Option("sink.bulk-flush.backoff.max-retries", "int", 8, "how often they are sent again", minimum=0, compared="nothing"),
        Option("sink.bulk-flush.backoff.delay", "duration", 50_000, "how long to wait before that", minimum=0, compared="nothing"),
        Option("sink.delivery-guarantee", "enum", "at-least-once", "no effect: each checkpoint waits for its documents, always",
               ("at-least-once", "none"), compared="nothing"),
        Option("format", "string", "json", "the format of documents, which is json"),
    )  # fmt: skip

    def known_options(self, given: Mapping[str, str]) -> tuple[Option, ...]:
        return super().known_options({"format": "json"})

    def source(self, table: TableContext) -> Source:
        raise NotSupported(
            f"table {table.name}: connector '{self.name}' cannot be read from",
            hint="its documents are for others to search",
        )

    def sink(self, table: TableContext) -> Sink:
        # here: not before a table of it is written
        from sqlstream.connectors.http.client import Request, basic
        from sqlstream.connectors.opensearch.sink import OpenSearchSink, OpenSearchUpsertSink, Target

        where = f"table {table.name}"
        options = read(table.options, self.known_options(table.options), where)
        self._metadata_columns(table)
        if options["format"] != "json":
            raise OptionError(f"{where}: option 'format': documents are JSON", hint="leave it out", subject="format")
        if (options["username"] is None) != (options["password"] is None):
            raise OptionError(f"{where}: options 'username' and 'password' go together")
        hosts, secured = self._hosts(table, options)
        verified = {**options, "tls.verify": not options["allow-insecure"]}
        tls_context(table, verified, secured)  # says now what is wrong with it
        headers = dict(_HEADERS)
        if options["username"] is not None:
            headers |= basic(options["username"], options["password"])
        request = Request(
            table.name,
            headers,
            options["socket.timeout"] / 1e6,
            partial(tls_context, table, verified, secured),
            "opensearch",
        )
        value = value_format(
            replace(table, options={**table.options, "format": "json"}), {**options, "value.format": None}
        )
        target = Target(
            table, hosts, request, self._index(table, options), self._encoder(table, value), options["document-id.key-delimiter"],
            options["sink.bulk-flush.max-actions"], options["sink.bulk-flush.max-size"], _backoff(options), options["sink.bulk-flush.interval"],
        )  # fmt: skip
        return OpenSearchUpsertSink(target) if table.primary_key else OpenSearchSink(target)

    def _hosts(self, table: TableContext, options: Mapping[str, Any]) -> tuple[tuple[str, ...], bool]:
        from sqlstream.connectors.http.client import check_url

        hosts = [h.strip().rstrip("/") for h in options["hosts"].split(";") if h.strip()]
        if not hosts:
            raise OptionError(f"table {table.name}: option 'hosts' is empty", hint="https://host:9200", subject="hosts")
        secured = {check_url(table.name, "hosts", h, ("http", "https")) for h in hosts}
        if len(secured) > 1:
            raise OptionError(
                f"table {table.name}: option 'hosts' has http and https", hint="all of one", subject="hosts"
            )
        prefix = (options["connection.path-prefix"] or "").strip("/")
        return tuple(f"{h}/{prefix}" if prefix else h for h in hosts), secured.pop()

    def _index(self, table: TableContext, options: Mapping[str, Any]) -> Index:
        from sqlstream.connectors.opensearch.index import Index

        index = Index.of(options["index"], table.schema, table.time_zone, f"table {table.name}: option 'index'")
        if table.primary_key and (other := [c for c in index.columns if c not in table.primary_key]):
            raise OptionError(
                f"table {table.name}: option 'index' has {other[0]}, which is not in the PRIMARY KEY: a row that changes would be in two indexes",
                hint="make it part of the key, or leave the PRIMARY KEY out: rows then only come",
                subject="index",
            )
        for name in table.primary_key:
            t = table.schema[table.schema.names.index(name)].type
            if not (t.is_string or t.is_integer or t.kind in ("BOOLEAN", "DATE", "DECIMAL")):
                raise OptionError(
                    f"table {table.name}: column '{name}' ({t.text()}) cannot stand in the id of a document: it could be written in several ways",
                    hint="a text, a number without a fraction that varies, or a date can: CAST it to STRING in the query",
                    subject=name,
                )
        return index


class ElasticsearchConnector(OpenSearchConnector):
    """`'connector' = 'elasticsearch-7'`: the protocol is the same."""

    name = "elasticsearch-7"


def _backoff(options: Mapping[str, Any]) -> Backoff:
    from sqlstream.connectors.opensearch.sink import Backoff

    strategy = options["sink.bulk-flush.backoff.strategy"]
    retries = 0 if strategy == "DISABLED" else options["sink.bulk-flush.backoff.max-retries"]
    return Backoff(retries, options["sink.bulk-flush.backoff.delay"] / 1e6, strategy == "EXPONENTIAL")
