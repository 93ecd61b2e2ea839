"""What a statement gives back: rows as Arrow batches, with row kinds where they can change; or a message."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from sqlstream.errors import DataError, Position, RunError, SqlStreamError
from sqlstream.runtime.progress import Progress
from sqlstream.types import STRING, Column, Schema

if TYPE_CHECKING:
    from sqlstream.runtime.job import Job

Rows = tuple[pa.RecordBatch, "np.ndarray | None"]


@dataclass
class Result:
    """`schema` is None for statements without rows. `batches()` may be called once."""

    kind: str  # SELECT, INSERT, DDL, SHOW, …
    schema: Schema | None = None
    message: str = ""
    append_only: bool = True
    bounded: bool = True
    streaming: bool = False  # rows of a running job: they may come slowly, and change
    progress: Progress | None = None
    place: tuple[str, str | None, Position] | None = None  # the script, its file, where the statement stands in it
    _source: Callable[[], Iterator[Rows]] = field(default=lambda: iter(()))
    _close: Callable[[], None] = field(default=lambda: None)

    def batches(self) -> Iterator[Rows]:
        """(batch under the users' names, row kinds or None). Errors know the statement's place."""
        try:
            yield from self._source()
        except SqlStreamError as e:
            if self.place is None:
                raise
            text, source, position = self.place
            if not isinstance(e, (DataError, RunError)):  # these have a place of their own
                e.position = e.position or position
            raise e.located(text, source) from None

    def close(self) -> None:
        """Stops what still runs for it."""
        self._close()


def table_result(kind: str, columns: list[str], rows: list[list[str | None]]) -> Result:
    """A small result of strings: SHOW, DESCRIBE, EXPLAIN."""
    schema = Schema(tuple(Column(c, STRING) for c in columns))
    batch = pa.RecordBatch.from_arrays(
        [pa.array([r[i] for r in rows], pa.string()) for i in range(len(columns))], names=columns
    )
    return Result(kind, schema, _source=lambda: iter([(batch, None)]))


_DONE = object()


class StreamingRows:
    """Rows of a job that runs on a thread of its own; the queue is bounded, so a slow reader slows the job."""

    def __init__(
        self, make: Callable[[Callable[[pa.RecordBatch, np.ndarray | None], None]], Job], limit: int | None
    ) -> None:
        self._queue: queue.Queue[object] = queue.Queue(maxsize=8)
        self._closed = threading.Event()
        self._limit = limit
        self._error: BaseException | None = None
        self.job = make(self._put)
        self._thread = threading.Thread(target=self._run, name="query", daemon=True)

    def _put(self, batch: pa.RecordBatch, kinds: np.ndarray | None) -> None:
        while not self._closed.is_set():
            try:
                self._queue.put((batch, kinds), timeout=0.1)
                return
            except queue.Full:
                continue

    def _run(self) -> None:
        try:
            self.job.run()
        except BaseException as e:
            self._error = e
        while not self._closed.is_set():
            try:
                self._queue.put(_DONE, timeout=0.1)
                return
            except queue.Full:
                continue

    def __iter__(self) -> Iterator[Rows]:
        left = self._limit
        if left == 0:
            return
        self._thread.start()
        try:
            while True:
                item = self.get(None)
                if item is None:
                    return
                batch, kinds = item
                if left is not None and batch.num_rows >= left:
                    yield batch.slice(0, left), None if kinds is None else kinds[:left]
                    return
                if left is not None:
                    left -= batch.num_rows
                yield batch, kinds
        finally:
            self.close()

    def get(self, timeout: float | None) -> Rows | None:
        """The next batch, None at the end; queue.Empty after `timeout` seconds. Ctrl-C gets through."""
        waited = 0.0
        while True:
            step = 0.1 if timeout is None else min(0.1, timeout - waited)
            try:
                item = self._queue.get(timeout=max(step, 0.001))
            except queue.Empty:
                if self._closed.is_set():
                    return None
                waited += step
                if timeout is not None and waited >= timeout:
                    raise
                continue
            if item is _DONE:
                if self._error is not None:
                    raise self._error
                return None
            return item  # type: ignore[return-value]

    def close(self) -> None:
        """Stops the job and waits for it."""
        self._closed.set()
        self.job.stop()
        if self._thread.is_alive():
            self._thread.join()
        if self._error is not None and not isinstance(self._error, SqlStreamError):
            self._error = None
