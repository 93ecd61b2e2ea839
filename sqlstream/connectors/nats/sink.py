"""Rows of a table as messages of a stream.

at-least-once: they are published as they come, and each waits until the server has it; what has to be sent again, as no answer came,
has the same id (Nats-Msg-Id), by which the server knows it. exactly-once: `staging.py`.
"""

from __future__ import annotations

import asyncio
import itertools
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from sqlstream.connectors.messages.clients import Backoff, Unreachable
from sqlstream.connectors.messages.encoder import PartEncoder
from sqlstream.connectors.nats.client import ANSWER, Address, Client
from sqlstream.contracts import Sink, SinkCommitter, SinkTask, SinkWriter
from sqlstream.errors import DataError, RunError

ID = "Nats-Msg-Id"
WINDOW = 2048  # messages that wait for their answers at once
PATIENCE = 60.0  # s that a server may be gone
SUBJECT, HEADERS, MESSAGE_ID = "subject", "headers", "message-id"
WRITTEN = frozenset({SUBJECT, HEADERS, MESSAGE_ID})


@dataclass(frozen=True)
class Message:
    """One to be published."""

    subject: str
    value: bytes
    headers: dict[str, str]


@dataclass(frozen=True)
class Target:
    """Where and how rows are written. `subject`: of rows whose own is NULL, or that have none; `columns`: those that say METADATA."""

    table: str
    address: Address
    subject: str | None
    encoder: PartEncoder
    columns: dict[str, str]

    def messages(self, batch: pa.RecordBatch, kinds: np.ndarray | None) -> list[Message]:
        """Of the rows. DataError for a row without a subject."""
        said = {k: batch.column(c).to_pylist() for k, c in self.columns.items()}
        n = batch.num_rows
        subjects: Sequence[str | None] = said.get(SUBJECT, [None] * n)
        headers = said.get(HEADERS, [None] * n)
        ids = said.get(MESSAGE_ID, [None] * n)
        out = []
        for value, subject, header, own in zip(
            self.encoder.encode(batch, kinds).values(), subjects, headers, ids, strict=True
        ):
            to = subject or self.subject
            if not all((to or "").split(".")) or any(c in (to or "") for c in " *>\t\r\n"):
                raise DataError(
                    f"table {self.table}: '{to or ''}' is no subject that a message can be published to",
                    hint="'subject' says it for rows whose METADATA 'subject' is NULL",
                )
            found = {k: v or "" for k, v in header or ()}
            found |= {ID: own} if own is not None else {}
            self._check(found)
            out.append(Message(to or "", value or b"", found))
        return out

    def _check(self, headers: dict[str, str]) -> None:
        """What would become other headers, or none."""
        for k, v in headers.items():
            if not k.strip() or ":" in k or any(c in k + v for c in "\r\n"):
                raise DataError(
                    f"table {self.table}: METADATA 'headers' or 'message-id': {k!r}: {v[:100]!r} is no header: it has a line end, or "
                    "no name",
                    hint="REPLACE in the query takes them out",
                )


class NatsSink(Sink):
    """`exactly_once`: what is written between two checkpoints is published when the second is complete."""

    def __init__(self, target: Target, changelog: bool, exactly_once: bool) -> None:
        self.target, self.changelog, self._exactly_once = target, changelog, exactly_once

    def writer(self, task: SinkTask) -> SinkWriter:
        from sqlstream.connectors.nats.staging import StagingWriter

        return StagingWriter(self.target, task) if self._exactly_once else NatsWriter(self.target)

    def committer(self, task: SinkTask) -> SinkCommitter:
        from sqlstream.connectors.nats.staging import StagingCommitter

        return StagingCommitter(self.target, task) if self._exactly_once else SinkCommitter()


class Publisher:
    """Publishes messages, and waits until the server has them. `stream`: which must be the one that takes them, if any."""

    def __init__(self, client: Client, table: str) -> None:
        self._client, self._table = client, table

    def publish(self, messages: Sequence[Message]) -> list[int]:
        """Their sequence numbers. Each has an id, so that the server passes over what it has already. Unreachable when there is no answer
        for PATIENCE seconds; RunError for what it does not take."""
        out: list[int] = []
        for at in range(0, len(messages), WINDOW):
            out += self._window(messages[at : at + WINDOW])
        return out

    def _window(self, messages: Sequence[Message]) -> list[int]:
        numbers = [0] * len(messages)
        left = list(range(len(messages)))
        until, backoff = time.monotonic() + PATIENCE, Backoff()
        while left:
            if not self._client.connection.is_connected:  # the library would gather what is sent, until it has no room
                if time.monotonic() > until:
                    raise Unreachable(
                        f"table {self._table}: there is no connection for {PATIENCE:.0f} s, and {len(left):,} messages wait"
                    )
                time.sleep(backoff.rest())
                continue
            got = self._client.run(self._sent([messages[i] for i in left]), 2 * ANSWER)
            failed = None
            for i, answer in zip(left, got, strict=True):
                if isinstance(answer, BaseException):
                    failed = self._error(answer, messages[i])
                else:
                    numbers[i] = int(answer.seq)
            left = [i for i, answer in zip(left, got, strict=True) if isinstance(answer, BaseException)]
            if failed is not None:
                if not failed.transient or time.monotonic() > until:
                    raise failed
                time.sleep(backoff.rest())
        return numbers

    async def _sent(self, messages: Sequence[Message]) -> list[Any]:
        """What the server says of each: its answer, or the error. All are under way at once, for ANSWER seconds at most. No task is made
        for a message: the library waits in none where it may wait for ever, as it never does with less than it has room for."""
        stream = self._client.stream
        waiting: list[Any] = []
        for m in messages:
            try:
                waiting.append(await stream.publish_async(m.subject, m.value, headers=m.headers))
            except Exception as e:
                failed: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
                failed.set_exception(e)
                waiting.append(failed)
        _, late = await asyncio.wait(waiting, timeout=ANSWER)
        for future in late:
            future.cancel()
        return [TimeoutError() if w in late else w.exception() or w.result() for w in waiting]

    def _error(self, e: BaseException, m: Message) -> RunError | DataError:
        client, where = self._client, f"table {self._table}: subject {m.subject}"
        if isinstance(e, client.errors.MaxPayloadError):
            return DataError(
                f"{where}: a message of {len(m.value):,} bytes is larger than the server takes",
                hint="max_payload in the server's configuration says how large one may be",
            )
        if isinstance(e, client.stream_errors.NoStreamResponseError):
            return Unreachable(
                f"{where}: no stream takes it, or JetStream is not there",
                hint="nats stream add makes one, with its subjects",
            )
        if isinstance(e, client.stream_errors.APIError) and not isinstance(
            e, client.stream_errors.ServiceUnavailableError
        ):
            return RunError(f"{where}: the stream did not take a message: {e.description or e}")
        return Unreachable(f"{where}: the server has not said that it has a message: {e or type(e).__name__}")


class NatsWriter(SinkWriter):
    """At least once."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._client = Client(target.address, target.table)
        self._publisher = Publisher(self._client, target.table)
        self._writer, self._numbers = uuid.uuid4().hex[:12], itertools.count()

    def write(self, batch: pa.RecordBatch, kinds: np.ndarray | None) -> None:
        found = self._target.messages(batch, kinds)
        for m in found:
            m.headers.setdefault(ID, f"{self._writer}-{next(self._numbers)}")
        self._publisher.publish(found)
        self.sent(sum(len(m.value) for m in found))

    def close(self) -> None:
        self._client.close()
