"""Rows of a table as requests: many rows in one, sent as each epoch ends or when there are enough, and again where the server could not
take them. At least once; a key that a request has for all of its tries lets the server tell them."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from sqlstream.connectors.http.client import Request, Web
from sqlstream.connectors.messages.clients import Unreachable
from sqlstream.connectors.messages.encoder import PartEncoder
from sqlstream.connectors.messages.loop import Patience
from sqlstream.contracts import Committable, Sink, SinkTask, SinkWriter
from sqlstream.errors import Canceled

ARRAY, LINES, ROW = "array", "lines", "row"
TYPES = {"json": "application/json", "csv": "text/csv", "raw": "application/octet-stream"}
MANY_LINES = "application/x-ndjson"
ENDING = 5.0  # s that a job which ends waits for the next answer


@dataclass(frozen=True)
class Target:
    """`kind`: of bodies: ARRAY of JSON, LINES, or ROW: a request for each. `rows`, `bytes`: of a request, at most. `at_once`: requests under
    way; with one they come in the order of the rows. `key`: the header that names a request."""

    request: Request
    url: str
    method: str
    encoder: PartEncoder
    kind: str
    content_type: str
    rows: int
    bytes: int
    at_once: int
    retries: int
    key: str | None


class HttpSink(Sink):
    """Of rows that come (and, by a format of changes, go)."""

    def __init__(self, target: Target, changelog: bool) -> None:
        self.target, self.changelog, self._patience = target, changelog, Patience()

    def writer(self, task: SinkTask) -> SinkWriter:
        return HttpWriter(self.target, self._patience)

    def give_up(self) -> None:
        self._patience.give_up(ENDING)


class HttpWriter(SinkWriter):
    """What waits is sent when the epoch ends."""

    def __init__(self, target: Target, patience: Patience) -> None:
        self._target, self._patience = target, patience
        self._web = Web(target.request, target.at_once)
        self._waiting: list[bytes] = []

    def write(self, batch: pa.RecordBatch, kinds: np.ndarray | None) -> None:
        encoded = self._target.encoder.encode(batch, kinds)
        self._waiting += [v or b"" for v in encoded.values()]
        self.sent(encoded.total)
        if len(self._waiting) >= self._target.rows * self._target.at_once:
            self._send()

    def flush(self) -> None:
        self._send()

    def prepare(self, checkpoint: int) -> list[Committable]:
        self._send()
        return []

    def _send(self) -> None:
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        self._patience.renew(ENDING)
        try:
            self._patience.run(self._web.loop, self._sent(_requests(waiting, self._target)))
        except Canceled:
            raise Unreachable(
                f"{self._web.where(self._target.url)} did not answer in {ENDING:g} s after the job was to end: of the last "
                f"{len(waiting):,} rows nobody knows which are there",
                hint="a job with checkpoints goes on from the last one, and sends what came after it again",
            ) from None

    async def _sent(self, bodies: list[bytes]) -> None:
        limit = asyncio.Semaphore(self._target.at_once)

        async def one(body: bytes) -> None:
            headers: Mapping[str, str] = {"Content-Type": self._target.content_type}
            if self._target.key is not None:
                headers = {**headers, self._target.key: str(uuid.uuid4())}
            async with limit:
                await self._web.tried(self._target.retries, self._target.method, self._target.url, body, headers)
                self._patience.renew(ENDING)

        if self._target.at_once == 1:
            for body in bodies:
                await one(body)
        else:
            await asyncio.gather(*(one(b) for b in bodies))

    def close(self) -> None:
        self._web.close()


def _requests(values: list[bytes], target: Target) -> list[bytes]:
    """The bodies for these rows."""
    if target.kind == ROW:
        return values
    out: list[bytes] = []
    some: list[bytes] = []
    size = 0
    for value in values:
        if some and (len(some) >= target.rows or size + len(value) > target.bytes):
            out.append(_body(some, target.kind))
            some, size = [], 0
        some.append(value)
        size += len(value) + 1
    out.append(_body(some, target.kind))
    return out


def _body(values: list[bytes], kind: str) -> bytes:
    return b"[" + b",".join(values) + b"]" if kind == ARRAY else b"\n".join(values) + b"\n"
