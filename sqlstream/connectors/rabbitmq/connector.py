"""What `'connector' = 'rabbitmq'` means: its options, checked, and the sources and sinks that these make."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlstream.connectors.messages.arrays import Known
from sqlstream.connectors.messages.clients import LAST_TIME, TLS_OPTIONS, tls_context
from sqlstream.connectors.messages.connector import FORMAT_OPTIONS, MessageConnector
from sqlstream.contracts import Sink, Source, TableContext
from sqlstream.errors import OptionError
from sqlstream.options import Option

if TYPE_CHECKING:
    from sqlstream.connectors.rabbitmq.client import Address

_STREAM = ("scan.startup.mode", "scan.startup.timestamp-millis", "scan.startup.offset")
_OF_MODE = {"timestamp": "scan.startup.timestamp-millis", "offset": "scan.startup.offset"}


class RabbitConnector(MessageConnector):
    """`'connector' = 'rabbitmq'`."""

    name = "rabbitmq"
    written = frozenset({"routing-key", "correlation-id", "message-id", "headers", "content-type", "priority"})
    options = (
        Option("url", required=True, doc="the server: amqp://host:5672/virtual-host, amqps://…", compared="nothing"),
        Option("queue", doc="what is read. What is written goes there, unless 'exchange' or 'routing-key' says otherwise"),
        Option("queue.type", "enum", "classic", "what the queue is; the messages of a stream have offsets, and stay when they were read",
               ("classic", "quorum", "stream")),
        Option("queue.declare", "bool", False, "whether the queue is made, durable, when it is not there", compared="nothing"),
        Option("use-correlation-id", "bool", False,
               "of a queue that is read: each message has a correlation id of its own, by which one that comes again after a failure is passed "
               "over: exactly once"),
        Option("scan.prefetch-count", "int", 20_000,
               "messages that the server sends before some are acknowledged, which checkpoints do: so many come between two of them, at "
               "most; 0: no limit", minimum=0, maximum=65_535, compared="nothing"),
        Option("scan.startup.mode", "enum", "earliest", "where reading of a stream begins: at its first message, behind its last one, at a time, at an "
               "offset", ("earliest", "latest", "timestamp", "offset")),
        Option("scan.startup.timestamp-millis", "int", doc="ms since 1970, for 'scan.startup.mode' = 'timestamp': the block of messages that has "
               "this time is the first one", minimum=0, maximum=LAST_TIME),
        Option("scan.startup.offset", "int", doc="the first message, for 'scan.startup.mode' = 'offset'", minimum=0),
        Option("exchange", doc="where rows are published; the default one, which has each queue by its name, if it is left out"),
        Option("routing-key", doc="of rows whose METADATA 'routing-key' is NULL, or that have none; the queue, if it is left out"),
        Option("username", doc="who asks, unless it is in the URL; guest, if nobody is named", compared="nothing"),
        Option("password", doc="of this user", compared="nothing"),
        *TLS_OPTIONS,
        *FORMAT_OPTIONS,
    )  # fmt: skip

    def known(self, table: TableContext) -> Known:
        from sqlstream.connectors.rabbitmq.source import KNOWN

        return KNOWN

    def source(self, table: TableContext) -> Source:
        # here: not before a table of it is read
        from sqlstream.connectors.rabbitmq.source import Queue, QueueSource
        from sqlstream.connectors.rabbitmq.stream import StreamSource

        options, value, bad = self._read(table)
        name, kind = options["queue"], options["queue.type"]
        if not name:
            raise OptionError(f"table {table.name}: option 'queue' is missing", hint="it says what is read")
        streamed = kind == "stream"
        wrong = [k for k in (("use-correlation-id",) if streamed else _STREAM) if k in table.options]
        if wrong:
            raise OptionError(
                f"table {table.name}: option '{wrong[0]}' is for {'a queue whose messages go' if streamed else 'a stream'}",
                hint="its messages are known by their offsets" if streamed else "'queue.type' = 'stream'",
                subject=wrong[0],
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
        prefetch = options["scan.prefetch-count"]
        queue = Queue(name, kind, options["queue.declare"], prefetch if not streamed else prefetch or 20_000)
        address = self._address(table, options)
        if not streamed:
            return QueueSource(table, address, queue, value, bad, options["use-correlation-id"])
        start = {"earliest": "first", "latest": "next", "timestamp": {"time": options["scan.startup.timestamp-millis"]}}
        return StreamSource(table, address, queue, value, bad, start.get(mode, options["scan.startup.offset"]))

    def sink(self, table: TableContext) -> Sink:
        from sqlstream.connectors.rabbitmq.sink import RabbitSink, Target
        from sqlstream.connectors.rabbitmq.source import Queue

        options, value, _ = self._read(table)
        columns = self._metadata_columns(table)
        exchange, name = options["exchange"] or "", options["queue"]
        key = options["routing-key"]
        if key is None and not name and "routing-key" not in columns and not exchange:
            raise OptionError(
                f"table {table.name}: option 'queue' is missing",
                hint="it says where rows go; or 'exchange' and 'routing-key' do, or a column METADATA FROM 'routing-key'",
            )
        queue = Queue(name, options["queue.type"], True, 0) if name and options["queue.declare"] else None
        if key is None:
            key = name if name and not exchange else ""
        address = self._address(table, options)
        target = Target(table.name, address, exchange, key, queue, self._encoder(table, value), columns)
        return RabbitSink(target, value.format.changelog)

    def _address(self, table: TableContext, options: Mapping[str, Any]) -> Address:
        from sqlstream.connectors.rabbitmq.client import Address, check_url

        secured = check_url(table.name, options["url"])
        tls_context(table, options, secured)  # says now what is wrong with it
        if (options["password"] is None) != (options["username"] is None):
            raise OptionError(f"table {table.name}: options 'username' and 'password' go together")
        return Address(
            options["url"], options["username"], options["password"], partial(tls_context, table, options, secured)
        )
