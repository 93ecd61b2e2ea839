"""Connector 'delta': Delta-Flink's name and options for tables of Delta Lake."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

from sqlstream.connectors.paths import absolute
from sqlstream.contracts import Connector, Sink, Source, TableContext
from sqlstream.errors import OptionError
from sqlstream.literals import quoted
from sqlstream.options import Option, read

_BATCH, _STREAMING, _LATEST = "batch", "streaming", "latest"
_OF_BATCH = ("versionAsOf", "timestampAsOf")
_OF_STREAMING = (
    "startingVersion", "startingTimestamp", "ignoreDeletes", "ignoreChanges", "updateCheckIntervalMillis",
    "updateCheckDelayMillis",
)  # fmt: skip


class DeltaConnector(Connector):
    """`'connector' = 'delta'`: read at a version or followed, and written."""

    name = "delta"
    options = (
        Option("table-path", required=True, doc="the table's directory; relative to the working directory, or a URL"),
        Option("mode", "enum", _BATCH, "batch: a version of the table is read; streaming: it is, and then what is added to it",
               choices=(_BATCH, _STREAMING)),
        Option("versionAsOf", "int", None, "with 'mode' = 'batch': the version that is read; default: the newest", minimum=0),
        Option("timestampAsOf", doc="with 'mode' = 'batch': the version that was the newest at a time, such as "
               "'2026-01-31 12:00:00.000' (UTC)"),
        Option("startingVersion", doc="with 'mode' = 'streaming': what this version has added, and later ones, or 'latest': "
               "what is added from now on; default: all that is there, and then what is added", compared="nothing"),
        Option("startingTimestamp", doc="with 'mode' = 'streaming': as 'startingVersion', by a time (UTC)", compared="nothing"),
        Option("updateCheckIntervalMillis", "int", 5000, "how often the log is looked at, in ms", minimum=1,
               compared="nothing"),
        Option("updateCheckDelayMillis", "int", 1000, "no effect: a look needs no rest before it", minimum=0,
               compared="nothing"),
        Option("ignoreDeletes", "bool", False, "go on when a version takes files away and adds none", compared="nothing"),
        Option("ignoreChanges", "bool", False, "go on when a version takes files away, and read those that it has written "
               "anew, with rows that were read before", compared="nothing"),
        Option("sink.target-file-size", "memory", 128 * 2**20, "size at which a file is closed", minimum=1,
               compared="nothing"),
        Option("delta.*", doc="a property of the table, for when an INSERT makes it: delta.appendOnly, "
               "delta.logRetentionDuration, …", compared="nothing"),
    )  # fmt: skip

    def source(self, table: TableContext) -> Source:
        from sqlstream.connectors.delta.source import Begin, DeltaSource

        options = self._read(table)
        follows = options["mode"] == _STREAMING
        wrong = next((k for k in (_OF_BATCH if follows else _OF_STREAMING) if k in table.options), None)
        if wrong is not None:
            raise OptionError(
                f"table {table.name}: option '{wrong}' is for 'mode' = '{_BATCH if follows else _STREAMING}'",
                hint="leave it out, or set 'mode'",
                subject=wrong,
            )
        for a, b in (_OF_BATCH, _OF_STREAMING[:2]):
            if options[a] is not None and options[b] is not None:
                raise OptionError(
                    f"table {table.name}: options '{a}' and '{b}' are both set", hint="one says which version"
                )
        begin = Begin(
            options["versionAsOf"],
            _time(options, "timestampAsOf", table.name),
            _version(options["startingVersion"], table.name),
            _time(options, "startingTimestamp", table.name),
            options["ignoreDeletes"],
            options["ignoreChanges"],
        )
        interval = options["updateCheckIntervalMillis"] / 1000 if follows else None
        return DeltaSource(table, self._place(table, options), begin, interval)

    def sink(self, table: TableContext) -> Sink:
        from sqlstream.connectors.delta.sink import DeltaSink
        from sqlstream.connectors.delta.table import arrow_schema

        options = self._read(table)
        arrow_schema(table)
        properties = {k: v for k, v in table.options.items() if k.startswith("delta.")}
        return DeltaSink(table, self._place(table, options), options["sink.target-file-size"], properties)

    def ddl_columns(self, table: TableContext) -> str | None:
        from sqlstream.connectors.delta.table import schema_of
        from sqlstream.types import from_arrow

        there = self._place(table, self._read(table)).open()
        columns = [
            f"`{f.name.replace('`', '``')}` {from_arrow(f.type)}{'' if f.nullable else ' NOT NULL'}"
            for f in schema_of(there)
        ]
        return ", ".join(columns)

    def _place(self, table: TableContext, options: Mapping[str, Any]) -> Any:
        from sqlstream.connectors.delta.table import Place, library

        library()
        return Place(absolute(options["table-path"], table.working_directory), table.stores, table.name)

    def _read(self, table: TableContext) -> dict[str, Any]:
        options = read(table.options, self.options, f"table {table.name}")
        if not options["table-path"].strip():
            raise OptionError(f"table {table.name}: option 'table-path' is empty", subject="table-path")
        return options


def _version(text: str | None, table: str) -> int | str | None:
    if text is None or text.strip().lower() == _LATEST:
        return None if text is None else _LATEST
    if not text.strip().isdecimal():
        raise OptionError(
            f"table {table}: option 'startingVersion': {quoted(text)} is no version", hint=f"a number, or '{_LATEST}'"
        )
    return int(text)


def _time(options: Mapping[str, Any], key: str, table: str) -> str | None:
    """A time of UTC, with its zone."""
    text = options[key]
    if text is None:
        return None
    try:
        found = datetime.datetime.fromisoformat(text.strip())
    except ValueError:
        raise OptionError(
            f"table {table}: option '{key}': {quoted(text)} is no time", hint="such as '2026-01-31 12:00:00.000'"
        ) from None
    return (found if found.tzinfo else found.replace(tzinfo=datetime.UTC)).isoformat()
