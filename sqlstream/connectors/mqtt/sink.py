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
STEP = 0.1  # s between two looks at whether a message is acknowledged, and nothing went wrong
LONGEST_TOPIC = 65_535  # bytes
SUCCESS, NO_CONNECTION, LOST = (
    0,
    4,
    7,
)  # what the library says when it is given a message, and later of one that it gave up


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


@dataclass
class _Sent:
    """A message, and what the library says of it: its number (`mid`), and how giving it to the library went (`rc`)."""

    topic: str
    value: bytes
    retain: bool
    info: Any = None


class MqttWriter(SinkWriter):
    """What was not acknowledged when a connection was lost is sent again by the library; what needs no acknowledgement (QoS 0), and met no
    connection, here."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._waiting: deque[_Sent] = deque()
        self._changed = threading.Condition()
        self._published: set[int] = set()
        self._error: SqlStreamError | None = None
        self._connection = Connection(target.address, target.table, self._warn, lambda client, kept: None)
        self._connection.client.on_publish = self._on_publish

    def _warn(self, text: str) -> None:
        """What passes by itself is told by the job when it does not: waiting ends after a time."""

    def _on_publish(self, client: Any, data: Any, number: int, reason: Any, properties: Any) -> None:
        """The library says of no message that it was published which met a lost connection first: this does."""
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
            if not to or any(c in to for c in "+#\0") or len(to.encode("utf-8", "replace")) > LONGEST_TOPIC:
                raise DataError(
                    f"table {target.table}: '{(to or '')[:100]}' is no topic that a message can be published to",
                    hint="'topic' says it for rows whose METADATA 'topic' is NULL",
                )
            if len(self._waiting) >= WINDOW:
                self._acknowledged(WINDOW // 2)
            sent = _Sent(to, value or b"", target.retain if retain is None else retain)
            until = time.monotonic() + PATIENCE
            while not self._publish(sent):
                if time.monotonic() > until:
                    raise self._unreachable(1)
                time.sleep(STEP)
            self._waiting.append(sent)

    def _publish(self, m: _Sent) -> bool:
        """Whether the library has it, and sees to it."""
        target = self._target
        try:
            m.info = self._connection.client.publish(m.topic, m.value, target.qos, m.retain)
        except ValueError as e:  # larger than the protocol takes
            raise DataError(f"table {target.table}: topic {m.topic}: a message of {len(m.value):,} bytes: {e}") from e
        if m.info.rc not in (SUCCESS, NO_CONNECTION, LOST):
            raise RunError(f"table {target.table}: topic {m.topic}: a message was not sent: error {int(m.info.rc)}")
        return m.info.rc == SUCCESS or target.qos > 0

    def flush(self) -> None:
        self._acknowledged(0)

    def prepare(self, checkpoint: int) -> list[Committable]:
        self._acknowledged(0)
        return []

    def _acknowledged(self, left: int) -> None:
        """Waits until so many are left that are not."""
        until = time.monotonic() + PATIENCE
        while len(self._waiting) > left:
            with self._changed:
                first = self._waiting[0].info
                self._changed.wait_for(lambda: first.mid in self._published or self._error, STEP)  # noqa: B023
                # of QoS 0 the library gives up what it was writing when the connection was lost
                done = first.mid in self._published or first.rc == LOST and not self._target.qos
                self._published.discard(first.mid)
            if self._error is not None:
                raise self._error
            if done:
                self._waiting.popleft()
                until = time.monotonic() + PATIENCE
            elif time.monotonic() > until:
                raise self._unreachable(len(self._waiting))
        if self._error is not None:
            raise self._error

    def _unreachable(self, left: int) -> Unreachable:
        return Unreachable(
            f"table {self._target.table}: {left:,} messages are not with the broker after {PATIENCE:.0f} s",
            hint="is it there, and can it be reached from here?",
        )

    def close(self) -> None:
        self._connection.close()
