"""Rows as files, exactly once.

A task writes part files under `<path>/_staging/<job>/`, which readers skip. `prepare` closes and syncs them; the
committables name each staged file and where it will be published, both relative to `<path>`:
`[<partition>/]part-<job>-<run>-<subtask>-<checkpoint>-<n>`. What becomes of them is in `file_committer.py`.

Rows of many partitions are gathered before they are encoded, and of their part files a bounded number is open: the one
that was not written for longest is closed (and rolled), when another is needed.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import IO, Any

import numpy as np
import pyarrow as pa

from sqlstream.batches import Time
from sqlstream.connectors.file_committer import FileCommitter
from sqlstream.connectors.file_store import STAGING, Store, reported, safe
from sqlstream.connectors.partition_commit import PartitionCommit
from sqlstream.connectors.partitions import Partitions
from sqlstream.contracts import Committable, Sink, SinkCommitter, SinkTask, SinkWriter, TableContext
from sqlstream.errors import DataError, OptionError, RunError
from sqlstream.formats.base import Encoder, Format, Part

ENCODE_ROWS = 32_768  # rows gathered before they are encoded: small batches cost as much as large ones
GATHERED = 262_144  # rows gathered for all partitions together
NAME = 255  # bytes of a name on a local disk, at most
PREFIX = NAME - 60  # what follows are numbers and an ending
OPEN = 64  # part files that are written at the same time


@dataclass(frozen=True)
class FileSink(Sink):
    """The directory `path` as a sink; it takes what its format can hold. `data`: the table as its files have it, without
    partition columns. `replaced`: for INSERT OVERWRITE, the partition that was named, "" for none."""

    table: TableContext
    data: TableContext
    options: Mapping[str, Any]
    path: str
    format: Format
    partitions: Partitions
    commit: PartitionCommit | None = None
    replaced: str | None = None

    @property
    def changelog(self) -> bool:  # type: ignore[override]
        return self.format.changelog

    @property
    def place(self) -> str:  # type: ignore[override]
        return self.path.rstrip("/") or "/"

    @property
    def waits_for_watermark(self) -> bool:  # type: ignore[override]
        return self.commit is not None and self.commit.extractor is not None

    def writer(self, task: SinkTask) -> SinkWriter:
        return FileWriter(self, task)

    def committer(self, task: SinkTask) -> SinkCommitter:
        store = Store(self.path, self.table.stores)
        return FileCommitter(store, task, self.partitions, self.commit, self.replaced)

    def overwriting(self, partition: pa.RecordBatch | None) -> Sink:
        return replace(self, replaced="" if partition is None else self.partitions.directories(partition)[1][0])


@dataclass
class _Bucket:
    """What one partition is being written: gathered rows, and the part file that is open."""

    directory: str
    batches: list[pa.RecordBatch] = field(default_factory=list)
    kinds: list[np.ndarray | None] = field(default_factory=list)
    rows: int = 0
    file: IO[bytes] | None = None
    part: Part | None = None
    staged: str = ""
    begun: float = 0.0  # seconds of the writer's clock
    written: float = 0.0

    def add(self, batch: pa.RecordBatch, kinds: np.ndarray | None) -> None:
        self.batches.append(batch)
        self.kinds.append(kinds)
        self.rows += batch.num_rows

    def take(self) -> tuple[pa.RecordBatch, np.ndarray | None]:
        """The gathered rows as one batch."""
        batch = self.batches[0] if len(self.batches) == 1 else pa.concat_batches(self.batches)
        kinds = None
        if any(k is not None for k in self.kinds):
            pairs = zip(self.batches, self.kinds, strict=True)
            kinds = np.concatenate([np.zeros(b.num_rows, np.int8) if k is None else k for b, k in pairs])
        self.batches, self.kinds, self.rows = [], [], 0
        return batch, kinds


class FileWriter(SinkWriter):
    """One task's part files. Rows are encoded by the batch; a part that has its size or age is closed, and stays staged.

    `clock` (seconds) says how old a part is; tests set it.
    """

    def __init__(self, sink: FileSink, task: SinkTask) -> None:
        self._sink = sink
        self._task = task
        self._store = Store(sink.path, sink.table.stores)
        self._encoder: Encoder = sink.format.encoder(sink.data, sink.options)
        o = sink.options
        self._limit: int = o["sink.rolling-policy.file-size"]
        self._oldest: float = o["sink.rolling-policy.rollover-interval"] / 1e6
        self._quiet: float = o["sink.rolling-policy.inactivity-interval"] / 1e6
        self._check: float = o["sink.rolling-policy.check-interval"] / 1e6
        self.clock = sink.table.seconds
        self._checked: float | None = None
        self._number = 0
        self._buckets: dict[str, _Bucket] = {}
        self._open: dict[str, _Bucket] = {}  # those with a file, the one last written at the end
        self._rows = 0
        self._closed: list[tuple[str, str]] = []  # staged, and its partition
        self._time = Time()
        self.sent(0)
        self._prefix = f"part-{safe(task.job)}-{safe(task.run)}"
        if self._store.local and len(self._prefix) > PREFIX:
            raise OptionError(
                f"the job's name is too long for names of files in {sink.path}, which begin with it",
                hint="a shorter 'pipeline.name'; what is no letter, digit or dot takes more room (~2d for -)",
            )

    def write(self, batch: pa.RecordBatch, kinds: np.ndarray | None) -> None:
        if not batch.num_rows:
            return
        for directory, rows, kinds_of_rows in self._split(batch, kinds):
            bucket = self._buckets.get(directory)
            if bucket is None:
                self._check_directory(directory)
                bucket = self._buckets[directory] = _Bucket(directory)
            bucket.add(rows, kinds_of_rows)
            self._rows += rows.num_rows
            if bucket.rows >= ENCODE_ROWS:
                self._encode(bucket)
        if self._rows >= GATHERED:
            for bucket in sorted(self._buckets.values(), key=lambda b: b.rows, reverse=True):
                self._encode(bucket)
                if self._rows < GATHERED // 2:
                    break

    def _check_directory(self, directory: str) -> None:
        """DataError where there can be no such partition: said before a checkpoint knows of it, which could not be published."""
        if self._store.local and (long := next((p for p in directory.split("/") if len(os.fsencode(p)) > NAME), None)):
            raise DataError(
                f"table {self._sink.table.name}: a partition has no directory: its name would have "
                f"{len(os.fsencode(long))} bytes, and {NAME} is the most: {long[:40]}…",
                hint="partition by something shorter, such as SUBSTRING(…) or MD5(…) of it",
            )
        if self._sink.commit is not None:
            self._sink.commit.check(directory)

    def _split(
        self, batch: pa.RecordBatch, kinds: np.ndarray | None
    ) -> Iterator[tuple[str, pa.RecordBatch, np.ndarray | None]]:
        """The rows by partition, in their order, without the columns that say which."""
        if not self._sink.partitions:
            yield "", batch, kinds
            return
        number, directories = self._sink.partitions.directories(batch)
        data = batch.select(list(self._sink.data.schema.names))
        if len(directories) == 1:
            yield directories[0], data, kinds
            return
        order = np.argsort(number, kind="stable")
        data = data.take(pa.array(order))
        ends = np.cumsum(np.bincount(number, minlength=len(directories)))
        for directory, begin, end in zip(directories, [0, *ends[:-1]], ends, strict=True):
            rows = data.slice(int(begin), int(end - begin))
            yield directory, rows, None if kinds is None else kinds[order[begin:end]]

    def advance(self, time: Time) -> None:
        self._time = time

    def flush(self) -> None:
        """Closes parts that are too old, now and then."""
        if not self._open:
            return
        now = self.clock()
        if self._checked is not None and now - self._checked < self._check:
            return
        self._checked = now
        for bucket in list(self._open.values()):
            if now - bucket.begun >= self._oldest or now - bucket.written >= self._quiet:
                self._encode(bucket)
                self._finish(bucket)

    def prepare(self, checkpoint: int) -> list[Committable]:
        for bucket in list(self._buckets.values()):
            self._encode(bucket)
            self._finish(bucket)
        self._buckets.clear()
        t = self._task
        out: list[Committable] = []
        for n, (staged, directory) in enumerate(self._closed):
            name = f"{self._prefix}-{t.subtask}-{checkpoint}-{n}.{self._sink.format.extension}"
            out.append({"staged": staged, "final": f"{directory}/{name}" if directory else name})
        self._closed = []
        if self._sink.commit is not None:
            out.append({"watermark": self._time.watermark, "idle": self._time.idle})
        return out

    def close(self) -> None:
        """Staged parts that no checkpoint knows are removed."""
        for bucket in list(self._open.values()):
            self._discard(bucket)
        self._buckets.clear()
        for staged, _ in self._closed:
            with contextlib.suppress(OSError):
                self._store.remove(staged)
        self._closed = []

    def _encode(self, bucket: _Bucket) -> None:
        if not bucket.rows:
            return
        self._rows -= bucket.rows
        batch, kinds = bucket.take()
        try:
            with reported(self._store.path(bucket.staged), "write"):
                if bucket.part is None:
                    self._begin(bucket)
                assert bucket.part is not None and bucket.file is not None
                bucket.part.write(batch, kinds)
                full = bucket.file.tell() >= self._limit
        except RunError:
            self._discard(bucket)
            raise
        self._open[bucket.directory] = self._open.pop(bucket.directory)
        bucket.written = self.clock()
        if full:
            self._finish(bucket)

    def _begin(self, bucket: _Bucket) -> None:
        while len(self._open) >= OPEN:
            self._finish(next(iter(self._open.values())))
        name = f"part-{safe(self._task.run)}-{self._task.subtask}-{self._number}.{self._sink.format.extension}"
        self._number += 1
        bucket.staged = f"{STAGING}/{safe(self._task.job)}/{name}"
        bucket.file = self._store.create(bucket.staged)
        self._open[bucket.directory] = bucket
        bucket.begun = self.clock()
        bucket.part = self._encoder.part(bucket.file)

    def _finish(self, bucket: _Bucket) -> None:
        if bucket.part is None or bucket.file is None:
            return
        try:
            with reported(self._store.path(bucket.staged), "write"):
                bucket.part.finish()
                self.sent(bucket.file.tell())
                bucket.file.flush()
                if self._store.local:
                    os.fsync(bucket.file.fileno())
                bucket.file.close()
        except RunError:
            self._discard(bucket)
            raise
        self._closed.append((bucket.staged, bucket.directory))
        self._forget(bucket)

    def _discard(self, bucket: _Bucket) -> None:
        if bucket.file is None:
            return
        with contextlib.suppress(OSError):
            bucket.file.close()
        with contextlib.suppress(OSError):
            self._store.remove(bucket.staged)
        self._forget(bucket)

    def _forget(self, bucket: _Bucket) -> None:
        bucket.part = bucket.file = None
        self._open.pop(bucket.directory, None)
        if not bucket.rows:
            self._buckets.pop(bucket.directory, None)
