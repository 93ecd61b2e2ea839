"""One producer of librdkafka, given messages by the array."""

from __future__ import annotations

import ctypes as c
import time
from collections.abc import Mapping

import numpy as np

from sqlstream.connectors.kafka.extras import Extras
from sqlstream.connectors.kafka.library import (
    DELIVERY_EVENT,
    ERROR_EVENT,
    ERROR_TEXT,
    PRODUCER,
    KafkaError,
    check_error,
    library,
    name_of,
    new_client,
    text_of,
)
from sqlstream.errors import DataError
from sqlstream.formats.messages import Texts

COPY, OF_MESSAGE = 0x2, 0x8  # flags: librdkafka has copies of its own; each message says its partition
ANY_PARTITION = -1  # the partitioner's choice
QUEUE_FULL, TOO_LARGE, TRANSPORT, ALL_DOWN, RESOLVE = -184, 10, -195, -187, -193
PASSING = frozenset({TRANSPORT, ALL_DOWN, RESOLVE})  # librdkafka tries again by itself
STEP, PAUSE = 100, 0.005  # ms that a flush waits at once, and s that a full queue is given
MESSAGE = np.dtype({
    "names": ["error", "topic", "partition", "payload", "size", "key", "key_size", "offset", "private"],
    "formats": ["i4", "u8", "i4", "u8", "u8", "u8", "u8", "i8", "u8"],
    "offsets": [0, 8, 16, 24, 32, 40, 48, 56, 64], "itemsize": 72,
})  # fmt: skip


class Producer:
    """For one thread at a time. `table`: whose rows it writes. What goes wrong and passes by itself is told when it did not pass in time."""

    def __init__(self, settings: Mapping[str, str], topic: str, table: str) -> None:
        self._lib, self._table, self._topic_name = library(), table, topic
        self._passing = ""  # what the library has said last of what passes by itself
        self._client = new_client(PRODUCER, settings, table)
        self._events = self._lib.rd_kafka_queue_get_main(self._client)
        self._topic = self._lib.rd_kafka_topic_new(self._client, topic.encode(), None)

    def send(
        self, values: Texts, keys: Texts | None, partitions: np.ndarray | None, extras: Extras | None = None
    ) -> None:
        """Gives messages to the library, which sends them when it has a batch. Waits while its queue is full."""
        if extras is not None:
            self._send_each(values, keys, partitions, extras)
            return
        n = len(values)
        messages = np.zeros(n, MESSAGE)
        messages["partition"] = ANY_PARTITION if partitions is None else partitions
        messages["payload"], messages["size"] = _pointers(values)
        if keys is not None:
            messages["key"], messages["key_size"] = _pointers(keys)
        begin = 0
        while begin < n:
            left = messages[begin:]
            flags = COPY | OF_MESSAGE
            taken = self._lib.rd_kafka_produce_batch(self._topic, ANY_PARTITION, flags, left.ctypes.data, len(left))
            self.look()
            if taken == len(left):
                return
            refused = left[left["error"] != 0]
            wrong = refused[refused["error"] != QUEUE_FULL]
            if len(wrong):
                self._refuse(int(wrong[0]["error"]), int(wrong[0]["size"]))
            messages, begin = np.ascontiguousarray(refused), 0
            n = len(messages)
            messages["error"] = 0
            time.sleep(PAUSE)

    def _send_each(self, values: Texts, keys: Texts | None, partitions: np.ndarray | None, extras: Extras) -> None:
        """With times and headers, which the library takes of one message at a time."""
        chosen = np.full(len(values), ANY_PARTITION, np.int32) if partitions is None else partitions
        pointers, pairs = _pointers(values), None if keys is None else _pointers(keys)
        units, begins = extras.units(self._topic, COPY, chosen, pointers, pairs)
        produce, address, size = self._lib.rd_kafka_produceva, units.ctypes.data, units.itemsize
        for i, (begin, end) in enumerate(zip(begins[:-1].tolist(), begins[1:].tolist(), strict=True)):
            while error := produce(self._client, address + begin * size, end - begin):
                code = self._lib.rd_kafka_error_code(error)
                self._lib.rd_kafka_error_destroy(error)
                if code != QUEUE_FULL:
                    self._refuse(code, int(values.sizes[i]))
                self.look()
                time.sleep(PAUSE)
        self.look()

    def _refuse(self, code: int, size: int) -> None:
        what = (
            f"table {self._table}: a message for topic {self._topic_name} was refused: {name_of(code)}: {text_of(code)}"
        )
        if code == TOO_LARGE:
            raise DataError(
                f"{what} ({size:,} bytes)",
                hint="'properties.message.max.bytes' says how long one may be, and so do the topic's max.message.bytes and the "
                "broker's message.max.bytes",
            )
        raise KafkaError(what, code)

    def look(self) -> None:
        """Looks at what the library has to say. KafkaError for messages that could not be delivered."""
        while event := self._lib.rd_kafka_queue_poll(self._events, 0):
            try:
                kind = self._lib.rd_kafka_event_type(event)
                if kind == DELIVERY_EVENT:
                    self._delivered(event)
                elif kind == ERROR_EVENT:
                    self._said(
                        self._lib.rd_kafka_event_error(event),
                        (self._lib.rd_kafka_event_error_string(event) or b"").decode("utf-8", "replace"),
                    )
            finally:
                self._lib.rd_kafka_event_destroy(event)

    def _delivered(self, event: int) -> None:
        """Only failures are told ('delivery.report.only.error')."""
        while message := self._lib.rd_kafka_event_message_next(event):
            code, size = c.c_int32.from_address(message).value, c.c_size_t.from_address(message + 32).value
            if code:
                self._refuse(code, size)

    def _said(self, code: int, text: str) -> None:
        if code in PASSING:
            self._passing = f": {text}"
            return
        reason = c.create_string_buffer(ERROR_TEXT)
        fatal = self._lib.rd_kafka_fatal_error(self._client, reason, ERROR_TEXT)
        if fatal:
            code, text = fatal, reason.value.decode("utf-8", "replace")
        raise KafkaError(f"table {self._table}: {name_of(code)}: {text}", code)

    def flush(self, seconds: float) -> None:
        """All messages are with the brokers. KafkaError where some cannot be, or it takes longer."""
        until = time.monotonic() + seconds
        while True:
            left = self._lib.rd_kafka_flush(self._client, STEP)
            self.look()
            if not left:
                return
            if time.monotonic() > until:
                waiting = self._lib.rd_kafka_outq_len(self._client)
                raise KafkaError(
                    f"table {self._table}: {waiting:,} messages are not with the brokers after {seconds:.0f} s{self._passing}",
                    left,
                    hint="is a broker there, and can it be reached from here?",
                )

    # ---- transactions

    def initialize(self, seconds: float) -> None:
        """Who had its transactional id before can write no more, and what that left open is aborted."""
        error = self._lib.rd_kafka_init_transactions(self._client, int(seconds * 1000))
        if error:
            self.look()
        self._checked(error, f"transactions{self._passing}")

    def begin(self) -> None:
        """A transaction, which takes in all messages from now on."""
        self._checked(self._lib.rd_kafka_begin_transaction(self._client), "a transaction cannot begin")

    def commit(self, seconds: float) -> None:
        """Its messages are there for all to read."""
        self._checked(
            self._lib.rd_kafka_commit_transaction(self._client, int(seconds * 1000)),
            "a transaction cannot be committed",
        )

    def abort(self, seconds: float) -> None:
        """Its messages are nobody's."""
        self._checked(
            self._lib.rd_kafka_abort_transaction(self._client, int(seconds * 1000)), "a transaction cannot be aborted"
        )

    def _checked(self, error: int | None, doing: str) -> None:
        check_error(error, f"table {self._table}: topic {self._topic_name}: {doing}")

    def close(self) -> None:
        """What was not flushed is dropped."""
        self._lib.rd_kafka_purge(self._client, 1 | 2)
        self._lib.rd_kafka_flush(self._client, 0)
        self._lib.rd_kafka_topic_destroy(self._topic)
        self._lib.rd_kafka_queue_destroy(self._events)
        self._lib.rd_kafka_destroy_flags(self._client, 0)


def _pointers(texts: Texts) -> tuple[np.ndarray, np.ndarray]:
    """Where each begins, and its size; NULL for NULL."""
    sizes = np.maximum(texts.sizes, 0)
    at = np.where(texts.sizes == 0, texts.buffer.ctypes.data, 0).astype(np.uint64)
    there = texts.there
    at[there] = (texts.buffer.ctypes.data + texts.ends - texts.sizes[there]).astype(np.uint64)
    return at, sizes.astype(np.uint64)
