"""A stream of Kinesis as a source: a shard is a split, whose positions are sequence numbers."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from sqlstream.connectors.kinesis.client import Address, Client
from sqlstream.connectors.kinesis.reader import ShardFeed, ShardReader
from sqlstream.connectors.kinesis.shards import Shard, ready, shards_of
from sqlstream.connectors.messages.arrays import wanted
from sqlstream.connectors.messages.decoder import PartFormat
from sqlstream.connectors.messages.source import MessageSource
from sqlstream.contracts import ScanRequest, Split, SplitReader, TableContext
from sqlstream.errors import SqlStreamError
from sqlstream.threads import start

TRIM_HORIZON, LATEST, AT_TIMESTAMP = "TRIM_HORIZON", "LATEST", "AT_TIMESTAMP"


@dataclass(frozen=True)
class Start:
    """Where reading begins. `time`: seconds since 1970, of AT_TIMESTAMP."""

    mode: str
    time: float = 0.0


class KinesisSource(MessageSource):
    """`discovery`: seconds between two looks for new shards. A split's info has where its reading begins ("at", and "time"); that of the first
    one also which shards are `ignored`, since they were closed before that."""

    settled = False  # shards come

    def __init__(
        self,
        table: TableContext,
        address: Address,
        value: PartFormat,
        begin: Start,
        bounded: bool,
        discovery: float,
        bad_records: str,
    ) -> None:
        super().__init__(table, value, bad_records)
        self._address, self._begin, self.bounded, self._discovery = address, begin, bounded, discovery
        self._known: dict[str, Split] = {}
        self._next = 0  # number of a split
        self._done: set[str] = set()
        self._ignored: frozenset[str] = frozenset()
        self._there: dict[str, Shard] = {}
        self._found: list[Split] = []
        self._lock = threading.Lock()
        self._looking, self._looked = False, 0.0

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_lock": None, "_looking": False}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()

    @property
    def where(self) -> str:
        """What errors begin with."""
        return f"table {self.table.name}: stream {self._address.name}"

    def connect(self) -> Client:
        """A new client."""
        return Client(self._address, self.table.name)

    # ---- splits

    def splits(
        self,
        known: tuple[Split, ...] = (),
        positions: Mapping[str, Any] = MappingProxyType({}),
        finished: Collection[str] = (),
    ) -> list[Split]:
        if known and self.bounded:
            return list(known)
        self._known = {s.id: s for s in known}
        self._next = max((s.number for s in known), default=-1) + 1
        self._done = set(finished)
        self._ignored = frozenset(i for s in known for i in s.info.get("ignored", ()))
        client = self.connect()
        try:
            self._there = shards_of(client)
        finally:
            client.close()
        self._looked = self.table.seconds()
        if known:
            return [*known, *self._new({"at": TRIM_HORIZON})]
        at: dict[str, Any] = {"at": self._begin.mode}
        if self._begin.mode == LATEST:  # a job that goes on before anything came has to begin at the same place
            at = {"at": AT_TIMESTAMP, "time": time.time()}
        elif self._begin.mode == AT_TIMESTAMP:
            at["time"] = self._begin.time
        if self.bounded:  # all of them: none will come
            return [self._split(s, at) for s in self._there.values()]
        if self._begin.mode == LATEST:
            self._ignored = frozenset(s.id for s in self._there.values() if not s.open)
            at["ignored"] = sorted(self._ignored)
        found = self._new(at)
        return [found[0], *(_without(s) for s in found[1:])] if found else []

    def _split(self, shard: Shard, at: Mapping[str, Any]) -> Split:
        made = Split(shard.id, {"shard": shard.id, **at}, self._next)
        self._known[shard.id], self._next = made, self._next + 1
        return made

    def _new(self, at: Mapping[str, Any]) -> list[Split]:
        """Splits of shards whose turn has come."""
        return [self._split(s, at) for s in ready(self._there, self._known, self._done, self._ignored)]

    def new_splits(self) -> list[Split]:
        """Found by a thread: Kinesis may take its time to answer."""
        with self._lock:
            found, self._found = self._found, []
            due = self.table.seconds() - self._looked >= self._discovery
            look = due and not self._looking
            self._looking = self._looking or look
        if look:
            start("sqlstream-kinesis-discovery", self._discover)
        return found

    def _discover(self) -> None:
        try:
            client = self.connect()
            try:
                there = shards_of(client)
            finally:
                client.close()
            with self._lock:
                self._there = there
                self._found += self._begun()
        except SqlStreamError as e:
            self.noted.add(f"warning: {e.message}; new shards are looked for later")
        finally:
            self._looked, self._looking = self.table.seconds(), False

    def _begun(self) -> list[Split]:
        """Of shards that came since, or whose parents have been read. Where reading began at a time they may be older than that."""
        at = (
            {"at": AT_TIMESTAMP, "time": self._begin.time} if self._begin.mode == AT_TIMESTAMP else {"at": TRIM_HORIZON}
        )
        found = self._new(at)
        for s in found:
            self.noted.add(f"{self.where}: shard {s.id} is new, and is read from its start")
        return found

    def done(self, split: Split) -> None:
        """All of its rows were taken: its children may be read. From any thread."""
        with self._lock:
            self._done.add(split.id)
            self._found += self._begun()
            self._looked = -self._discovery  # children may be there that were not when it was last looked

    def forgotten(self) -> list[str]:
        """Shards that the stream has forgotten, too."""
        with self._lock:
            gone = [
                i
                for i in self._done
                if i in self._known and i not in self._there and "ignored" not in self._known[i].info
            ]
            for i in gone:
                del self._known[i]
        return gone

    def unreadable(
        self, known: tuple[Split, ...], positions: Mapping[str, Any], finished: Collection[str]
    ) -> str | None:
        return f"{self.where}: records may have left it since (its retention)"

    def ended(self, known: tuple[Split, ...]) -> list[Split]:
        return list(known)

    def reader(self, split: Split, position: Any, request: ScanRequest, first_row: int = 0) -> SplitReader:
        decoder = self.decoder(request, f"{self.where}: shard {split.id}")
        feed = ShardFeed(self, split, (position or {}).get("sequence"), wanted(request))
        return ShardReader(feed, decoder, position, first_row, lambda: self.done(split))


def _without(split: Split) -> Split:
    return Split(split.id, {k: v for k, v in split.info.items() if k != "ignored"}, split.number)
