"""One shard as a feed of messages. A position is {"sequence": the number of the last record that was taken}."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from sqlstream.connectors.kinesis.client import Expired
from sqlstream.connectors.messages.arrays import Known, messages_of
from sqlstream.connectors.messages.clients import Backoff, Unreachable
from sqlstream.connectors.messages.decoder import MessageDecoder
from sqlstream.connectors.messages.messages import Messages
from sqlstream.connectors.messages.reader import WAIT, Feed, MessageReader
from sqlstream.contracts import SourceBatch, Split
from sqlstream.errors import DataError
from sqlstream.types import STRING, timestamp_ltz

if TYPE_CHECKING:
    from sqlstream.connectors.kinesis.source import KinesisSource

MOST = 10_000  # records of an answer: Kinesis gives no more
PAUSE = 0.25  # s between two questions of a shard that has nothing: it may be asked five times a second
AGGREGATED = b"\xf3\x89\x9a\xc2"  # how records begin that the Kinesis Producer Library has put together
_SHARD = "shard"


def _milliseconds(record: dict[str, Any]) -> int:
    at: datetime.datetime = record["ApproximateArrivalTimestamp"]
    return round(at.timestamp() * 1000)


KNOWN: Known = {
    "timestamp": (timestamp_ltz(3).null(False), lambda r: _milliseconds(r) * 1000),
    "sequence-number": (STRING.null(False), lambda r: r["SequenceNumber"]),
    "shard-id": (STRING.null(False), lambda r: r[_SHARD]),
    "partition-key": (STRING.null(False), lambda r: r["PartitionKey"]),
}


class ShardFeed(Feed):
    """`last`: the number behind which a checkpoint goes on. A closed shard ends, and, where the table is bounded, an open one that has nothing more."""

    def __init__(self, source: KinesisSource, split: Split, last: str | None, keys: Sequence[str]) -> None:
        self._source, self._split, self._last, self._keys = source, split, last, keys
        self._client = source.connect()
        self._iterator: str | None = None
        self._backoff, self._next_at = Backoff(), 0.0

    @property
    def ends(self) -> bool:
        """Whether it is waited for its end."""
        return self._source.bounded

    @property
    def following(self) -> dict[str, Any]:
        return {} if self._last is None else {"sequence": self._last}

    def take(self) -> Messages | None:
        left = self._next_at - time.monotonic()
        if left > 0:
            time.sleep(min(left, WAIT))
            return None
        try:
            if self._iterator is None:
                self._iterator = self._begun()
            answer = self._client.do("get_records", ShardIterator=self._iterator, Limit=MOST)
        except Expired:
            self._iterator = None
            return None
        except Unreachable as e:
            self._source.noted.reconnect(f"warning: {e.message}; it is asked again")
            self._next_at, self._iterator = time.monotonic() + self._backoff.rest(), None
            return None
        self._backoff.succeeded()
        self._iterator = answer.get("NextShardIterator")
        records = answer["Records"]
        reached = not records and not answer.get("MillisBehindLatest")
        self.at_end = self._iterator is None or (self._source.bounded and reached)
        if not records:
            # far behind the end there may be answers without records: they are asked for at once
            self._next_at = time.monotonic() + PAUSE if reached else 0.0
            return None
        return self._messages(records)

    def _begun(self) -> str:
        info = self._split.info
        where: dict[str, Any] = {"ShardIteratorType": info["at"]}
        if self._last is not None:
            where = {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber": self._last}
        elif "time" in info:
            where["Timestamp"] = datetime.datetime.fromtimestamp(info["time"], datetime.UTC)
        found: str = self._client.do("get_shard_iterator", ShardId=self._split.id, **where)["ShardIterator"]
        return found

    def _messages(self, records: list[dict[str, Any]]) -> Messages:
        for r in records:
            if r["Data"].startswith(AGGREGATED):
                raise DataError(
                    f"{self._source.where}: shard {self._split.id}, record {r['SequenceNumber']}: it was aggregated by the Kinesis Producer Library",
                    hint="such records are not taken apart: 'AggregationEnabled' = false in the producer",
                )
            r[_SHARD] = self._split.id
        before, numbers = self.following, [r["SequenceNumber"] for r in records]
        marks = [before, *({"sequence": n} for n in numbers[:-1])]
        self._last = numbers[-1]
        places = [_milliseconds(r) for r in records]
        return messages_of(records, [r["Data"] for r in records], places, self._keys, KNOWN, marks)

    def close(self) -> None:
        self._client.close()


class ShardReader(MessageReader):
    """`read`: is called when the last row was taken."""

    def __init__(
        self, feed: ShardFeed, decoder: MessageDecoder, position: Any, first_row: int, read: Callable[[], None]
    ) -> None:
        super().__init__(feed, decoder, position, first_row, ends=feed.ends)
        self._read, self._told = read, False

    def poll(self, max_rows: int) -> SourceBatch | None:
        got = super().poll(max_rows)
        if self.finished and not self._told:
            self._told = True
            self._read()
        return got
