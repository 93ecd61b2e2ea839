"""A table of topics as a source: a partition is a split. The offset where it begins, and where it ends if it does, are found when
the job starts and are part of the split."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from sqlstream.connectors.kafka.brokers import Brokers, Partition
from sqlstream.connectors.kafka.consumer import Consumer
from sqlstream.connectors.kafka.metadata import KAFKA_METADATA
from sqlstream.connectors.kafka.reader import PartitionFeed
from sqlstream.connectors.kafka.settings import EARLIEST, GROUP, UNBOUNDED, Place
from sqlstream.connectors.messages.clients import Notes
from sqlstream.connectors.messages.decoder import MessageDecoder, PartFormat
from sqlstream.connectors.messages.reader import MessageReader
from sqlstream.contracts import FAIL, ScanRequest, Source, Split, SplitReader, TableContext
from sqlstream.errors import SqlStreamError
from sqlstream.formats.readers import METADATA
from sqlstream.threads import start

OWN: Mapping[str, str] = MappingProxyType({
    "enable.auto.commit": "false", "enable.auto.offset.store": "false", "enable.partition.eof": "true",
    "auto.offset.reset": "error", "log_level": "0",
})  # fmt: skip
# Who waits for the end of a partition learns of it when a broker has nothing to send for so long.
HURRIED = {"fetch.wait.max.ms": "50"}
QUEUED = "200000"  # messages of a partition that are read ahead, if they take no more room than they may
BACKOFF = "5"  # ms until a queue that was full is filled again: librdkafka's 1000 would be a second without messages
# KiB of messages that the library reads ahead: of each partition, whose queue is its own here, and about as many of all.
LEAST_AHEAD, MOST_AHEAD, ALL_AHEAD = 1024, 65_536, 262_144
NO_GROUP = "sqlstream"  # librdkafka wants one; nothing is committed for it


@dataclass(frozen=True)
class Topics:
    """Which topics a table is of: `names`, or those that `pattern` is all of."""

    names: tuple[str, ...]
    pattern: str | None = None


class KafkaSource(Source):
    """`discovery`: seconds between two looks for new partitions; 0: none. `upserts`: the last message of a key is its row."""

    def __init__(
        self,
        table: TableContext,
        settings: Mapping[str, str],
        topics: Topics,
        value: PartFormat,
        key: PartFormat | None,
        begin: Place,
        end: Place,
        discovery: float,
        bad_records: str,
        upserts: bool = False,
    ) -> None:
        self._table, self._settings, self._topics = table, dict(settings), topics
        self._value, self._key = value, key
        self._begin, self._end, self._discovery = begin, end, discovery
        self.bounded = end.mode != UNBOUNDED
        self._upserts = upserts
        self.append_only = not (value.format.changelog or upserts)
        self.bad_records = bad_records
        self._known: dict[Partition, int] = {}  # numbers of splits
        self._notes = Notes()
        self._lock = threading.Lock()
        self._consumer: Consumer | None = None
        self._readers = 0
        self._found: list[Split] = []
        self._looking = False  # a thread does, for new partitions
        self._looked = table.seconds()
        self._committing: Brokers | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {
            **self.__dict__,
            "_lock": None,
            "_consumer": None,
            "_readers": 0,
            "_looking": False,
            "_committing": None,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()

    # ---- splits

    def splits(
        self,
        known: tuple[Split, ...] = (),
        positions: Mapping[str, Any] = MappingProxyType({}),
        finished: Collection[str] = (),
    ) -> list[Split]:
        self._known = {(s.info["topic"], s.info["partition"]): s.number for s in known}
        if known and self.bounded:
            return list(known)
        brokers = Brokers(self._settings, self._table.name)
        try:
            found = self._new(brokers, self._begin if not known else Place(EARLIEST))
        finally:
            brokers.close()
        self._looked = self._table.seconds()
        return [*known, *found]

    def _new(self, brokers: Brokers, begin: Place) -> list[Split]:
        """Splits of partitions that nobody knows yet."""
        counts = brokers.topics(self._topics.names, self._topics.pattern)
        fresh = [(t, p) for t, n in counts.items() for p in range(n) if (t, p) not in self._known]
        if not fresh:
            return []
        group, reset = self._settings.get(GROUP), self._settings.get("auto.offset.reset")
        starts = brokers.offsets(fresh, begin, group, reset)
        stops = brokers.offsets(fresh, self._end, group, None, "scan.bounded") if self.bounded else {}
        out = []
        for topic, partition in fresh:
            number = self._known[(topic, partition)] = len(self._known)
            info = {"topic": topic, "partition": partition, "start": starts[(topic, partition)]}
            info |= {"stop": stops[(topic, partition)]} if self.bounded else {}
            out.append(Split(f"{topic}-{partition}", info, number))
        return out

    def unreadable(
        self, known: tuple[Split, ...], positions: Mapping[str, Any], finished: Collection[str]
    ) -> str | None:
        brokers = Brokers(self._settings, self._table.name)
        try:
            at = [(s.info["topic"], s.info["partition"]) for s in known]
            earliest = brokers.offsets(at, Place(EARLIEST), None, None)
        except SqlStreamError as e:
            return e.message
        finally:
            brokers.close()
        for s in known:
            if earliest[(s.info["topic"], s.info["partition"])] > s.info["start"]:
                return f"table {self._table.name}: {name_of(s)}: what stood at its start was deleted (the topic's retention)"
        return None

    def ended(self, known: tuple[Split, ...]) -> list[Split]:
        return list(known)

    def new_splits(self) -> list[Split]:
        """Found by a thread: brokers may take their time to answer."""
        with self._lock:
            found, self._found = self._found, []
        due = self._discovery and self._table.seconds() - self._looked >= self._discovery
        if due and not self._looking:
            self._looking = True  # before the thread, which may be done at once
            start("sqlstream-kafka-discovery", self._discover)
        return found

    def _discover(self) -> None:
        try:
            brokers = Brokers(self._settings, self._table.name)
            try:
                found = self._new(brokers, Place(EARLIEST))
            finally:
                brokers.close()
            with self._lock:
                self._found += found
            for s in found:
                self._notes.add(f"table {self._table.name}: {name_of(s)} is new, and is read from its start")
        except SqlStreamError as e:
            self._notes.add(f"warning: {e.message}; new partitions are looked for later")
        finally:
            self._looked, self._looking = self._table.seconds(), False

    @property
    def reconnects(self) -> int:
        return self._notes.reconnects

    def notes(self) -> list[str]:
        return self._notes.take()

    # ---- readers

    def reader(self, split: Split, position: Any, request: ScanRequest, first_row: int = 0) -> SplitReader:
        decoder = MessageDecoder(
            request, self._value, self._key, f"table {self._table.name}: {name_of(split)}", self.bad_records != FAIL,
            self.bad_table is not None, self._upserts,
        )  # fmt: skip
        keys = [c.path[1] for c in request.columns if c.path[0] == METADATA]
        wanted = {k: KAFKA_METADATA[k] for k in keys if k in KAFKA_METADATA}
        info = split.info
        consumer = self._shared()
        try:
            stop = info.get("stop")
            begin = int((position or {}).get("offset", info["start"]))
            feed = PartitionFeed(
                consumer, info["topic"], info["partition"], begin, stop, wanted, decoder.reads_keys
            )  # fmt: skip
            return MessageReader(feed, decoder, position, first_row, stop is not None, self._release)
        except BaseException:
            self._release()
            raise

    def _shared(self) -> Consumer:
        """One client for all readers of a process: it has a connection, and a thread, for each broker."""
        with self._lock:
            if self._consumer is None:
                each = max(LEAST_AHEAD, min(MOST_AHEAD, ALL_AHEAD // max(1, len(self._known))))
                defaults = {
                    GROUP: NO_GROUP,
                    "queued.max.messages.kbytes": str(each),
                    "queued.min.messages": QUEUED,
                    "fetch.queue.backoff.ms": BACKOFF,
                    **(HURRIED if self.bounded else {}),
                }
                self._consumer = Consumer(
                    {**defaults, **self._settings, **OWN}, self._table.name, self._notes.reconnect
                )
            self._readers += 1
            return self._consumer

    def _release(self) -> None:
        with self._lock:
            self._readers -= 1
            last, self._consumer = (self._consumer, None) if not self._readers else (None, self._consumer)
        if last is not None:
            last.close()

    # ---- offsets of the group

    def checkpointed(self, positions: Mapping[str, Any]) -> None:
        """As in Flink the group's offsets are for others to see: a job that goes on knows where it stood."""
        if GROUP not in self._settings:
            return
        known = {f"{t}-{p}": (t, p) for t, p in self._known}
        offsets = {known[k]: p["offset"] for k, p in positions.items() if k in known and p is not None}
        if not offsets:
            return
        try:
            if self._committing is None:
                self._committing = Brokers(self._settings, self._table.name)
            self._committing.commit(offsets)
        except SqlStreamError as e:
            self._notes.add(f"warning: {e.message}: the offsets of group '{self._settings[GROUP]}' were not committed")


def name_of(split: Split) -> str:
    """As users know it."""
    return f"topic {split.info['topic']}, partition {split.info['partition']}"
