"""Exactly once: messages are staged in a stream of the server's until their checkpoint is complete, and then published.

Each has an id made of the run, the task, the checkpoint and its number, so that publishing them again, after a process died half-way, does
nothing for those that are there: as long as the stream's duplicate window is, which is two minutes unless it was made with another.
What is staged goes when all of it is published, and its being gone says so.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from sqlstream.connectors.nats.client import Client
from sqlstream.connectors.nats.sink import ID, Message, Publisher, Target
from sqlstream.contracts import Committable, SinkCommitter, SinkTask, SinkWriter
from sqlstream.errors import OutputLost

STREAM, PREFIX = "sqlstream-staged", "sqlstream.staged"
PART = 256 * 2**10  # bytes of a message of that stream
BLOCK = 4 * 2**20  # bytes of messages that are compressed together
LAST = "Sqlstream-Last"  # the header of a block's last part
_SCHEMA = pa.schema([("subject", pa.string()), ("headers", pa.string()), ("value", pa.binary())])


def _place(target: Target, task: SinkTask) -> str:
    """The subject below which a run stages what it writes to a table."""
    name = hashlib.sha256("\0".join((task.job, task.run, target.table)).encode()).hexdigest()[:20]
    return f"{PREFIX}.{name}"


async def _stream(client: Client) -> None:
    """Sees to it that the stream for what is staged is there."""
    try:
        await client.stream.stream_info(STREAM)
    except client.stream_errors.NotFoundError:
        await client.stream.add_stream(name=STREAM, subjects=[f"{PREFIX}.>"])


class StagingWriter(SinkWriter):
    """Stages what comes."""

    def __init__(self, target: Target, task: SinkTask) -> None:
        self._target, self._place, self._task = target, _place(target, task), task
        self._client = Client(target.address, target.table)
        try:
            self._client.run(_stream(self._client))
        except BaseException:
            self._client.close()
            raise
        self._publisher = Publisher(self._client, target.table)
        self._attempt, self._made = uuid.uuid4().hex[:8], 0
        self._begin()

    def _begin(self) -> None:
        self._made += 1
        self._subject = f"{self._place}.{self._task.subtask}.{self._attempt}-{self._made}"
        self._waiting: list[Message] = []
        self._bytes = self._parts = self._count = 0

    def write(self, batch: pa.RecordBatch, kinds: np.ndarray | None) -> None:
        found = self._target.messages(batch, kinds)
        self._waiting += found
        size = sum(len(m.value) for m in found)
        self._bytes += size
        self.sent(size)
        if self._bytes > BLOCK:
            self._stage()

    def _stage(self) -> None:
        block = pa.record_batch(
            [
                pa.array([m.subject for m in self._waiting]),
                pa.array([json.dumps(m.headers) for m in self._waiting]),
                pa.array([m.value for m in self._waiting], pa.binary()),
            ],
            schema=_SCHEMA,
        )
        out = pa.BufferOutputStream()
        with pa.ipc.new_stream(out, _SCHEMA, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
            writer.write_batch(block)
        data = out.getvalue().to_pybytes()
        parts = []
        for at in range(0, len(data), PART):
            number = {ID: f"{self._subject}-{self._parts}"}
            parts.append(
                Message(self._subject, data[at : at + PART], number | ({LAST: "1"} if at + PART >= len(data) else {}))
            )
            self._parts += 1
        self._publisher.publish(parts)
        self._count += len(self._waiting)
        self._waiting, self._bytes = [], 0

    def prepare(self, checkpoint: int) -> list[Committable]:
        if self._waiting:
            self._stage()
        if not self._count:
            return []
        made = {"staged": self._subject, "parts": self._parts, "id": f"{self._subject}-{checkpoint}"}
        self._begin()
        return [made]

    def close(self) -> None:
        self._client.close()


class StagingCommitter(SinkCommitter):
    """Publishes what is staged."""

    def __init__(self, target: Target, task: SinkTask) -> None:
        self._target, self._place = target, _place(target, task)

    def commit(self, committables: list[Committable]) -> None:
        if not committables:
            return
        client = Client(self._target.address, self._target.table)
        try:
            for c in committables:
                self._publish(client, c)
        finally:
            client.close()

    def _publish(self, client: Client, c: Committable) -> None:
        parts = list(client.run(self._parts(client, c["staged"]), 300.0))
        if not parts:
            return  # it was published before
        if len(parts) != c["parts"]:
            raise OutputLost(
                f"table {self._target.table}: of what checkpoint output {c['id']} has staged, {len(parts)} of {c['parts']} parts are left",
                hint=f"somebody has deleted messages of stream {STREAM}",
            )
        publisher, number = Publisher(client, self._target.table), 0
        for block in _blocks(parts):
            found = []
            for row in block.to_pylist():
                headers = json.loads(row["headers"])
                headers.setdefault(ID, f"{c['id']}-{number}")
                found.append(Message(row["subject"], row["value"], headers))
                number += 1
            publisher.publish(found)
        client.run(client.stream.purge_stream(STREAM, subject=c["staged"]))

    async def _parts(self, client: Client, subject: str) -> list[Any]:
        out: list[Any] = []
        after = 1
        while True:
            try:
                found = await client.stream.get_msg(STREAM, seq=after, subject=subject, next=True)
            except client.stream_errors.NotFoundError:
                return out
            out.append(found)
            after = found.seq + 1

    def abort(self) -> None:
        client = Client(self._target.address, self._target.table)
        try:
            client.run(_stream(client))
            client.run(client.stream.purge_stream(STREAM, subject=f"{self._place}.>"))
        finally:
            client.close()


def _blocks(parts: list[Any]) -> Iterator[pa.Table]:
    data = b""
    for part in parts:
        data += part.data
        if LAST in (part.headers or {}):
            yield pa.ipc.open_stream(data).read_all()
            data = b""
