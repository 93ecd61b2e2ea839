"""Rows as entries of a stream, or as what is published on a channel.

at-least-once: they are sent as each epoch ends. exactly-once, of streams: rows are staged in a list on the server, which one transaction
(MULTI … EXEC) puts into the stream and deletes when the checkpoint is complete; the list's being gone says that it was done.
"""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from sqlstream.connectors.messages.clients import library
from sqlstream.connectors.messages.encoder import PartEncoder
from sqlstream.connectors.redis.client import Address, Client
from sqlstream.connectors.redis.fields import fields_of
from sqlstream.connectors.redis.keys import PIPELINE
from sqlstream.contracts import Committable, Sink, SinkCommitter, SinkTask, SinkWriter
from sqlstream.errors import OutputLost

PREFIX = "sqlstream:staged"
BLOCK = 1000  # rows in an element of the list


@dataclass(frozen=True)
class Target:
    """`field`: of entries, that has the message; None: their fields are the columns. `channel`: it is no stream. `length`: of the stream,
    about which older entries go."""

    table: str
    address: Address
    key: str
    channel: bool
    field: str | None
    length: int | None
    encoder: PartEncoder
    retries: int

    def client(self) -> Client:
        """A new connection."""
        return Client(self.address, self.table, self.retries)

    def put(self, pipeline: Any, values: list[bytes]) -> None:
        """Says what is to be done for these rows."""
        for value in values:
            if self.channel:
                pipeline.publish(self.key, value)
            elif self.field is not None:
                pipeline.xadd(self.key, {self.field: value}, maxlen=self.length, approximate=True)
            else:
                found = fields_of(value)
                fields = {f: v for f, v in found.items() if v is not None}
                # an entry has one field at least
                pipeline.xadd(self.key, fields or {next(iter(found), ""): ""}, maxlen=self.length, approximate=True)


class RedisSink(Sink):
    """Of rows that come (and, by a format of changes, go)."""

    def __init__(self, target: Target, changelog: bool, exactly_once: bool) -> None:
        self.target, self.changelog, self._exactly_once = target, changelog, exactly_once

    def writer(self, task: SinkTask) -> SinkWriter:
        return StagingWriter(self.target, task) if self._exactly_once else RedisWriter(self.target)

    def committer(self, task: SinkTask) -> SinkCommitter:
        return StagingCommitter(self.target, task) if self._exactly_once else SinkCommitter()


class RedisWriter(SinkWriter):
    """At least once. A pipeline that failed as the server was gone is sent again, as it may not have come there."""

    def __init__(self, target: Target) -> None:
        self._target, self._client = target, target.client()
        self._client.do(lambda connection: connection.ping())

    def write(self, batch: pa.RecordBatch, kinds: np.ndarray | None) -> None:
        encoded = self._target.encoder.encode(batch, kinds)
        values = [v or b"" for v in encoded.values()]
        self.sent(encoded.total)
        for at in range(0, len(values), PIPELINE):
            some = values[at : at + PIPELINE]
            self._client.do(lambda connection, some=some: self._send(connection, some))  # type: ignore[misc]

    def _send(self, connection: Any, values: list[bytes]) -> None:
        pipeline = connection.pipeline(transaction=False)
        self._target.put(pipeline, values)
        pipeline.execute()

    def close(self) -> None:
        self._client.close()


def _place(target: Target, task: SinkTask) -> str:
    """What the keys begin with under which a run stages what it writes to a table."""
    name = hashlib.sha256("\0".join((task.job, task.run, target.table)).encode()).hexdigest()[:20]
    return f"{PREFIX}:{{{target.key}}}:{name}"


class StagingWriter(SinkWriter):
    """Stages what comes."""

    def __init__(self, target: Target, task: SinkTask) -> None:
        self._target, self._client = target, target.client()
        self._place, self._attempt, self._made = f"{_place(target, task)}:{task.subtask}", uuid.uuid4().hex[:8], 0
        self._client.do(lambda connection: connection.ping())
        self._begin()

    def _begin(self) -> None:
        self._made += 1
        self._key = f"{self._place}:{self._attempt}-{self._made}"
        self._blocks = 0

    def write(self, batch: pa.RecordBatch, kinds: np.ndarray | None) -> None:
        encoded = self._target.encoder.encode(batch, kinds)
        values = [v or b"" for v in encoded.values()]
        self.sent(encoded.total)
        for at in range(0, len(values), BLOCK):
            some = pa.record_batch({"value": pa.array(values[at : at + BLOCK], pa.binary())})
            out = pa.BufferOutputStream()
            with pa.ipc.new_stream(out, some.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
                writer.write_batch(some)
            data, n = out.getvalue().to_pybytes(), self._blocks
            # by its number, so that one that is sent again is not there twice
            self._client.do(lambda connection, n=n, data=data: connection.hset(self._key, str(n), data))  # type: ignore[misc]
            self._blocks += 1

    def prepare(self, checkpoint: int) -> list[Committable]:
        if not self._blocks:
            return []
        made = {"staged": self._key, "blocks": self._blocks}
        self._begin()
        return [made]

    def close(self) -> None:
        self._client.close()


class StagingCommitter(SinkCommitter):
    """Puts what is staged into the stream."""

    def __init__(self, target: Target, task: SinkTask) -> None:
        self._target, self._place = target, _place(target, task)
        self._errors = library("redis.exceptions", "redis", "redis")

    def commit(self, committables: list[Committable]) -> None:
        if not committables:
            return
        client = self._target.client()
        try:
            for c in committables:
                client.do(lambda connection, c=c: self._publish(connection, c))  # type: ignore[misc]
        finally:
            client.close()

    def _publish(self, connection: Any, c: Committable) -> None:
        """All of it, or nothing. Again: nothing."""
        with connection.pipeline(transaction=True) as pipeline:
            while True:
                try:
                    pipeline.watch(c["staged"])  # of two who publish it one finds that it is gone
                    blocks = pipeline.hgetall(c["staged"])
                    if not blocks:
                        return
                    pipeline.multi()
                    for n in range(c["blocks"]):
                        if (part := blocks.get(str(n).encode())) is None:
                            raise OutputLost(
                                f"table {self._target.table}: of what a checkpoint has staged in key {c['staged']}, block {n} is gone",
                                hint="somebody has changed it; start anew with --fresh",
                            )
                        block = pa.ipc.open_stream(part).read_all()
                        self._target.put(pipeline, block.column("value").to_pylist())
                    pipeline.delete(c["staged"])
                    pipeline.execute()
                    return
                except self._errors.WatchError:
                    continue

    def abort(self) -> None:
        client = self._target.client()
        try:
            client.do(self._clear)
        finally:
            client.close()

    def _clear(self, connection: Any) -> None:
        escaped = "".join(f"\\{c}" if c in "*?[]\\" else c for c in self._place)
        for key in connection.scan_iter(f"{escaped}:*", 10_000):
            connection.delete(key)
