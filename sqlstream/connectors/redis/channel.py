"""Channels of Redis as a source: what is published while nobody listens is lost, and so is what comes while a job is down."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from sqlstream.connectors.messages.arrays import Known
from sqlstream.connectors.messages.clients import Backoff, Unreachable
from sqlstream.connectors.messages.decoder import PartFormat
from sqlstream.connectors.messages.pushed import Client as Pushing
from sqlstream.connectors.messages.pushed import Delivery, Inbox, PushedSource
from sqlstream.connectors.redis.client import Address, Client
from sqlstream.contracts import TableContext
from sqlstream.errors import SqlStreamError
from sqlstream.threads import start
from sqlstream.types import STRING

STEP = 0.2  # s that is waited for a message

KNOWN: Known = {"channel": (STRING.null(False), lambda m: m["channel"].decode("utf-8", "replace"))}


def _pattern(name: str) -> str:
    """Of the characters that mean something to Redis * alone does so here."""
    return "".join(f"\\{c}" if c in "?[]\\" else c for c in name)


class ChannelSource(PushedSource):
    """`names`: channels, with * for any text."""

    known = KNOWN

    def __init__(
        self, table: TableContext, address: Address, names: tuple[str, ...], value: PartFormat, bad_records: str
    ) -> None:
        super().__init__(table, value, bad_records)
        self.address, self.names = address, names

    @property
    def where(self) -> str:
        return f"table {self.table.name}: channels {'; '.join(self.names)}"

    def open(self, durable: bool) -> Pushing:
        return Listener(self)


class Listener(Pushing):
    """Listens on a thread of its own, and again when the connection was lost."""

    def __init__(self, source: ChannelSource) -> None:
        self.inbox, self._source = Inbox(), source
        self._client = Client(source.address, source.table.name)
        self._closing = False
        self._subscription: Any = None
        self._client.once(self._subscribe)
        self._thread = start("sqlstream-redis", self._run)

    def _subscribe(self, connection: Any) -> None:
        self._subscription = connection.pubsub(ignore_subscribe_messages=True)
        self._subscription.psubscribe(*(_pattern(n) for n in self._source.names))
        self._subscription.get_message(timeout=STEP)  # sends it, and learns of a refusal

    def _run(self) -> None:
        backoff = Backoff()
        while not self._closing:
            try:
                if self._subscription is None:
                    self._client.once(self._subscribe)
                message = self._client.once(lambda connection: self._subscription.get_message(timeout=STEP))
                backoff.succeeded()
            except Unreachable as e:
                self._source.noted.reconnect(
                    f"warning: {e.message}; it is tried again, and what was published meanwhile is lost"
                )
                self._subscription = None
                time.sleep(min(backoff.rest(), 1.0))
                continue
            except SqlStreamError as e:
                self.inbox.fail(e)
                return
            if message is not None and message["type"] == "pmessage":
                self.inbox.put(Delivery(message["data"], message))

    def acknowledge(self, tags: Sequence[Any]) -> None:
        """There is nobody who remembers."""

    def close(self) -> None:
        self._closing = True
        self._thread.join(2 * STEP + 1)
        self._client.close()
