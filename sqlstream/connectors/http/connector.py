"""What `'connector' = 'http'` means: its options, checked, and the sources and sinks that these make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlstream.connectors.http.client import REQUEST_OPTIONS
from sqlstream.connectors.lookup_options import PARTIAL_OPTIONS, partial_cache
from sqlstream.connectors.messages.arrays import Known
from sqlstream.connectors.messages.clients import tls_context
from sqlstream.connectors.messages.connector import FORMAT_OPTIONS, MessageConnector
from sqlstream.contracts import Sink, Source, TableContext
from sqlstream.errors import NotSupported, OptionError
from sqlstream.options import Option

if TYPE_CHECKING:
    from sqlstream.connectors.http.client import Request
    from sqlstream.connectors.messages.decoder import PartFormat

_POLLED = ("scan.interval", "scan.method", "scan.body", "scan.bounded.mode", "scan.cursor.parameter", "scan.cursor.field", "scan.cursor.start",
           "scan.next-page.path")  # fmt: skip
_ASKED = ("lookup.method", "lookup.body", "lookup.concurrency")


class HttpConnector(MessageConnector):
    """`'connector' = 'http'`: polled, or, where the URL has columns, asked for keys; and written to."""

    name = "http"
    options = (
        Option("url", required=True, doc="https://host/path. With columns in braces, https://host/users/{id}, the table is not polled: a lookup join asks "
               "it for the rows of keys. {{ and }} are braces", compared="nothing"),
        Option("scan.interval", "duration", 60_000_000, "how long after an answer the next one is asked for", minimum=1000, compared="nothing"),
        Option("scan.method", "enum", "GET", "of questions", ("GET", "POST"), compared="nothing"),
        Option("scan.body", doc="what is sent with POST", compared="nothing"),
        Option("scan.bounded.mode", "enum", "unbounded", "whether it is asked for ever, or once, with all pages: latest", ("unbounded", "latest")),
        Option("max-body-size", "memory", 64 * 2**20, "an answer that has rows may have so much, unpacked; a longer one ends the job", minimum=1, compared="nothing"),
        Option("response.path", doc="where the rows stand in an answer of JSON: data.items. An array there has a row in each element"),
        Option("scan.next-page.path", doc="where the URL of the next page stands in an answer of JSON; a header Link with rel=\"next\" is followed, too"),
        Option("scan.cursor.parameter", doc="the parameter of the query that gets the greatest value of 'scan.cursor.field' that there was: since"),
        Option("scan.cursor.field", doc="where that value stands in a row: id, or meta.updated"),
        Option("scan.cursor.start", doc="the parameter's first value; it is left out the first time without"),
        Option("lookup.method", "enum", "GET", "of questions for keys", ("GET", "POST", "PUT"), compared="nothing"),
        Option("lookup.body", doc="what is sent with them, with columns in braces: {{\"id\": \"{id}\"}}", compared="nothing"),
        Option("lookup.concurrency", "int", 16, "questions that are under way at once", minimum=1, maximum=1000, compared="nothing"),
        *PARTIAL_OPTIONS,
        Option("sink.method", "enum", "POST", "of requests with rows", ("POST", "PUT", "PATCH"), compared="nothing"),
        Option("sink.body", "enum", "array", "what a request has: array: one of JSON, of rows; lines: a row a line; row: one, as it is",
               ("array", "lines", "row")),
        Option("sink.content-type", doc="the header Content-Type of requests; what fits format and 'sink.body', if it is left out", compared="nothing"),
        Option("sink.batch.max-rows", "int", 500, "rows of a request, at most", minimum=1, compared="nothing"),
        Option("sink.batch.max-size", "memory", 2**20, "bytes of a request, at most, if it has more rows than one", minimum=1, compared="nothing"),
        Option("sink.concurrency", "int", 1, "requests that are under way at once; with more than one their order is nobody's", minimum=1, maximum=1000,
               compared="nothing"),
        Option("sink.max-retries", "int", 10, "tries after one that the server could not answer (408, 409, 425, 429, 5xx, no answer), each after a longer rest",
               minimum=0, compared="nothing"),
        Option("sink.idempotency-key.header", "string", "Idempotency-Key", "the header that has the same value in all tries of a request, and in no other; "
               "'' leaves it out", compared="nothing"),
        *REQUEST_OPTIONS,
        *FORMAT_OPTIONS,
    )  # fmt: skip

    def known(self, table: TableContext) -> Known:
        from sqlstream.connectors.http.polling import KNOWN

        return KNOWN

    def source(self, table: TableContext) -> Source:
        # here: not before a table of it is read
        from sqlstream.connectors.http.bodies import JSON, kind_of
        from sqlstream.connectors.http.polling import Polled, PollingSource
        from sqlstream.connectors.templates import Template

        options, value, bad = self._read(table)
        request = replace(self._request(table, options), largest=options["max-body-size"])
        kind = kind_of(value.format.name)
        url = Template.of(options["url"], table.schema, f"table {table.name}: option 'url'")
        path = tuple(p for p in (options["response.path"] or "").split(".") if p)
        wrong = [
            k for k in (_POLLED if url.columns else (*_ASKED, *(o.key for o in PARTIAL_OPTIONS))) if k in table.options
        ]
        if wrong:
            raise OptionError(
                f"table {table.name}: option '{wrong[0]}' is for a table that is {'polled' if url.columns else 'asked for keys'}",
                hint=f"'url' has {'columns' if url.columns else 'none'} in braces, so it is {'asked for keys' if url.columns else 'polled'}",
                subject=wrong[0],
            )
        for key in ("response.path", "scan.next-page.path", "scan.cursor.field"):
            if options[key] and kind != JSON:
                raise OptionError(f"table {table.name}: option '{key}' is for answers of JSON", subject=key)
        if url.columns:
            return self._lookup(table, options, request, url, value, kind, path)
        if (options["scan.cursor.parameter"] is None) != (options["scan.cursor.field"] is None):
            raise OptionError(
                f"table {table.name}: options 'scan.cursor.parameter' and 'scan.cursor.field' go together"
            )
        if options["scan.cursor.start"] is not None and options["scan.cursor.field"] is None:
            raise OptionError(
                f"table {table.name}: option 'scan.cursor.start' needs 'scan.cursor.field'", subject="scan.cursor.start"
            )
        if options["scan.body"] is not None and options["scan.method"] != "POST":
            raise OptionError(
                f"table {table.name}: option 'scan.body' is for 'scan.method' = 'POST'", subject="scan.body"
            )
        polled = Polled(
            "".join(str(p) for p in url.parts), options["scan.method"], options["scan.body"], options["scan.interval"] / 1e6,
            options["scan.bounded.mode"] == "latest", kind, path,
            tuple(p for p in (options["scan.next-page.path"] or "").split(".") if p), options["scan.cursor.parameter"],
            tuple(p for p in (options["scan.cursor.field"] or "").split(".") if p), options["scan.cursor.start"],
        )  # fmt: skip
        return PollingSource(table, request, polled, value, bad)

    def _lookup(
        self,
        table: TableContext,
        options: Mapping[str, Any],
        request: Request,
        url: Any,
        value: PartFormat,
        kind: str,
        path: tuple[str, ...],
    ) -> Source:
        from sqlstream.connectors.http.lookup import Asked, HttpLookupSource
        from sqlstream.connectors.templates import Template

        said = options["lookup.body"]
        if said is not None and options["lookup.method"] == "GET":
            raise OptionError(
                f"table {table.name}: option 'lookup.body' is for 'lookup.method' = 'POST' or 'PUT'",
                subject="lookup.body",
            )
        body = None if said is None else Template.of(said, table.schema, f"table {table.name}: option 'lookup.body'")
        for column in (*url.columns, *(body.columns if body else ())):
            t = table.schema[table.schema.names.index(column)].type
            if not (t.is_string or t.is_integer):
                raise OptionError(
                    f"table {table.name}: column '{column}' ({t.text()}) cannot stand in a question: it could be written in several ways",
                    hint="a text or a whole number can", subject=column,
                )  # fmt: skip
        if value.format.changelog:
            raise NotSupported(
                f"table {table.name}: format '{value.format.name}' has changes of its own", hint="'format' = 'json'"
            )
        asked = Asked(
            table, request, options["lookup.method"], url, body, value, kind, path, options["lookup.concurrency"],
            options["lookup.max-retries"],
        )  # fmt: skip
        return HttpLookupSource(asked, partial_cache(table, options))

    def sink(self, table: TableContext) -> Sink:
        from sqlstream.connectors.http.sink import ARRAY, LINES, MANY_LINES, TYPES, HttpSink, Target
        from sqlstream.connectors.templates import Template

        options, value, _ = self._read(table)
        self._metadata_columns(table)
        url = Template.of(options["url"], table.schema, f"table {table.name}: option 'url'")
        if url.columns:
            raise OptionError(
                f"table {table.name}: option 'url' has columns, and requests with rows go to one URL",
                hint="another table, without columns in its URL, is written to",
            )
        form, kind = value.format.name, options["sink.body"]
        if kind == ARRAY and form in ("csv", "raw"):
            if "sink.body" in table.options:
                raise OptionError(
                    f"table {table.name}: 'sink.body' = 'array' is for formats of JSON", hint="'lines', or 'row'"
                )
            kind = LINES if form == "csv" else "row"
        content = options["sink.content-type"] or TYPES.get(form, TYPES["json"])
        if options["sink.content-type"] is None and kind == LINES and form != "csv":
            content = MANY_LINES
        target = Target(
            self._request(table, options), "".join(str(p) for p in url.parts), options["sink.method"], self._encoder(table, value), kind,
            content, 1 if kind == "row" else options["sink.batch.max-rows"], options["sink.batch.max-size"], options["sink.concurrency"],
            options["sink.max-retries"], options["sink.idempotency-key.header"] or None,
        )  # fmt: skip
        return HttpSink(target, value.format.changelog)

    def _request(self, table: TableContext, options: Mapping[str, Any]) -> Request:
        from sqlstream.connectors.http.client import check_url, request_of

        secured = check_url(table.name, "url", options["url"], ("https", "http"))
        tls_context(table, options, secured)  # says now what is wrong with it
        return request_of(table, options, partial(tls_context, table, options, secured))
