"""Rows of a table as messages of a topic.

at-least-once: messages are sent as rows come, and a checkpoint waits until the brokers have them. exactly-once: those between two
checkpoints are one transaction of a task. The checkpoint knows it by its id, its producer and when it began; when it is complete the
transaction is committed, by the producer that began it, or after a failure by whoever goes on (`coordinator.py`). A producer's
transaction is one at a time, so that a task has two or three producers: one writes while the other's is about to be committed.
"""

from __future__ import annotations

import re
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from sqlstream.batches import Kind
from sqlstream.connectors.kafka.brokers import check_written
from sqlstream.connectors.kafka.coordinator import ONGOING, Coordinator
from sqlstream.connectors.kafka.extras import Columns
from sqlstream.connectors.kafka.library import KafkaError
from sqlstream.connectors.kafka.producer import Producer
from sqlstream.connectors.messages.encoder import MessageEncoder
from sqlstream.connectors.upsert import last_of_keys
from sqlstream.connectors.waiting import Limits, WaitingWriter
from sqlstream.contracts import Committable, Sink, SinkCommitter, SinkTask, SinkWriter, Stage

AT_LEAST_ONCE, EXACTLY_ONCE, NO_GUARANTEE = "at-least-once", "exactly-once", "none"
DEFAULT, FIXED, ROUND_ROBIN = "default", "fixed", "round-robin"
SECONDS = 60.0  # that the brokers may take for messages, and for a transaction
CLOSING = 2.0  # seconds that they may take when all is given up
TRANSACTION_TIMEOUT = "900000"  # ms: what brokers allow if nobody has changed it
PRODUCERS = {
    "partitioner": "murmur2_random",  # as Java's, so that a key goes where others' writers put it
    "delivery.report.only.error": "true", "linger.ms": "5", "log_level": "0", "batch.size": "1000000",
    "queue.buffering.max.messages": "1000000", "enable.idempotence": "true",
}  # fmt: skip


@dataclass(frozen=True)
class Target:
    """Where and how rows are written. `settings`: librdkafka's; `partitions`: of the topic, where the sink chooses them;
    `metadata`: columns that are no part of values and keys."""

    table: str
    topic: str
    settings: Mapping[str, str]
    encoder: MessageEncoder
    guarantee: str = AT_LEAST_ONCE
    prefix: str = ""
    partitioner: str = DEFAULT
    partitions: int = 0
    metadata: Columns | None = None

    def transactional_id(self, attempt: str, task: int, number: int) -> str:
        """Of a task's n-th producer in an attempt."""
        return f"{self.prefix}-{attempt}-{task}-{number}"

    @property
    def transactional_ids(self) -> re.Pattern[str]:
        """All of these, and none of a table whose prefix begins with this one's."""
        return re.compile(re.escape(self.prefix) + r"-[0-9a-f]{12}-\d+-\d+")

    def producer(self, more: Mapping[str, str]) -> Producer:
        """A new one."""
        return Producer({**PRODUCERS, **self.settings, **more}, self.topic, self.table)


class KafkaSink(Sink):
    """Of rows that come (and, by a format of changes, go)."""

    def __init__(
        self,
        target: Target,
        changelog: bool,
        update_before: bool = True,
        key: tuple[str, ...] = (),
        limits: Limits | None = None,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self.target, self.changelog, self.limits, self.seconds = target, changelog, limits, seconds
        self.update_before, self.primary_key = update_before, key
        self._prepared = Prepared()

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k != "_prepared"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._prepared = Prepared()

    def writer(self, task: SinkTask) -> SinkWriter:
        if (
            task.subtask == 0
        ):  # one asks for all, before the job runs: brokers refuse a message after half a minute only
            check_written(self.target.settings, self.target.topic, self.target.table)
        kind = TransactionWriter if self.target.guarantee == EXACTLY_ONCE else KafkaWriter
        made = kind(self.target, task, self._prepared)
        return made if self.limits is None else ReducingWriter(made, self.primary_key, self.limits, self.seconds)

    def committer(self, task: SinkTask) -> SinkCommitter:
        return (
            TransactionCommitter(self.target, self._prepared)
            if self.target.guarantee == EXACTLY_ONCE
            else SinkCommitter()
        )


class Prepared:
    """Producers whose transactions wait to be committed, by their ids, and those that may begin one. From any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[str, Producer] = {}
        self._free: dict[int, deque[tuple[str, Producer]]] = {}  # by task
        self._task: dict[str, int] = {}

    def put(self, task: int, name: str, producer: Producer) -> None:
        """Its transaction is prepared."""
        with self._lock:
            self._waiting[name], self._task[name] = producer, task

    def take(self, name: str) -> Producer | None:
        """The one that waits; None: this process has none such."""
        with self._lock:
            return self._waiting.pop(name, None)

    def done(self, name: str, producer: Producer) -> None:
        """Its transaction is committed: it may begin another one."""
        with self._lock:
            self._free.setdefault(self._task[name], deque()).append((name, producer))

    def free(self, task: int) -> tuple[str, Producer] | None:
        """One that may begin a transaction."""
        with self._lock:
            there = self._free.get(task)
            return there.popleft() if there else None

    def close(self, task: int) -> None:
        """The task writes no more. What it has prepared stays as it is: the checkpoint, if it is complete, knows it."""
        with self._lock:
            mine = [n for n in self._waiting if self._task[n] == task]
            producers = [self._waiting.pop(n) for n in mine] + [p for _, p in self._free.pop(task, ())]
        for p in producers:
            p.close()


class KafkaWriter(SinkWriter):
    """At least once."""

    def __init__(self, target: Target, task: SinkTask, prepared: Prepared) -> None:
        self._target, self._task, self._prepared = target, task, prepared
        self._next = 0  # partition, of those that take turns
        self._current: Producer | None = None

    def _producer(self) -> Producer:
        if self._current is None:
            self._current = self._target.producer({})
        return self._current

    def write(self, batch: pa.RecordBatch, kinds: np.ndarray | None) -> None:
        values, keys = self._target.encoder.encode(batch, kinds)
        self.sent(values.total + (0 if keys is None else keys.total))
        extras = None if self._target.metadata is None else self._target.metadata.extras(batch)
        self._producer().send(values, keys, self._partitions(batch.num_rows), extras)

    def _partitions(self, rows: int) -> np.ndarray | None:
        t = self._target
        if t.partitioner == DEFAULT:
            return None
        if t.partitioner == FIXED:
            return np.full(rows, self._task.subtask % t.partitions, np.int32)
        at = (self._next + np.arange(rows)) % t.partitions
        self._next = (self._next + rows) % t.partitions
        return at.astype(np.int32)

    def flush(self) -> None:
        if self._current is not None:
            self._current.look()

    def prepare(self, checkpoint: int) -> list[Committable]:
        if self._current is not None and self._target.guarantee != NO_GUARANTEE:
            self._current.flush(SECONDS)
        return []

    def close(self) -> None:
        if self._current is not None:
            self._current.close()
            self._current = None


class ReducingWriter(WaitingWriter):
    """Gives `writer` what changes come to that wait: the last one of each key."""

    def __init__(self, writer: KafkaWriter, key: tuple[str, ...], limits: Limits, seconds: Callable[[], float]) -> None:
        super().__init__(limits, seconds)
        self._writer, self._key = writer, key
        self._batches: list[tuple[pa.RecordBatch, np.ndarray]] = []

    def keep(self, batch: pa.RecordBatch, kinds: np.ndarray | None) -> None:
        self._batches.append((batch, np.full(batch.num_rows, Kind.INSERT, np.int8) if kinds is None else kinds))

    def flush(self) -> None:
        super().flush()
        self._writer.flush()

    def prepare(self, checkpoint: int) -> list[Committable]:
        super().prepare(checkpoint)
        return self._writer.prepare(checkpoint)

    def close(self) -> None:
        self._writer.close()

    def send(self) -> None:
        if not self._batches:
            return
        rows = pa.concat_batches([b for b, _ in self._batches])
        kinds = np.concatenate([k for _, k in self._batches])
        self._batches = []
        last = last_of_keys(rows, self._key)
        self._writer.write(rows.take(pa.array(last)), kinds[last])
        self.bytes_sent = self._writer.bytes_sent


class TransactionWriter(KafkaWriter):
    """Exactly once."""

    def __init__(self, target: Target, task: SinkTask, prepared: Prepared) -> None:
        super().__init__(target, task, prepared)
        self._attempt, self._made, self._name = uuid.uuid4().hex[:12], 0, ""
        self._coordinator: Coordinator | None = None

    def _producer(self) -> Producer:
        if self._current is None:
            self._name, self._current = self._prepared.free(self._task.subtask) or self._new()
            self._current.begin()
        return self._current

    def _new(self) -> tuple[str, Producer]:
        name = self._target.transactional_id(self._attempt, self._task.subtask, self._made)
        self._made += 1
        timeout = self._target.settings.get("transaction.timeout.ms", TRANSACTION_TIMEOUT)
        producer = self._target.producer({"transactional.id": name, "transaction.timeout.ms": timeout})
        try:
            producer.initialize(SECONDS)
        except BaseException:
            producer.close()
            raise
        return name, producer

    def prepare(self, checkpoint: int) -> list[Committable]:
        if self._current is None:
            return []
        self._current.flush(SECONDS)
        if self._coordinator is None:
            self._coordinator = Coordinator(self._target.settings, self._target.table)
        found = self._coordinator.of(self._name)
        if found is None or found.state != ONGOING:
            raise KafkaError(
                f"table {self._target.table}: transaction {self._name} was aborted by the brokers before its checkpoint",
                -1,
                hint="'properties.transaction.timeout.ms' must be longer than the time between two checkpoints",
            )
        self._prepared.put(self._task.subtask, self._name, self._current)
        self._current = None
        return [found.committable()]

    def close(self) -> None:
        if self._current is not None:
            with suppress(KafkaError):  # brokers do it then, or who goes on
                self._current.abort(CLOSING)  # else it would hold readers back until it is over time
        super().close()
        self._prepared.close(self._task.subtask)
        if self._coordinator is not None:
            self._coordinator.close()
            self._coordinator = None


class TransactionCommitter(SinkCommitter):
    """Commits the transactions of checkpoints."""

    def __init__(self, target: Target, prepared: Prepared) -> None:
        self._target, self._prepared = target, prepared

    def commit(self, committables: list[Committable]) -> None:
        left = []
        for c in committables:
            name = c["transaction"]
            producer = self._prepared.take(name)
            if producer is None:
                left.append(c)
                continue
            try:
                producer.commit(SECONDS)
            except BaseException:
                producer.close()  # whether it was committed, the brokers know: who goes on asks them
                raise
            self._prepared.done(name, producer)
        if left:
            self._with_coordinator(lambda coordinator: [coordinator.finish(c) for c in left])

    def recover(self, committables: list[Committable], before: Stage) -> list[str]:
        if before is not Stage.COMMITTED:
            self.commit(committables)
        return []

    def abort(self) -> None:
        named = self._target.transactional_ids
        self._with_coordinator(lambda coordinator: [coordinator.abort(t) for t in coordinator.open(named)])

    def _with_coordinator(self, use: Any) -> None:
        coordinator = Coordinator(self._target.settings, self._target.table)
        try:
            use(coordinator)
        finally:
            coordinator.close()
