"""What `'connector' = 'redis'` means: its options, checked, and the sources and sinks that these make."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqlstream.connectors.lookup_options import PARTIAL_OPTIONS, partial_cache
from sqlstream.connectors.messages.arrays import Known
from sqlstream.connectors.messages.clients import LAST_TIME, TLS_OPTIONS, tls_context
from sqlstream.connectors.messages.connector import FORMAT_OPTIONS, MessageConnector
from sqlstream.connectors.messages.decoder import PartFormat
from sqlstream.connectors.messages.options import bad_records, value_format
from sqlstream.contracts import Sink, Source, TableContext
from sqlstream.errors import NotSupported, OptionError
from sqlstream.options import Option, read

if TYPE_CHECKING:
    from sqlstream.connectors.redis.client import Address
    from sqlstream.connectors.redis.keys import Keyed

_HASH, _STRING, _STREAM, _CHANNEL = "hash", "string", "stream", "channel"
_OF_TYPES = {
    "scan.startup.mode": (_STREAM,), "scan.startup.timestamp-millis": (_STREAM,), "scan.startup.id": (_STREAM,),
    "scan.bounded.mode": (_STREAM,), "stream.field": (_STREAM,), "sink.stream.max-length": (_STREAM,),
    "sink.delivery-guarantee": (_STREAM,), "sink.ttl": (_HASH, _STRING), "source.bad-records": (_STREAM, _CHANNEL),
    **{o.key: (_HASH, _STRING) for o in PARTIAL_OPTIONS},
}  # fmt: skip
_OF_MODE = {"timestamp": "scan.startup.timestamp-millis", "id": "scan.startup.id"}


class RedisConnector(MessageConnector):
    """`'connector' = 'redis'`."""

    name = "redis"
    options = (
        Option("url", required=True, doc="the server: redis://host:6379/0, rediss://…", compared="nothing"),
        Option("data-type", "enum", _HASH,
               "what keys have. hash: a row, whose columns are fields; string: a row in a format; stream: rows, entries of a stream; channel: what "
               "is published there", (_HASH, _STRING, _STREAM, _CHANNEL)),
        Option("key", required=True, doc="of hashes and strings: the key of a row, with columns of the PRIMARY KEY in braces: 'user:{id}'. Of a stream: its "
               "key. Of channels: the name, for a table that is read several, with * for any text and ';' between"),
        Option("format", doc="the format of strings, of what is published, and of the field 'stream.field' of entries; hashes, and entries without it, "
               "have columns as fields"),
        Option("stream.field", doc="the field of entries that has the message, where there is a format; value, if it is left out"),
        Option("scan.startup.mode", "enum", "earliest", "where reading of a stream begins: at its first entry, behind its last one, at a time, behind an id",
               ("earliest", "latest", "timestamp", "id")),
        Option("scan.startup.timestamp-millis", "int", doc="ms since 1970, for 'scan.startup.mode' = 'timestamp'", minimum=0, maximum=LAST_TIME),
        Option("scan.startup.id", doc="1526919030474-55: the last entry that is not read, for 'scan.startup.mode' = 'id'"),
        Option("scan.bounded.mode", "enum", "unbounded", "where reading of a stream ends: never, or where it ends when the job starts",
               ("unbounded", "latest")),
        *PARTIAL_OPTIONS,
        Option("sink.ttl", "duration", None, "how long a key lives after it was written; for ever, if it is left out", minimum=1000, compared="nothing"),
        Option("sink.stream.max-length", "int", None, "entries of the stream, about which older ones go", minimum=1, compared="nothing"),
        Option("sink.delivery-guarantee", "enum", "at-least-once",
               "of a stream. at-least-once: entries are added as rows come, and after a failure some again; exactly-once: with each checkpoint, "
               "in one transaction", ("at-least-once", "exactly-once"), compared="nothing"),
        Option("sink.max-retries", "int", 5, "tries after one that failed as the server was gone or busy", minimum=0, compared="nothing"),
        Option("username", doc="who asks, unless it is in the URL", compared="nothing"),
        Option("password", doc="of this user, or of the server", compared="nothing"),
        *TLS_OPTIONS,
        *(o for o in FORMAT_OPTIONS if o.key != "format"),
    )  # fmt: skip

    def known(self, table: TableContext) -> Known:
        from sqlstream.connectors.redis import channel, stream

        of: dict[str, Known] = {_STREAM: stream.KNOWN, _CHANNEL: channel.KNOWN}
        return of.get(table.options.get("data-type", _HASH), {})

    def source(self, table: TableContext) -> Source:
        # here: not before a table of it is read
        from sqlstream.connectors.redis.channel import ChannelSource
        from sqlstream.connectors.redis.fields import with_parts
        from sqlstream.connectors.redis.keys import RedisSource
        from sqlstream.connectors.redis.stream import Stream, StreamSource

        options, kind = self._options(table)
        address = self._address(table, options)
        if kind in (_HASH, _STRING):
            return RedisSource(
                self._keyed(table, options, address, options["lookup.max-retries"]), partial_cache(table, options)
            )
        value = self._value(table, options)
        bad = bad_records(table, options, (value,))
        if kind == _CHANNEL:
            names = tuple(n.strip() for n in options["key"].split(";") if n.strip())
            return ChannelSource(table, address, names, value, bad)
        start = self._start(table, options)
        field = self._field(options)
        stream = Stream(
            options["key"], field, start, options["scan.bounded.mode"] == "latest", with_parts(table.schema)
        )
        return StreamSource(table, address, stream, value, bad)

    def sink(self, table: TableContext) -> Sink:
        from sqlstream.connectors.redis.keys import RedisKeyedSink
        from sqlstream.connectors.redis.sink import RedisSink, Target

        options, kind = self._options(table)
        address, retries = self._address(table, options), options["sink.max-retries"]
        self._metadata_columns(table)
        if kind in (_HASH, _STRING):
            return RedisKeyedSink(self._keyed(table, options, address, retries))
        value = self._value(table, options)
        target = Target(
            table.name, address, options["key"], kind == _CHANNEL, self._field(options), options["sink.stream.max-length"],
            self._encoder(table, value), retries,
        )  # fmt: skip
        return RedisSink(target, value.format.changelog, options["sink.delivery-guarantee"] == "exactly-once")

    def _options(self, table: TableContext) -> tuple[dict[str, Any], str]:
        options = read(table.options, self.known_options(table.options), f"table {table.name}")
        kind = options["data-type"]
        for key, kinds in _OF_TYPES.items():
            if key in table.options and kind not in kinds:
                raise OptionError(
                    f"table {table.name}: option '{key}' is for 'data-type' = {' or '.join(repr(k) for k in kinds)}",
                    subject=key,
                )
        if kind == _HASH and options["format"]:
            raise OptionError(
                f"table {table.name}: option 'format': the fields of a hash are its columns",
                hint="'data-type' = 'string' is for rows in a format",
                subject="format",
            )
        if options["stream.field"] and not options["format"]:
            raise OptionError(f"table {table.name}: option 'stream.field' needs 'format'", subject="stream.field")
        return options, kind

    def _field(self, options: Mapping[str, Any]) -> str | None:
        return (options["stream.field"] or "value") if options["format"] else None

    def _value(self, table: TableContext, options: Mapping[str, Any], excluded: tuple[str, ...] = ()) -> PartFormat:
        """By the format that the table names; fields that are columns are read and written by that of JSON's objects."""
        if options["format"]:
            return value_format(table, {**options, "value.format": None}, excluded)
        if options["data-type"] in (_STRING, _CHANNEL):
            raise OptionError(
                f"table {table.name}: option 'format' is missing", hint="'format' = 'json' is how rows are written"
            )
        given = {"format": "json"}
        inner = replace(table, options=given)
        own = read(given, self.known_options(given)[len(self.options) :] + (Option("format"),), f"table {table.name}")
        return value_format(inner, {**own, "value.format": None}, excluded)

    def _keyed(self, table: TableContext, options: Mapping[str, Any], address: Address, retries: int) -> Keyed:
        from sqlstream.connectors.redis.keys import Keyed, check_key
        from sqlstream.connectors.templates import Template

        key = Template.of(options["key"], table.schema, f"table {table.name}: option 'key'")
        check_key(table, key)
        value = self._value(table, options, table.primary_key)
        if value.format.changelog:
            raise NotSupported(
                f"table {table.name}: format '{value.format.name}' has changes of its own", hint="'format' = 'json'"
            )
        if not value.columns:
            raise NotSupported(
                f"table {table.name}: all of its columns are those of the key: nothing is left for the value",
                hint="declare a column that is not in the PRIMARY KEY",
            )
        ttl = None if options["sink.ttl"] is None else options["sink.ttl"] // 1000
        return Keyed(table, address, options["data-type"], key, value, ttl, retries)

    def _start(self, table: TableContext, options: Mapping[str, Any]) -> str:
        mode: str = options["scan.startup.mode"]
        for of, key in _OF_MODE.items():
            if (options[key] is not None) != (of == mode):
                said = (
                    f"option '{key}' is missing"
                    if of == mode
                    else f"option '{key}' is for 'scan.startup.mode' = '{of}'"
                )
                raise OptionError(f"table {table.name}: {said}", subject=None if of == mode else key)
        if mode == "timestamp":
            at = options["scan.startup.timestamp-millis"]
            return f"{at - 1}-{2**64 - 1}" if at else "0-0"
        if mode == "id":
            given: str = options["scan.startup.id"]
            if not all(p.isascii() and p.isdecimal() for p in given.split("-")) or given.count("-") > 1:
                raise OptionError(
                    f"table {table.name}: option 'scan.startup.id' = '{given}' is no id", hint="1526919030474-55"
                )
            return given if "-" in given else f"{given}-0"
        return mode

    def _address(self, table: TableContext, options: Mapping[str, Any]) -> Address:
        from sqlstream.connectors.redis.client import Address, check_url

        secured = check_url(table.name, options["url"])
        tls_context(table, options, secured)  # says now what is wrong with it
        files = {"ssl_ca_certs": "tls.ca-file", "ssl_certfile": "tls.certificate-file", "ssl_keyfile": "tls.key-file"}
        tls: list[tuple[str, Any]] = [
            (ours, os.path.join(table.working_directory, os.path.expanduser(options[key])))
            for ours, key in files.items()
            if options[key] is not None
        ]
        if options["tls.key-password"] is not None:
            tls.append(("ssl_password", options["tls.key-password"]))
        if secured and not options["tls.verify"]:
            tls += [("ssl_cert_reqs", "none"), ("ssl_check_hostname", False)]
        return Address(options["url"], options["username"], options["password"], tuple(tls))
