"""Streams of Redis as a source: entries have ids that grow, which are positions, so that each is a row once. A position is {"id": of the
last entry that was taken}.

An entry is fields and their values. By default they are columns; with a format the field `stream.field` has the message.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from sqlstream.connectors.messages.arrays import Known, messages_of, wanted
from sqlstream.connectors.messages.clients import Backoff, Unreachable
from sqlstream.connectors.messages.decoder import PartFormat
from sqlstream.connectors.messages.messages import Messages
from sqlstream.connectors.messages.reader import WAIT, Feed, MessageReader
from sqlstream.connectors.messages.source import MessageSource
from sqlstream.connectors.redis.client import Address, Client
from sqlstream.connectors.redis.fields import object_of
from sqlstream.contracts import ScanRequest, Split, SplitReader, TableContext
from sqlstream.errors import OptionError
from sqlstream.types import STRING, timestamp_ltz

MOST = 5_000  # entries that are asked for at once
EARLIEST, LATEST, AT_TIME, AT_ID = "earliest", "latest", "timestamp", "id"
NONE = "0-0"  # before all entries


def parsed(id_: str) -> tuple[int, int]:
    """The milliseconds and the number of an id, by which ids are compared."""
    a, _, b = id_.partition("-")
    return int(a), int(b or 0)


Entry = tuple[bytes, dict[bytes, bytes]]

KNOWN: Known = {
    "id": (STRING.null(False), lambda e: e[0].decode()),
    "timestamp": (timestamp_ltz(3).null(False), lambda e: parsed(e[0].decode())[0] * 1000),
}


@dataclass(frozen=True)
class Stream:
    """`field`: has the message; None: the fields are columns. `start`: the id behind which it is read, or EARLIEST, LATEST."""

    key: str
    field: str | None
    start: str
    bounded: bool
    parts: frozenset[str] = frozenset()  # fields whose texts are JSON

    def value(self, fields: dict[bytes, bytes]) -> bytes | None:
        """The message of an entry."""
        if self.field is not None:
            return fields.get(self.field.encode())
        texts = {k.decode("utf-8", "replace"): v.decode("utf-8", "replace") for k, v in fields.items()}
        return object_of(texts, self.parts)


class StreamSource(MessageSource):
    """One split."""

    def __init__(
        self, table: TableContext, address: Address, stream: Stream, value: PartFormat, bad_records: str
    ) -> None:
        super().__init__(table, value, bad_records)
        self.address, self.stream, self.bounded = address, stream, stream.bounded

    @property
    def where(self) -> str:
        """What errors begin with."""
        return f"table {self.table.name}: stream {self.stream.key}"

    def connect(self) -> Client:
        """A new connection."""
        return Client(self.address, self.table.name)

    def splits(
        self,
        known: tuple[Split, ...] = (),
        positions: Mapping[str, Any] = MappingProxyType({}),
        finished: Collection[str] = (),
    ) -> list[Split]:
        if known:
            return list(known)
        client = self.connect()
        try:
            kind = client.once(lambda connection: connection.type(self.stream.key)).decode()
            if kind not in ("stream", "none"):
                raise OptionError(
                    f"{self.where}: key '{self.stream.key}' has a {kind}",
                    hint="'data-type' says what keys have: hash, string, stream",
                )
            last = NONE
            if kind == "stream":
                last = client.once(lambda connection: connection.xinfo_stream(self.stream.key))[
                    "last-generated-id"
                ].decode()
        finally:
            client.close()
        start = {EARLIEST: NONE, LATEST: last}.get(self.stream.start, self.stream.start)
        return [Split(self.stream.key, {"start": start} | ({"stop": last} if self.bounded else {}))]

    def unreadable(
        self, known: tuple[Split, ...], positions: Mapping[str, Any], finished: Collection[str]
    ) -> str | None:
        return f"{self.where}: entries of a stream may have been trimmed since"

    def reader(self, split: Split, position: Any, request: ScanRequest, first_row: int = 0) -> SplitReader:
        decoder = self.decoder(request, self.where)
        feed = StreamFeed(self, split, None if position is None else position["id"], wanted(request))
        return MessageReader(feed, decoder, position, first_row, self.bounded)


class StreamFeed(Feed):
    """`resumed`: the id behind which a checkpoint goes on."""

    def __init__(self, source: StreamSource, split: Split, resumed: str | None, keys: Sequence[str]) -> None:
        self._source, self._stream, self._keys = source, source.stream, keys
        self._last: str = resumed or split.info["start"]
        self._stop: str | None = split.info.get("stop")
        self.at_end = self._stop is not None and parsed(self._last) >= parsed(self._stop)
        self._backoff, self._try_at = Backoff(), 0.0
        # How many entries stand before the next one, if none is trimmed or deleted; None: not known. Redis counts them from the beginning.
        self._passed: int | None = 0 if self._last == NONE else None
        self._left: int | None = None
        self._client = source.connect()
        if resumed is not None and parsed(resumed) > (0, 0):
            self._client.once(lambda connection: self._check(connection, resumed))
        else:
            self._client.once(lambda connection: connection.ping())

    def _check(self, connection: Any, resumed: str) -> None:
        """Who trims a stream does not say what went unread."""
        if not connection.xrange(self._stream.key, resumed, resumed):
            self._source.noted.add(
                f"warning: {self._source.where}: entry {resumed}, up to which it was read, is not there any more: entries behind it may "
                "have been trimmed, too, and are missing then"
            )

    @property
    def following(self) -> dict[str, Any]:
        return {"id": self._last}

    @property
    def left(self) -> int | None:
        return self._left

    def take(self) -> Messages | None:
        if time.monotonic() < self._try_at:
            time.sleep(WAIT)
            return None
        try:
            found = self._client.once(self._entries)
        except Unreachable as e:
            self._source.noted.reconnect(f"warning: {e.message}; it is tried again")
            self._try_at = time.monotonic() + self._backoff.rest()
            self._client.close()
            return None
        self._backoff.succeeded()
        if self._stop is not None:
            upto = [e for e in found if parsed(e[0].decode()) <= parsed(self._stop)]
            # also where entries up to there were deleted
            self.at_end = len(found) < MOST or len(upto) < len(found) or upto[-1][0].decode() == self._stop
            found = upto
        if not found:
            return None
        self._passed = None if self._passed is None else self._passed + len(found)
        before = self._last
        ids = [e[0].decode() for e in found]
        self._last = ids[-1]
        marks = [{"id": i} for i in [before, *ids[:-1]]]
        values = [self._stream.value(e[1]) for e in found]
        return messages_of(found, values, [parsed(i)[0] for i in ids], self._keys, KNOWN, marks)

    def _entries(self, connection: Any) -> list[Entry]:
        key = self._stream.key
        found: list[Entry] = connection.xrange(key, f"({self._last}" if self._last != NONE else "-", "+", MOST)
        if len(found) == MOST:
            self._left = None if self._passed is None else max(0, connection.xlen(key) - self._passed - MOST)
        elif self._passed is None:
            self._passed, self._left = max(0, connection.xlen(key) - len(found)), 0
        else:
            self._left = 0
        if found or self._stop is not None:
            return found
        got = connection.xread({key: self._last}, MOST, int(WAIT * 1000))
        # a list of pairs, or a map by streams, as the protocol's version is
        of = got.get(key.encode()) if isinstance(got, dict) else got[0][1] if got else None
        if not of:
            return []
        return list(of[0]) if isinstance(of[0], list) else list(of)

    def close(self) -> None:
        self._client.close()
