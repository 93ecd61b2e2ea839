"""One consumer of librdkafka for all partitions that a task reads, each of which has a queue of its own."""

from __future__ import annotations

import ctypes as c
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from sqlstream.connectors.kafka import message_kernels as kernels
from sqlstream.connectors.kafka.library import (
    CONSUMER,
    ERROR_EVENT,
    KafkaError,
    address,
    check_error,
    library,
    name_of,
    new_client,
    text_of,
)
from sqlstream.connectors.kafka.metadata import HEADERS, KAFKA_METADATA, LEADER_EPOCH, TIMESTAMP, TIMESTAMP_TYPE
from sqlstream.connectors.messages.messages import Messages
from sqlstream.errors import DataError
from sqlstream.formats.messages import Texts
from sqlstream.formats.scan.layout import PADDING

PARTITION_EOF, NO_OFFSET, OUT_OF_RANGE, TRANSPORT, ALL_DOWN, RESOLVE = -191, -140, 1, -195, -187, -193
MAX_POLL, TIMED_OUT, UNKNOWN_TOPIC, UNKNOWN_PARTITION = -147, -185, 3, -190
PASSING = frozenset({TRANSPORT, ALL_DOWN, RESOLVE, TIMED_OUT, MAX_POLL})  # librdkafka tries again by itself
MOST = 16_384  # messages at once: what is derived of them costs a millisecond a batch
# Bytes of them, about: some such pieces wait to be decoded and taken, of each partition. The library is asked for a number, so it goes by the
# size of those before; FIRST: of the first ones.
PIECE, FIRST = 8 << 20, 1024
NO_FLAGS, NO_CLOSE = 0, 8  # of rd_kafka_destroy_flags: NO_CONSUMER_CLOSE, as it is in no group
_TYPES = pa.array(["NoTimestampType", "CreateTime", "LogAppendTime"])


class Consumer:
    """From any thread. `warn` is told what goes wrong and passes by itself. OptionError for properties that it does not take."""

    def __init__(self, settings: Mapping[str, str], table: str, warn: Callable[[str], None]) -> None:
        self._lib = library()
        self._table, self._warn = table, warn
        self._client = new_client(CONSUMER, settings, table)
        self._lib.rd_kafka_poll_set_consumer(self._client)
        self._events = self._lib.rd_kafka_queue_get_consumer(self._client)

    def open(self, topic: str, partition: int, offset: int) -> PartitionQueue:
        """The messages of a partition from an offset on."""
        queue = self._lib.rd_kafka_queue_get_partition(self._client, topic.encode(), partition)
        self._lib.rd_kafka_queue_forward(queue, None)
        self._change("rd_kafka_incremental_assign", topic, partition, offset)
        return PartitionQueue(self, queue, topic, partition, offset)

    def leave(self, topic: str, partition: int) -> None:
        """It is read no further."""
        self._change("rd_kafka_incremental_unassign", topic, partition, None)

    def _change(self, function: str, topic: str, partition: int, offset: int | None) -> None:
        with _Partitions({(topic, partition): offset}) as partitions:
            error = getattr(self._lib, function)(self._client, partitions)
        check_error(error, f"table {self._table}: {topic}, partition {partition}")

    def end(self, topic: str, partition: int) -> int | None:
        """The offset behind the last message that readers may have, as the brokers have said with the last messages; None: not yet."""
        low, high = c.c_int64(), c.c_int64()
        error = self._lib.rd_kafka_get_watermark_offsets(
            self._client, topic.encode(), partition, c.byref(low), c.byref(high)
        )
        return None if error or high.value < 0 else int(high.value)

    def look(self) -> None:
        """Looks at what the library has to say. KafkaError for what does not pass by itself."""
        while event := self._lib.rd_kafka_queue_poll(self._events, 0):
            try:
                if self._lib.rd_kafka_event_type(event) == ERROR_EVENT:
                    self._said(
                        self._lib.rd_kafka_event_error(event),
                        (self._lib.rd_kafka_event_error_string(event) or b"").decode("utf-8", "replace"),
                    )
            finally:
                self._lib.rd_kafka_event_destroy(event)

    def _said(self, code: int, text: str) -> None:
        if code in PASSING:
            self._warn(f"warning: table {self._table}: {text}")
        elif code != PARTITION_EOF:
            raise KafkaError(f"table {self._table}: {name_of(code)}: {text}", code)

    def close(self) -> None:
        """Its queues are closed before."""
        self._lib.rd_kafka_queue_destroy(self._events)
        self._lib.rd_kafka_destroy_flags(self._client, NO_CLOSE)


class PartitionQueue:
    """For one thread at a time. `following`: the offset of the next message, at least; `at_end`: all there were have been taken."""

    def __init__(self, consumer: Consumer, queue: int, topic: str, partition: int, offset: int) -> None:
        self._consumer, self._queue, self._lib = consumer, queue, library()
        self.topic, self.partition, self.following = topic, partition, offset
        self.at_end = False
        self._most = FIRST
        self._pointers = np.empty(MOST, np.int64)
        self._errors, self._offsets = np.empty(MOST, np.int64), np.empty(MOST, np.int64)
        self._memory = np.zeros(64, np.uint8)
        self._origin = self._memory.ctypes.data
        self._destroy = address("rd_kafka_message_destroy")

    def take(
        self, milliseconds: int, keys: bool, metadata: Mapping[str, Any], upto: int | None = None
    ) -> Messages | None:
        """Messages that are there, or come within so many milliseconds; None: there are none. Of none at all where `following` has
        gone on without them, over marks of transactions. `upto`: none from that offset on. `metadata`: which of it is wanted. KafkaError, DataError where the partition cannot be read."""
        # The library waits until it has all that it was asked for: so for the first one, and the others as far as they are there.
        count = self._consumed(0, 1, milliseconds)
        if not count:
            return None
        count += self._consumed(count, self._most - count, 0)
        pointers, before = self._pointers[:count], self.following
        try:
            wrong = kernels.look(self._memory, self._origin, pointers, count, self._errors, self._offsets)
            offsets, good = self._offsets[:count], pointers
            self.at_end = False
            if wrong:
                self._errored(pointers)
                fine = self._errors[:count] == 0
                offsets, good = offsets[fine], np.ascontiguousarray(pointers[fine])
            if upto is not None and len(offsets) and offsets[-1] >= upto:
                n = int(np.searchsorted(offsets, upto))
                offsets, good = offsets[:n], np.ascontiguousarray(good[:n])
                self.following = upto
            if len(good):
                self.following = max(self.following, int(offsets[-1]) + 1)
            self.at_end |= upto is not None and self.following >= upto
            if not len(good) and self.following == before:
                return None
            columns = {key: self._metadata(key, good, offsets) for key in metadata}
            texts = self._texts(good, kernels.KEY) if keys else None
            values = self._texts(good, kernels.PAYLOAD)
            self._most = max(1, min(MOST, PIECE * len(good) // max(values.size, 1))) if len(good) else self._most
            return Messages(values, offsets.copy(), texts, columns)
        finally:
            kernels.call_each(pointers, count, self._destroy, 0, self._errors)

    def _consumed(self, behind: int, most: int, milliseconds: int) -> int:
        """How many messages came, whose pointers stand behind so many others now."""
        to = self._pointers.ctypes.data + behind * self._pointers.itemsize
        return max(0, int(self._lib.rd_kafka_consume_batch_queue(self._queue, milliseconds, to, most)))

    def _texts(self, pointers: np.ndarray, part: int) -> Texts:
        n = len(pointers)
        sizes = np.empty(n, np.int64)
        total = kernels.measure(self._memory, self._origin, pointers, n, part, sizes)
        buffer = np.empty(total + PADDING, np.uint8)
        kernels.copy(self._memory, self._origin, pointers, n, part, sizes, buffer)
        return Texts(buffer, sizes)

    def _errored(self, pointers: np.ndarray) -> None:
        for i in np.flatnonzero(self._errors[: len(pointers)]).tolist():
            code = int(self._errors[i])
            if code == PARTITION_EOF:
                self.at_end = True
                self.following = max(self.following, int(self._offsets[i]))
                continue
            said = (self._lib.rd_kafka_message_errstr(int(pointers[i])) or b"").decode("utf-8", "replace")
            where = f"topic {self.topic}, partition {self.partition}"
            if code in (NO_OFFSET, OUT_OF_RANGE):
                raise DataError(
                    f"{where}: offset {self.following} is not there: {said or text_of(code)}",
                    hint="it was deleted (the topic's retention), or the topic was made anew: what was not read is lost. Start anew "
                    "with --fresh, from 'scan.startup.mode' = 'earliest-offset' or another place",
                )
            raise KafkaError(f"{where}: {name_of(code)}: {said or text_of(code)}", code)

    def _metadata(self, key: str, pointers: np.ndarray, offsets: np.ndarray) -> pa.Array:
        t, n = KAFKA_METADATA[key].arrow(), len(pointers)
        if key == "topic":
            return pa.repeat(self.topic, n).cast(t)
        if key == "partition":
            return pa.array(np.full(n, self.partition, np.int32)).cast(t)
        if key == "offset":
            return pa.array(offsets.copy()).cast(t)
        if key == HEADERS:
            return pa.array([self._headers(p) for p in pointers.tolist()], t)
        out = np.empty(n, np.int64)
        if key == LEADER_EPOCH:
            kernels.call_each(pointers, n, address("rd_kafka_message_leader_epoch"), 0, out)
            epochs = out.astype(np.int32)
            return pa.array(epochs, mask=epochs < 0).cast(t)
        kind = np.zeros(1, np.int64)
        if key == TIMESTAMP:
            kernels.call_each(pointers, n, address("rd_kafka_message_timestamp"), kind.ctypes.data, out)
            return pa.array(np.maximum(out, 0) * 1000).cast(pa.timestamp("us", t.tz))
        assert key == TIMESTAMP_TYPE
        kinds = []
        for p in pointers.tolist():
            self._lib.rd_kafka_message_timestamp(p, kind.ctypes.data)
            kinds.append(int(kind[0]) & 3)
        return _TYPES.take(pa.array(kinds, pa.int8())).cast(t)

    def _headers(self, message: int) -> list[tuple[str, bytes | None]]:
        found = c.c_void_p()
        if self._lib.rd_kafka_message_headers(message, c.byref(found)):
            return []
        out: dict[str, bytes | None] = {}
        name, value, size = c.c_char_p(), c.c_void_p(), c.c_size_t()
        i = 0
        while not self._lib.rd_kafka_header_get_all(found, i, c.byref(name), c.byref(value), c.byref(size)):
            text = (name.value or b"").decode("utf-8", "replace")
            out[text] = c.string_at(value.value, size.value) if value.value else None  # the last of a name, as in Flink
            i += 1
        return list(out.items())

    @property
    def end(self) -> int | None:
        """The offset behind the last message; None: not known yet."""
        return self._consumer.end(self.topic, self.partition)

    def stop_waiting(self) -> None:
        """From any thread: `take` gives what it has."""
        self._lib.rd_kafka_queue_yield(self._queue)

    def close(self) -> None:
        """It is read no further."""
        try:
            self._consumer.leave(self.topic, self.partition)
        finally:
            self._lib.rd_kafka_queue_destroy(self._queue)


class _Partitions:
    """A list of partitions, with offsets or without, for as long as it lasts."""

    def __init__(self, offsets: Mapping[tuple[str, int], int | None]) -> None:
        self._offsets = offsets

    def __enter__(self) -> int:
        lib = library()
        made: int = lib.rd_kafka_topic_partition_list_new(len(self._offsets))
        self._list = made
        for (topic, partition), offset in self._offsets.items():
            lib.rd_kafka_topic_partition_list_add(self._list, topic.encode(), partition)
            if offset is not None:
                lib.rd_kafka_topic_partition_list_set_offset(self._list, topic.encode(), partition, offset)
        return made

    def __exit__(self, *args: object) -> None:
        library().rd_kafka_topic_partition_list_destroy(self._list)
