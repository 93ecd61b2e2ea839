"""What `'connector' = 'clickhouse'` means: its options, checked, and the sinks that these make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from sqlstream.connectors.messages.clients import TLS_OPTIONS, tls_context
from sqlstream.connectors.messages.connector import MessageConnector
from sqlstream.connectors.messages.options import value_format
from sqlstream.contracts import Sink, TableContext
from sqlstream.errors import NotSupported, OptionError
from sqlstream.options import Option, read

_EXACTLY = "exactly-once"


class ClickHouseConnector(MessageConnector):
    """`'connector' = 'clickhouse'`."""

    name = "clickhouse"
    options = (
        Option("url", required=True, doc="the server's HTTP interface: http://host:8123, https://host:8443", compared="nothing"),
        Option("database-name", "string", "default", "the database"),
        Option("table-name", doc="the table there, which has to be there; else that of the table's own name"),
        Option("username", doc="who asks; else the server's default", compared="nothing"),
        Option("password", doc="of this user", compared="nothing"),
        *TLS_OPTIONS,
        Option("request.timeout", "duration", 60_000_000, "how long an answer may take", minimum=1000, compared="nothing"),
        Option("sink.batch-size", "int", 50_000, "rows of an insert at most", minimum=1, compared="nothing"),
        Option("sink.max-retries", "int", 5, "tries after one that failed as the server was gone or busy", minimum=0, compared="nothing"),
        Option("sink.delivery-guarantee", "enum", "at-least-once",
               "of a table without PRIMARY KEY. at-least-once: rows are added as each epoch ends, and after a failure some again; exactly-once: with "
               "each checkpoint, from a table where they wait", ("at-least-once", _EXACTLY), compared="nothing"),
        Option("sink.ignore-delete", "bool", False, "whether rows that go stay, where the table has no column that says that they are gone", compared="nothing"),
        Option("properties.*", "string", doc="a setting of ClickHouse's for all statements: 'properties.async_insert' = '0'", compared="nothing"),
    )  # fmt: skip

    def known_options(self, given: Mapping[str, str]) -> tuple[Option, ...]:
        return self.options

    def sink(self, table: TableContext) -> Sink:
        # here: not before a table of it is written
        from sqlstream.connectors.clickhouse.sink import ClickHouseSink, ClickHouseUpsertSink, Target
        from sqlstream.connectors.http.client import Request, check_url

        where = f"table {table.name}"
        options = read(table.options, self.options, where)
        self._metadata_columns(table)
        exactly = options["sink.delivery-guarantee"] == _EXACTLY
        if table.primary_key and exactly:
            raise OptionError(
                f"{where}: 'sink.delivery-guarantee' = 'exactly-once' is for a table without PRIMARY KEY",
                hint="leave it out: rows that a key knows are there once in effect",
                subject="sink.delivery-guarantee",
            )
        if not table.primary_key and "sink.ignore-delete" in table.options:
            raise OptionError(
                f"{where}: option 'sink.ignore-delete' is for a table with PRIMARY KEY", subject="sink.ignore-delete"
            )
        if (bad := next((c for c in table.schema if c.type.kind in ("BINARY", "VARBINARY")), None)) is not None:
            raise NotSupported(
                f"{where}: column '{bad.name}': rows go as JSON, which has no {bad.type.text()}",
                hint="ENCODE it as text in the query",
            )
        if options["username"] is None and options["password"] is not None:
            raise OptionError(f"{where}: option 'password' without 'username'", subject="password")
        secured = check_url(table.name, "url", options["url"], ("http", "https"))
        tls_context(table, options, secured)  # says now what is wrong with it
        headers = {}
        if options["username"] is not None:
            headers = {"X-ClickHouse-User": options["username"], "X-ClickHouse-Key": options["password"] or ""}
        request = Request(
            table.name,
            headers,
            options["request.timeout"] / 1e6,
            partial(tls_context, table, options, secured),
            self.name,
        )
        settings = {
            k.removeprefix("properties."): v
            for k, v in options.items()
            if k.startswith("properties.") and not k.endswith(".*")
        }
        target = Target(
            table, request, options["url"].rstrip("/") + "/", options["database-name"], options["table-name"] or table.name,
            self._encoder(table, self._value(table)), options["sink.batch-size"], options["sink.max-retries"], options["sink.ignore-delete"],
            settings,
        )  # fmt: skip
        return ClickHouseUpsertSink(target) if table.primary_key else ClickHouseSink(target, exactly)

    def _value(self, table: TableContext) -> Any:
        given = {"format": "json"}
        own = read(
            given, super().known_options(given)[len(self.options) :] + (Option("format"),), f"table {table.name}"
        )
        return value_format(replace(table, options=given), {**own, "value.format": None})
