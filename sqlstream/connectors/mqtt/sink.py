"""Rows of a table as messages of topics: published as they come, and acknowledged by the broker before a checkpoint is complete."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from sqlstream.connectors.messages.clients import Unreachable
from sqlstream.connectors.messages.encoder import PartEncoder
from sqlstream.connectors.mqtt.client import Address, Connection
from sqlstream.contracts import Committable, Sink, SinkTask, SinkWriter
from sqlstream.errors import DataError, RunError, SqlStreamError

WINDOW = 5_000  # messages that wait to be acknowledged
PATIENCE = 60.0  # s that a broker may be gone
KEPT = frozenset(
    {0, 4, 7}
)  # what the library says of a message that it has: sent, or without a connection, or this is lost just now
STEP = 0.1  # s between two looks at whether a message is acknowledged, and nothing went wrong


@dataclass(frozen=True)
class Target:
    """Where and how rows are written. `topic`: of rows whose own is NULL, or that have none."""

    table: str
    address: Address
    topic: str | None
    qos: int
    retain: bool
    encoder: PartEncoder
    columns: Mapping[str, str]


class MqttSink(Sink):
    """At least once, with QoS 1 and 2."""

    def __init__(self, target: Target, changelog: bool) -> None:
        self.target, self.changelog = target, changelog

    def writer(self, task: SinkTask) -> SinkWriter:
        return MqttWriter(self.target)


class MqttWriter(SinkWriter):
    """What was not acknowledged when a connection was lost is sent again by the library."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._waiting: deque[Any] = deque()
        self._published: set[int] = set()  # numbers of packets that the broker has, of those that wait
        self._changed = threading.Condition()
        self._error: SqlStreamError | None = None
        self._connection = Connection(target.address, target.table, self._warn, lambda client, kept: None)
        self._connection.client.on_publish = self._on_publish

    def _warn(self, text: str) -> None:
        """What passes by itself is told by the job when it does not: waiting ends after a time."""

    def _on_publish(self, client: Any, data: Any, number: int, reason: Any, properties: Any) -> None:
        with self._changed:
            if reason.is_failure:
                self._error = RunError(f"table {self._target.table}: the broker did not take a message: {reason}")
            self._published.add(number)
            self._changed.notify_all()

    def write(self, batch: pa.RecordBatch, kinds: np.ndarray | None) -> None:
        target, n = self._target, batch.num_rows
        said = {k: batch.column(c).to_pylist() for k, c in target.columns.items()}
        topics = said.get("topic", [None] * n)
        kept = said.get("retained", [None] * n)
        encoded = target.encoder.encode(batch, kinds)
        values = encoded.values()
        self.sent(encoded.total)
        for value, topic, retain in zip(values, topics, kept, strict=True):
            to = topic or target.topic
            if not to or any(c in to for c in "+#\0"):
                raise DataError(
                    f"table {target.table}: '{to or ''}' is no topic that a message can be published to",
                    hint="'topic' says it for rows whose METADATA 'topic' is NULL",
                )
            if len(self._waiting) >= WINDOW:
                self._acknowledged(WINDOW // 2)
            keep = target.retain if retain is None else retain
            try:
                self._waiting.append(self._connection.client.publish(to, value or b"", target.qos, keep))
            except ValueError as e:  # larger than the protocol takes
                raise DataError(
                    f"table {target.table}: topic {to}: a message of {len(value or b''):,} bytes: {e}"
                ) from e

    def flush(self) -> None:
        self._acknowledged(0)

    def prepare(self, checkpoint: int) -> list[Committable]:
        self._acknowledged(0)
        return []

    def _acknowledged(self, left: int) -> None:
        """Waits until so many are left that are not."""
        until = time.monotonic() + PATIENCE
        while len(self._waiting) > left:
            if self._error is not None:
                raise self._error
            first = self._waiting[0]
            # Without a connection the library has it, and sends it when there is one: but then it does not say so of it, but by its number.
            if int(first.rc) not in KEPT:
                raise RunError(f"table {self._target.table}: a message was not sent: {first.rc!s}")
            with self._changed:
                done = self._changed.wait_for(lambda first=first: first.mid in self._published, STEP)  # type: ignore[misc]
                self._published.discard(first.mid)
            if done:
                self._waiting.popleft()
                until = time.monotonic() + PATIENCE
            elif time.monotonic() > until:
                raise Unreachable(
                    f"table {self._target.table}: {len(self._waiting):,} messages are not with the broker after {PATIENCE:.0f} s",
                    hint="is it there, and can it be reached from here?",
                )
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        self._connection.close()
