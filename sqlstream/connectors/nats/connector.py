"""What `'connector' = 'nats'` means: its options, checked, and the sources and sinks that these make."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlstream.connectors.messages.arrays import Known
from sqlstream.connectors.messages.clients import LAST_TIME, TLS_OPTIONS, path_of, tls_context
from sqlstream.connectors.messages.connector import FORMAT_OPTIONS, MessageConnector
from sqlstream.contracts import Sink, Source, TableContext
from sqlstream.errors import OptionError
from sqlstream.options import Option

if TYPE_CHECKING:
    from sqlstream.connectors.nats.client import Address

_MODES = ("earliest", "latest", "timestamp", "sequence")
_OF_MODE = {"timestamp": "scan.startup.timestamp-millis", "sequence": "scan.startup.sequence"}


class NatsConnector(MessageConnector):
    """`'connector' = 'nats'`."""

    name = "nats"
    written = frozenset({"subject", "headers", "message-id"})
    options = (
        Option("url", required=True, doc="the servers, nats://host:4222 or tls://host:4222, with ',' between", compared="nothing"),
        Option("subject", doc="what is read of the stream: subjects, which may have * and >, with ';' between; all, if it is left out. What is "
               "written: the subject of rows whose METADATA 'subject' is NULL, or that have none"),
        Option("stream", doc="the stream that is read; the one that has the subject, if it is left out"),
        Option("durable", doc="the name of a consumer that is the table's own, whose messages are acknowledged when a checkpoint has "
               "them: for streams whose messages go then (retention workqueue), and for others to see how far it is"),
        Option("scan.startup.mode", "enum", "earliest",
               "where reading begins: at the first message that is there, behind the last one, at a time, at a sequence number", _MODES),
        Option("scan.startup.timestamp-millis", "int", doc="ms since 1970, for 'scan.startup.mode' = 'timestamp'", minimum=0, maximum=LAST_TIME),
        Option("scan.startup.sequence", "int", doc="the first message that is read, for 'scan.startup.mode' = 'sequence'", minimum=1),
        Option("scan.bounded.mode", "enum", "unbounded", "where reading ends: never, or where the stream ends when the job starts",
               ("unbounded", "latest")),
        Option("sink.delivery-guarantee", "enum", "at-least-once",
               "at-least-once: messages are published as rows come, and after a failure some again; exactly-once: with each checkpoint, "
               "with ids by which the server passes over what it has, within the stream's duplicate window",
               ("at-least-once", "exactly-once"), compared="nothing"),
        Option("username", doc="who asks", compared="nothing"),
        Option("password", doc="of this user", compared="nothing"),
        Option("token", doc="what is given in place of a name and a password", compared="nothing"),
        Option("credentials-file", "path", doc="a file of credentials (.creds) with a JWT and its key", compared="nothing"),
        Option("nkey-seed-file", "path", doc="a file with the seed of an NKey", compared="nothing"),
        *TLS_OPTIONS,
        *FORMAT_OPTIONS,
    )  # fmt: skip

    def known(self, table: TableContext) -> Known:
        from sqlstream.connectors.nats.reader import KNOWN

        return KNOWN

    def source(self, table: TableContext) -> Source:
        # here: not before a table of it is read
        from sqlstream.connectors.nats.reader import Reading
        from sqlstream.connectors.nats.source import NatsSource, Start

        options, value, bad = self._read(table)
        subjects = tuple(s.strip() for s in (options["subject"] or "").split(";") if s.strip())
        if not subjects and not options["stream"]:
            raise OptionError(
                f"table {table.name}: option 'stream' is missing", hint="it, or 'subject', says which stream is read"
            )
        mode = options["scan.startup.mode"]
        for of, key in _OF_MODE.items():
            if (options[key] is not None) != (of == mode):
                said = (
                    f"option '{key}' is missing"
                    if of == mode
                    else f"option '{key}' is for 'scan.startup.mode' = '{of}'"
                )
                raise OptionError(f"table {table.name}: {said}", subject=None if of == mode else key)
        bounded = options["scan.bounded.mode"] == "latest"
        if bounded and options["durable"]:
            raise OptionError(
                f"table {table.name}: option 'durable' is for a table that is read for ever: checkpoints acknowledge its messages",
                hint="leave it or 'scan.bounded.mode' out",
                subject="durable",
            )
        start = Start(mode, options["scan.startup.timestamp-millis"] or 0, options["scan.startup.sequence"] or 1)
        reading = Reading(options["stream"] or "", subjects, options["durable"])
        return NatsSource(table, _address(table, options), reading, value, start, bounded, bad)

    def sink(self, table: TableContext) -> Sink:
        from sqlstream.connectors.nats.sink import NatsSink, Target

        options, value, _ = self._read(table)
        columns = self._metadata_columns(table)
        if not options["subject"] and "subject" not in columns:
            raise OptionError(
                f"table {table.name}: option 'subject' is missing",
                hint="it says what messages are published to; or a column METADATA FROM 'subject' does for each row",
            )
        target = Target(table.name, _address(table, options), options["subject"], self._encoder(table, value), columns)
        return NatsSink(target, value.format.changelog, options["sink.delivery-guarantee"] == "exactly-once")


def _address(table: TableContext, options: Mapping[str, Any]) -> Address:
    from sqlstream.connectors.nats.client import Address

    servers = tuple(s.strip() for s in options["url"].split(",") if s.strip())
    for server in servers:
        if server.partition("://")[0] not in ("nats", "tls", "ws", "wss") or "://" not in server:
            raise OptionError(
                f"table {table.name}: option 'url': '{server}' is not of the form nats://host:4222",
                hint="tls://host:4222 is secured",
            )
    ways = [k for k in ("username", "token", "credentials-file", "nkey-seed-file") if options[k] is not None]
    if len(ways) > 1 or options["password"] is not None and ways != ["username"]:
        raise OptionError(
            f"table {table.name}: options {', '.join(repr(k) for k in [*ways, *(['password'] if options['password'] else [])])} do not go together",
            hint="'username' and 'password', or one of 'token', 'credentials-file', 'nkey-seed-file'",
        )
    given = {
        "user": options["username"],
        "password": options["password"],
        "token": options["token"],
        "user_credentials": path_of(table, options["credentials-file"]),
        "nkeys_seed": path_of(table, options["nkey-seed-file"]),
    }
    settings = {name: value for name, value in given.items() if value is not None}
    secured = any(s.startswith(("tls://", "wss://")) for s in servers)
    tls_context(table, options, secured)  # says now what is wrong with it
    return Address(servers, settings, partial(tls_context, table, options, secured))
