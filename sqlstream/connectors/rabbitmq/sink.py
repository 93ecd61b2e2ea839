"""Rows of a table as messages of an exchange: published as they come, and confirmed by the server before a checkpoint is complete."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from sqlstream.connectors.messages.clients import Unreachable, library
from sqlstream.connectors.messages.encoder import PartEncoder
from sqlstream.connectors.rabbitmq.client import Address, Connection
from sqlstream.connectors.rabbitmq.source import Queue
from sqlstream.contracts import Committable, Sink, SinkTask, SinkWriter
from sqlstream.errors import DataError, RunError, SqlStreamError

WINDOW = 5_000  # messages that wait to be confirmed
PATIENCE = 60.0  # s that a server may be gone
SHORT = 255  # bytes of a routing key, and of most properties
_SHORT = ("correlation-id", "message-id", "content-type")
WRITTEN = frozenset({"routing-key", "correlation-id", "message-id", "headers", "content-type", "priority"})
_PROPERTIES = {"correlation-id": "correlation_id", "message-id": "message_id", "content-type": "content_type",
               "priority": "priority", "headers": "headers"}  # fmt: skip


@dataclass(frozen=True)
class Target:
    """Where and how rows are written. `key`: the routing key of rows whose own is NULL, or that have none; `queue`: is declared."""

    table: str
    address: Address
    exchange: str
    key: str
    queue: Queue | None
    encoder: PartEncoder
    columns: Mapping[str, str]


@dataclass(slots=True)
class _Message:
    key: str
    value: bytes
    properties: dict[str, Any]


class RabbitSink(Sink):
    """At least once."""

    def __init__(self, target: Target, changelog: bool) -> None:
        self.target, self.changelog = target, changelog

    def writer(self, task: SinkTask) -> SinkWriter:
        return RabbitWriter(self.target)


class RabbitWriter(SinkWriter):
    """What was not confirmed when a connection was lost is published again over the next one."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._properties = library("pika", "rabbitmq", "rabbitmq").BasicProperties
        self._changed = threading.Condition()
        self._waiting: dict[int, _Message] = {}  # by their number on the channel
        self._unsent: list[_Message] = []
        self._number = 0
        self._error: SqlStreamError | None = None
        self._channel: Any = None
        self._connection = Connection(target.address, target.table, self._warn, self._ready, self._lost, self._failed)

    def _warn(self, text: str) -> None:
        """What passes by itself is told by the job when it does not: waiting ends after a time."""

    # ---- on the connection's thread

    def _ready(self, connection: Connection, channel: Any) -> None:
        def begun() -> None:
            channel.add_on_return_callback(self._returned)
            channel.confirm_delivery(self._confirmed, callback=lambda answer: self._go_on(connection, channel))

        queue = self._target.queue
        exchange = self._target.exchange
        if queue is not None:
            queue.begin(channel, begun)
        elif exchange:
            channel.exchange_declare(exchange, passive=True, callback=lambda answer: begun())
        else:
            begun()

    def _go_on(self, connection: Connection, channel: Any) -> None:
        with self._changed:
            self._unsent = [*self._waiting.values(), *self._unsent]
            self._waiting, self._number, self._channel = {}, 0, channel
        connection.began()
        self._send()

    def _send(self) -> None:
        with self._changed:
            channel, messages, self._unsent = self._channel, self._unsent, []
            if channel is None or not channel.is_open:
                self._unsent = messages
                return
            for m in messages:
                self._number += 1
                self._waiting[self._number] = m
        for m in messages:
            properties = self._properties(delivery_mode=2, **m.properties)
            channel.basic_publish(self._target.exchange, m.key, m.value, properties, mandatory=True)

    def _confirmed(self, frame: Any) -> None:
        method = frame.method
        with self._changed:
            upto = [n for n in self._waiting if n <= method.delivery_tag] if method.multiple else [method.delivery_tag]
            for n in upto:
                self._waiting.pop(n, None)
            if method.NAME != "Basic.Ack":
                self._error = self._error or RunError(
                    f"table {self._target.table}: the server could not take a message",
                    hint="its log says why: a full queue?",
                )
            self._changed.notify_all()

    def _returned(self, channel: Any, method: Any, properties: Any, body: bytes) -> None:
        to = f"exchange '{method.exchange}'" if method.exchange else "the default exchange"
        self._failed(
            RunError(
                f"table {self._target.table}: no queue gets messages of {to} with routing key '{method.routing_key}': "
                f"{method.reply_text}",
                hint="bind one, or, with 'queue', 'queue.declare' = 'true' makes it",
            )
        )

    def _lost(self) -> None:
        with self._changed:
            self._channel = None

    def _failed(self, error: SqlStreamError) -> None:
        with self._changed:
            self._error = self._error or error
            self._changed.notify_all()

    # ---- on the task's

    def write(self, batch: pa.RecordBatch, kinds: np.ndarray | None) -> None:
        target, n = self._target, batch.num_rows
        said = {k: batch.column(c).to_pylist() for k, c in target.columns.items()}
        encoded = target.encoder.encode(batch, kinds)
        values = encoded.values()
        self.sent(encoded.total)
        messages = []
        for i, value in enumerate(values):
            own = {_PROPERTIES[k]: v[i] for k, v in said.items() if k in _PROPERTIES and v[i] is not None}
            if "headers" in own:
                own["headers"] = dict(own["headers"])
            key = said["routing-key"][i] if "routing-key" in said else None
            key = target.key if key is None else key
            self._check(key, own)
            messages.append(_Message(key, value or b"", own))
        for at in range(0, n, WINDOW):
            with self._changed:
                self._unsent += messages[at : at + WINDOW]
            self._connection.call(self._send)
            self._wait(WINDOW)

    def _check(self, key: str, own: dict[str, Any]) -> None:
        """What AMQP has no room for would fail on the connection's thread."""
        priority = own.get("priority", 0)
        if not 0 <= priority <= 255:
            raise DataError(f"table {self._target.table}: METADATA 'priority' is {priority}: it is from 0 to 255")
        texts = {"routing-key": key, **{k: own[p] for k, p in _PROPERTIES.items() if k in _SHORT and p in own}}
        for name, text in texts.items():
            if len(text.encode()) > SHORT:
                raise DataError(
                    f"table {self._target.table}: METADATA '{name}' has {len(text.encode())} bytes, and AMQP room for {SHORT}: {text[:50]}…"
                )
        for name in dict(own.get("headers", {})):
            if len(name.encode()) > SHORT:
                raise DataError(
                    f"table {self._target.table}: a name in METADATA 'headers' has more than {SHORT} bytes: {name[:50]}…"
                )

    def flush(self) -> None:
        self._wait(0)

    def prepare(self, checkpoint: int) -> list[Committable]:
        self._wait(0)
        return []

    def _wait(self, left: int) -> None:
        """Until so many are left that are not confirmed."""
        with self._changed:
            until, before = time.monotonic() + PATIENCE, -1
            while (now := len(self._waiting) + len(self._unsent)) > left and self._error is None:
                if now != before:
                    until, before = time.monotonic() + PATIENCE, now
                elif time.monotonic() > until:
                    raise Unreachable(
                        f"table {self._target.table}: {now:,} messages are not with the server after {PATIENCE:.0f} s",
                        hint="is it there, and does it take messages (memory, disk)?",
                    )
                self._changed.wait(0.1)
            if self._error is not None:
                raise self._error

    def close(self) -> None:
        self._connection.close()
