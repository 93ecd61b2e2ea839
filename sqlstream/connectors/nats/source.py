"""A stream of JetStream as a source: one split, whose positions are sequence numbers."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from sqlstream.connectors.messages.arrays import wanted
from sqlstream.connectors.messages.decoder import PartFormat
from sqlstream.connectors.messages.reader import MessageReader
from sqlstream.connectors.messages.source import MessageSource
from sqlstream.connectors.nats.client import Address, Client
from sqlstream.connectors.nats.reader import Reading, StreamFeed, stream_of
from sqlstream.contracts import ScanRequest, Split, SplitReader, TableContext
from sqlstream.errors import OptionError, SqlStreamError

EARLIEST, LATEST, AT_TIME, SEQUENCE, UNBOUNDED = "earliest", "latest", "timestamp", "sequence", "unbounded"


@dataclass(frozen=True)
class Start:
    """Where reading begins. `time`: ms since 1970."""

    mode: str
    time: int = 0
    sequence: int = 1


class NatsSource(MessageSource):
    """`reading.stream`: "" for the one that has the subject."""

    def __init__(
        self,
        table: TableContext,
        address: Address,
        reading: Reading,
        value: PartFormat,
        start: Start,
        bounded: bool,
        bad_records: str,
    ) -> None:
        super().__init__(table, value, bad_records)
        self._address, self._reading, self._start, self.bounded = address, reading, start, bounded
        self._feed: StreamFeed | None = None
        self._checkpoints = False  # the job takes such

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_feed": None}

    def _connect(self, renewed: Callable[[], None] = lambda: None) -> Client:
        return Client(self._address, self.table.name, self.noted.add, renewed, self.noted.reconnect)

    def begins(self, durable: bool) -> None:
        self._checkpoints = durable

    def splits(
        self,
        known: tuple[Split, ...] = (),
        positions: Mapping[str, Any] = MappingProxyType({}),
        finished: Collection[str] = (),
    ) -> list[Split]:
        if known:
            return list(known)
        client = self._connect()
        try:
            name = self._reading.stream or client.run(self._named(client))
            found = client.run(stream_of(client, self.table.name, name))
        finally:
            client.close()
        state = found.state
        if found.config.retention == "workqueue" and self._start.mode != EARLIEST:
            raise OptionError(
                f"table {self.table.name}: option 'scan.startup.mode' = '{self._start.mode}': stream {name} is a work queue, and what is "
                "passed over would go, unread",
                hint="its messages are read from the first one that is there: 'earliest'",
                subject="scan.startup.mode",
            )
        start = {EARLIEST: max(state.first_seq, 1), LATEST: state.last_seq + 1, SEQUENCE: self._start.sequence}
        info: dict[str, Any] = {"stream": name, "start": start.get(self._start.mode, 0)}
        if self._start.mode == AT_TIME:
            at = datetime.datetime.fromtimestamp(self._start.time / 1000, datetime.UTC)
            info["since"] = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        if self.bounded:
            info["stop"] = state.last_seq + 1
        return [Split(name, info)]

    async def _named(self, client: Client) -> str:
        subject = self._reading.subjects[0]
        try:
            found: str = await client.stream.find_stream_name_by_subject(subject)
        except client.stream_errors.NotFoundError as e:
            raise OptionError(
                f"table {self.table.name}: no stream has subject '{subject}'",
                hint="messages are read from streams of JetStream: nats stream add makes one, and 'stream' names it",
            ) from e
        return found

    def unreadable(
        self, known: tuple[Split, ...], positions: Mapping[str, Any], finished: Collection[str]
    ) -> str | None:
        try:
            client = self._connect()
            try:
                found = client.run(stream_of(client, self.table.name, known[0].info["stream"]))
            finally:
                client.close()
        except SqlStreamError as e:
            return e.message
        if found.config.retention == "workqueue":
            return f"table {self.table.name}: stream {known[0].id} gives its messages once"
        if found.state.first_seq > max(known[0].info["start"], 1):
            return f"table {self.table.name}: stream {known[0].id}: what stood at its start was deleted (the stream's limits)"
        return None

    def reader(self, split: Split, position: Any, request: ScanRequest, first_row: int = 0) -> SplitReader:
        info = split.info
        decoder = self.decoder(request, f"table {self.table.name}: stream {info['stream']}")
        durable = self._reading.durable
        reading = Reading(
            info["stream"], self._reading.subjects, durable, durable is not None and not self._checkpoints
        )
        begin = int((position or {}).get("offset", info["start"]))
        feed = self._feed = StreamFeed(
            self._connect, self.table.name, reading, begin, info.get("since"), info.get("stop"), position is not None,
            wanted(request), self.noted,
        )  # fmt: skip
        return MessageReader(feed, decoder, position, first_row, self.bounded)

    def checkpointed(self, positions: Mapping[str, Any]) -> None:
        """Of a durable consumer the server learns what was taken; positions are the job's own."""
        if self._reading.durable is None or self._feed is None:
            return
        for position in positions.values():
            if position is not None:
                self._feed.acknowledge(position["offset"])
