"""Topics of a broker as a source.

With QoS 1 and a session that the broker keeps (a client id) it sends what was not acknowledged again, to the next process too.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from typing import Any

from sqlstream.connectors.messages.arrays import Known
from sqlstream.connectors.messages.decoder import PartFormat
from sqlstream.connectors.messages.pushed import Client, Delivery, Inbox, PushedSource
from sqlstream.connectors.mqtt.client import Address, Connection
from sqlstream.contracts import TableContext
from sqlstream.errors import RunError
from sqlstream.types import BOOLEAN, INT, STRING

KNOWN: Known = {
    "topic": (STRING.null(False), lambda m: m.topic),
    "qos": (INT.null(False), lambda m: m.qos),
    "retained": (BOOLEAN.null(False), lambda m: bool(m.retain)),
    "duplicate": (BOOLEAN.null(False), lambda m: bool(m.dup)),
}


class MqttSource(PushedSource):
    """`filters`: topics, which may have + and #."""

    known = KNOWN

    def __init__(
        self,
        table: TableContext,
        address: Address,
        filters: tuple[str, ...],
        qos: int,
        value: PartFormat,
        bad_records: str,
    ) -> None:
        super().__init__(table, value, bad_records)
        self.address, self.filters, self.qos = address, filters, qos

    @property
    def where(self) -> str:
        return f"table {self.table.name}: topics {'; '.join(self.filters)}"

    def open(self, durable: bool) -> Client:
        return Subscriber(self)


class Subscriber(Client):
    """Subscribes whenever a connection is made. A message that the broker sends again over a new connection, while it waits here to be
    acknowledged, is the same one: it was not given another number, as this one is not free."""

    def __init__(self, source: MqttSource) -> None:
        self.inbox, self._source = Inbox(), source
        self._lock = threading.Lock()
        # Numbers of packets that wait to be acknowledged, and what stood in them (hashed); they begin anew with each session.
        self._held: dict[int, int] = {}
        self._session = 0
        self._subscribed: deque[int] = deque()
        self._connection = Connection(
            source.address, source.table.name, source.noted.reconnect, self._made, self._got, self.inbox.fail
        )

    def _made(self, client: Any, session_kept: bool) -> None:
        if not session_kept:
            with self._lock:
                self._held.clear()
                self._session += 1
        client.on_subscribe = self._on_subscribe
        client.subscribe([(f, self._source.qos) for f in self._source.filters])

    def _on_subscribe(self, client: Any, data: Any, number: int, reasons: Sequence[Any], properties: Any) -> None:
        for filter_, reason in zip(self._source.filters, reasons, strict=False):
            if reason.is_failure:
                self.inbox.fail(
                    RunError(f"table {self._source.table.name}: topic {filter_}: the broker refuses it: {reason}")
                )
            elif int(reason.value) < self._source.qos:
                self._source.noted.add(
                    f"warning: table {self._source.table.name}: topic {filter_}: the broker gives QoS {int(reason.value)} at most"
                )

    def _got(self, client: Any, message: Any) -> None:
        tag = None
        if message.qos == 1:
            content = hash((message.topic, bytes(message.payload)))
            with self._lock:
                if message.dup and self._held.get(message.mid) == content:
                    return
                self._held[message.mid] = content
                tag = (self._session, message.mid)
        elif message.qos == 2:  # it was acknowledged before it came here: this only ends the exchange
            client.ack(message.mid, 2)
        self.inbox.put(Delivery(bytes(message.payload), message, tag))

    def acknowledge(self, tags: Sequence[Any]) -> None:
        for tag in tags:
            if tag is None:
                continue
            session, number = tag
            with self._lock:
                if session != self._session:
                    continue  # the broker has forgotten it, and may have given its number to another one
                self._held.pop(number, None)
            self._connection.client.ack(number, 1)

    def close(self) -> None:
        self._connection.close()
