"""Queues of RabbitMQ as a source: messages are acknowledged behind checkpoints, and those of a job that died come again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlstream.connectors.messages.arrays import Known
from sqlstream.connectors.messages.decoder import PartFormat
from sqlstream.connectors.messages.pushed import Client, Delivery, Inbox, PushedSource
from sqlstream.connectors.rabbitmq.client import Address, Connection
from sqlstream.contracts import TableContext
from sqlstream.errors import DataError
from sqlstream.types import BIGINT, BOOLEAN, INT, STRING, map_of, timestamp_ltz

OFFSET = "x-stream-offset"
ASKED = 2.0  # s between two questions how many messages a queue has
LAST = 253_402_300_799  # s since 1970, of the last second of the year 9999


@dataclass(frozen=True, slots=True)
class Found:
    """A message, as pika gives it."""

    method: Any
    properties: Any

    @property
    def offset(self) -> int | None:
        """In a stream."""
        return (self.properties.headers or {}).get(OFFSET)


def _text(value: Any) -> str | None:
    return None if value is None else value if isinstance(value, str) else str(value)


def _time(seconds: Any) -> int | None:
    """In µs; one that is none, as senders may say milliseconds or anything, is not known."""
    return None if seconds is None or not 0 <= int(seconds) <= LAST else int(seconds) * 1_000_000


def _headers(m: Found) -> list[tuple[str, str | None]] | None:
    found = m.properties.headers
    return None if found is None else [(k, _text(v)) for k, v in found.items()]


KNOWN: Known = {
    "routing-key": (STRING.null(False), lambda m: m.method.routing_key),
    "exchange": (STRING.null(False), lambda m: m.method.exchange),
    "redelivered": (BOOLEAN.null(False), lambda m: bool(m.method.redelivered)),
    "message-id": (STRING, lambda m: m.properties.message_id),
    "correlation-id": (STRING, lambda m: m.properties.correlation_id),
    "timestamp": (timestamp_ltz(3), lambda m: _time(m.properties.timestamp)),
    "headers": (map_of(STRING.null(False), STRING), _headers),
    "content-type": (STRING, lambda m: m.properties.content_type),
    "priority": (INT, lambda m: m.properties.priority),
    "offset": (BIGINT, lambda m: m.offset),
}


@dataclass(frozen=True)
class Queue:
    """`kind`: classic, quorum or stream; `declare`: it is made if it is not there. `prefetch`: messages that wait to be acknowledged, at
    most; 0: any number."""

    name: str
    kind: str
    declare: bool
    prefetch: int

    def begin(
        self, channel: Any, then: Callable[[], None], counted: Callable[[int], None] = lambda messages: None
    ) -> None:
        """Sees to it that it is there, and then goes on. `counted` is told how many messages it has."""
        arguments = {"x-queue-type": self.kind} if self.declare else None

        def limited(answer: Any) -> None:
            counted(answer.method.message_count)
            channel.basic_qos(prefetch_count=self.prefetch, callback=lambda answer: then())

        channel.queue_declare(self.name, passive=not self.declare, durable=True, arguments=arguments, callback=limited)


class QueueSource(PushedSource):
    """`ids`: messages are known by their correlation ids."""

    known = KNOWN

    def __init__(
        self, table: TableContext, address: Address, queue: Queue, value: PartFormat, bad_records: str, ids: bool
    ) -> None:
        super().__init__(table, value, bad_records, ids)
        self.address, self.queue, self.by_id = address, queue, ids

    @property
    def where(self) -> str:
        return f"table {self.table.name}: queue {self.queue.name}"

    def open(self, durable: bool) -> Client:
        return Consumer(self)


class Consumer(Client):
    """A tag is (the number of the connection, the delivery's): one of an earlier connection means nothing."""

    def __init__(self, source: QueueSource) -> None:
        self.inbox, self._source = Inbox(), source
        self._generation = 0
        self._connection = Connection(
            source.address, source.table.name, source.noted.reconnect, self._ready, self._lost, self.inbox.fail
        )

    def _ready(self, connection: Connection, channel: Any) -> None:
        self._generation += 1
        queue, self._channel = self._source.queue, channel

        def consume() -> None:
            channel.basic_consume(queue.name, self._got, callback=lambda answer: connection.began())

        channel.add_on_cancel_callback(self._canceled)
        queue.begin(channel, consume, self._counted)
        generation = self._generation

        def ask() -> None:
            if generation == self._generation and channel.is_open:
                channel.queue_declare(
                    queue.name, passive=True, callback=lambda a: self._counted(a.method.message_count)
                )
                connection.later(ASKED, ask)

        connection.later(ASKED, ask)

    def _counted(self, messages: int) -> None:
        """How many nobody has been given."""
        self.left = messages

    def _canceled(self, frame: Any) -> None:
        self.inbox.fail(DataError(f"{self._source.where}: it was deleted"))

    def _got(self, channel: Any, method: Any, properties: Any, body: bytes) -> None:
        id_ = properties.correlation_id
        if self._source.by_id and id_ is None:
            self.inbox.fail(
                DataError(
                    f"{self._source.where}: a message has no correlation id, by which it would be known when it comes again",
                    hint="those who send must give each message its own; or leave 'use-correlation-id' out: at least once",
                )
            )
            return
        tag = (self._generation, method.delivery_tag)
        self.inbox.put(Delivery(body, Found(method, properties), tag, id_ if self._source.by_id else None))

    def _lost(self) -> None:
        """The server has taken back what was not acknowledged."""
        self.inbox.clear()
        if self.taken_back is not None:
            self.taken_back()

    def acknowledge(self, tags: Sequence[Any]) -> None:
        """They are a beginning of what was not acknowledged."""
        generation, last = max(tags)

        def acknowledged() -> None:
            if generation == self._generation and self._channel.is_open:
                self._channel.basic_ack(last, multiple=True)

        self._connection.call(acknowledged)

    def noted(self, then: Callable[[], None]) -> None:
        """A channel does one thing after the other: what it answers to, it does behind what was acknowledged."""
        generation = self._generation

        def asked() -> None:
            if generation == self._generation and self._channel.is_open:
                self._channel.basic_qos(prefetch_count=self._source.queue.prefetch, callback=lambda answer: then())

        self._connection.call(asked)

    def close(self) -> None:
        self._connection.close()
