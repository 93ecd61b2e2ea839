"""Rows as records of a stream, at least once: PutRecords by hundreds, and again those of them that were refused."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from sqlstream.connectors.kinesis.client import Address, Client
from sqlstream.connectors.messages.clients import Backoff, Unreachable
from sqlstream.connectors.messages.encoder import PartEncoder
from sqlstream.contracts import Sink, SinkTask, SinkWriter
from sqlstream.errors import DataError

MOST, BYTES, RECORD = 500, 5 * 2**20, 2**20  # of one PutRecords: records, and bytes with their keys; of a record
LONGEST_KEY = 256  # characters
RANDOM, FIXED = "random", "fixed"


@dataclass(frozen=True)
class Target:
    """`partitioner`: RANDOM, or FIXED: one for each task; or `fields`: columns whose values make the key, with `delimiter` between."""

    table: str
    address: Address
    encoder: PartEncoder
    partitioner: str
    fields: tuple[str, ...]
    delimiter: str
    batch: int
    retries: int


class KinesisSink(Sink):
    """Of rows that come (and, by a format of changes, go)."""

    def __init__(self, target: Target, changelog: bool) -> None:
        self._target, self.changelog = target, changelog

    def writer(self, task: SinkTask) -> SinkWriter:
        return KinesisWriter(self._target, task)


Record = dict[str, str | bytes]


class KinesisWriter(SinkWriter):
    """Sends what comes when it is enough for a request, and the rest as the epoch ends."""

    def __init__(self, target: Target, task: SinkTask) -> None:
        self._target, self._key = target, f"{task.job}-{task.subtask}"[:LONGEST_KEY]
        self._client = Client(target.address, target.table)
        self._client.do("describe_stream_summary")  # says at once what is wrong
        self._waiting: list[Record] = []

    def write(self, batch: pa.RecordBatch, kinds: np.ndarray | None) -> None:
        encoded = self._target.encoder.encode(batch, kinds)
        values = encoded.values()
        self.sent(encoded.total)
        keys = self._keys(batch)
        self._waiting += [{"Data": v or b"", "PartitionKey": k} for v, k in zip(values, keys, strict=True)]
        while len(self._waiting) >= self._target.batch:
            self._send()

    def flush(self) -> None:
        while self._waiting:
            self._send()

    def _keys(self, batch: pa.RecordBatch) -> list[str]:
        t = self._target
        if t.fields:
            texts = [batch.column(f).cast(pa.string()).fill_null("") for f in t.fields]
            found = pa.compute.binary_join_element_wise(*texts, t.delimiter)
            return [k[:LONGEST_KEY] or t.delimiter for k in found.to_pylist()]
        if t.partitioner == FIXED:
            return [self._key] * batch.num_rows
        return [uuid.uuid4().hex for _ in range(batch.num_rows)]

    def _send(self) -> None:
        """The next request's records."""
        n = size = 0
        for r in self._waiting[: self._target.batch]:
            one = len(r["Data"]) + len(str(r["PartitionKey"]).encode())
            if one > RECORD:
                raise DataError(
                    f"{self._client.where}: a record has {one:,} bytes with its key, and {RECORD:,} is the most",
                    hint="a shorter row, or a shorter form of it",
                )
            if n and size + one > BYTES:
                break
            n, size = n + 1, size + one
        some, self._waiting = self._waiting[:n], self._waiting[n:]
        self._put(some)

    def _put(self, records: list[Record]) -> None:
        """Until all are there. Those of an answer that were refused (the shard is busy) are sent again, by themselves."""
        backoff, said = Backoff(), ""
        for attempt in range(self._target.retries + 1):
            if attempt:
                time.sleep(backoff.rest())
            try:
                answer = self._client.do("put_records", Records=records)
            except Unreachable as e:
                if attempt == self._target.retries:
                    raise
                said = e.message
                continue
            if not answer.get("FailedRecordCount"):
                return
            results = answer["Records"]
            said = next(f"{r['ErrorCode']}: {r.get('ErrorMessage', '')}" for r in results if r.get("ErrorCode"))
            records = [r for r, done in zip(records, results, strict=True) if done.get("ErrorCode")]
        raise Unreachable(
            f"{self._client.where} takes {len(records):,} records not: {said}",
            hint="more shards take more; 'sink.max-retries' says how often they are sent",
        )

    def close(self) -> None:
        self._client.close()
