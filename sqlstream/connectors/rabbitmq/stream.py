"""Streams of RabbitMQ as a source: messages have offsets, which are positions, so that each is a row once."""

from __future__ import annotations

import datetime
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from sqlstream.connectors.messages.arrays import messages_of, wanted
from sqlstream.connectors.messages.decoder import PartFormat
from sqlstream.connectors.messages.messages import Messages
from sqlstream.connectors.messages.pushed import Delivery, Inbox
from sqlstream.connectors.messages.reader import WAIT, Feed, MessageReader
from sqlstream.connectors.messages.source import MessageSource
from sqlstream.connectors.rabbitmq.client import Address, Connection
from sqlstream.connectors.rabbitmq.source import KNOWN, OFFSET, Found, Queue
from sqlstream.contracts import ScanRequest, Split, SplitReader, TableContext
from sqlstream.errors import DataError

EARLIEST, LATEST, AT_TIME, AT_OFFSET = "earliest", "latest", "timestamp", "offset"


class StreamSource(MessageSource):
    """`start`: an offset, "first", "next", or ms since 1970 as {"time": …}."""

    bounded = False

    def __init__(
        self, table: TableContext, address: Address, queue: Queue, value: PartFormat, bad_records: str, start: Any
    ) -> None:
        super().__init__(table, value, bad_records)
        self.address, self.queue, self._start = address, queue, start

    @property
    def where(self) -> str:
        """What errors begin with."""
        return f"table {self.table.name}: stream {self.queue.name}"

    def splits(
        self,
        known: tuple[Split, ...] = (),
        positions: Mapping[str, Any] = MappingProxyType({}),
        finished: Collection[str] = (),
    ) -> list[Split]:
        return list(known) or [Split(self.queue.name, {"start": self._start})]

    def unreadable(
        self, known: tuple[Split, ...], positions: Mapping[str, Any], finished: Collection[str]
    ) -> str | None:
        if isinstance(known[0].info["start"], int):
            return None
        return f"{self.where}: where it began is not known any more"

    def reader(self, split: Split, position: Any, request: ScanRequest, first_row: int = 0) -> SplitReader:
        decoder = self.decoder(request, self.where)
        begin = split.info["start"] if position is None else position["offset"]
        return MessageReader(StreamFeed(self, begin, wanted(request)), decoder, position, first_row)


class StreamFeed(Feed):
    """Acknowledging only says that more may come: the server remembers nothing."""

    def __init__(self, source: StreamSource, begin: Any, keys: Sequence[str]) -> None:
        self._source, self._keys = source, keys
        self._begin, self._next = begin, begin if isinstance(begin, int) else None
        self._inbox, self._generation = Inbox(), 0
        self._connection = Connection(
            source.address, source.table.name, source.noted.reconnect, self._ready, self._inbox.clear, self._inbox.fail
        )

    @property
    def following(self) -> dict[str, Any]:
        return {"offset": self._begin if self._next is None else self._next}

    def _ready(self, connection: Connection, channel: Any) -> None:
        self._generation += 1
        self._channel, queue = channel, self._source.queue
        at = self._begin if self._next is None else self._next
        if isinstance(at, dict):
            at = datetime.datetime.fromtimestamp(at["time"] / 1000, datetime.UTC)

        def consume() -> None:
            channel.basic_consume(
                queue.name, self._got, arguments={OFFSET: at}, callback=lambda answer: connection.began()
            )

        channel.add_on_cancel_callback(
            lambda frame: self._inbox.fail(DataError(f"{self._source.where}: it was deleted"))
        )
        queue.begin(channel, consume)

    def _got(self, channel: Any, method: Any, properties: Any, body: bytes) -> None:
        found = Found(method, properties)
        if found.offset is None:
            self._inbox.fail(
                DataError(
                    f"{self._source.where}: it is no stream", hint="'queue.type' = 'classic' or 'quorum' reads queues"
                )
            )
            return
        self._inbox.put(Delivery(body, found, (self._generation, method.delivery_tag)))

    def take(self) -> Messages | None:
        got = self._inbox.take(WAIT)
        if not got:
            return None
        generation, last = got[-1].tag

        def more() -> None:
            if generation == self._generation and self._channel.is_open:
                self._channel.basic_ack(last, multiple=True)

        self._connection.call(more)
        after = -1 if self._next is None else self._next - 1
        got = [
            d for d in got if d.message.offset > after
        ]  # the server sends whole blocks, and again after a lost connection
        if not got:
            return None
        offsets = [d.message.offset for d in got]
        self._next = offsets[-1] + 1
        return messages_of([d.message for d in got], [d.value for d in got], offsets, self._keys, KNOWN)

    def close(self) -> None:
        self._inbox.close()
        self._connection.close()
