"""One partition as a feed of messages. A position is {"offset": of the next message}."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlstream.connectors.kafka.consumer import Consumer, PartitionQueue
from sqlstream.connectors.messages.messages import Messages
from sqlstream.connectors.messages.reader import WAIT, Feed


class PartitionFeed(Feed):
    """From offset `begin` on. `stop`: the first offset that is not read; None: it is read for ever. `metadata`, `keys`: what is wanted
    of messages beside their values."""

    def __init__(
        self,
        consumer: Consumer,
        topic: str,
        partition: int,
        begin: int,
        stop: int | None,
        metadata: Mapping[str, Any],
        keys: bool,
    ) -> None:
        self._consumer, self._metadata, self._keys, self._stop = consumer, metadata, keys, stop
        self._queue: PartitionQueue = consumer.open(topic, partition, begin)
        self.at_end = stop is not None and begin >= stop

    @property
    def following(self) -> dict[str, Any]:
        return {"offset": self._queue.following}

    @property
    def left(self) -> int | None:
        end = self._queue.end
        if end is None:
            return None
        return max(0, (end if self._stop is None else min(end, self._stop)) - self._queue.following)

    def take(self) -> Messages | None:
        self._consumer.look()
        messages = self._queue.take(int(WAIT * 1000), self._keys, self._metadata, self._stop)
        # also where what stands before the end are no messages but marks
        self.at_end = self._stop is not None and self._queue.at_end and self._queue.following >= self._stop
        return messages

    def stop_waiting(self) -> None:
        self._queue.stop_waiting()

    def close(self) -> None:
        self._queue.close()
