"""Channels between the tasks of one process. A task does not know where its channels lead."""

from __future__ import annotations

import queue
import threading
from typing import Protocol

import pyarrow as pa

from sqlstream.batches import Delta, Time, meet
from sqlstream.errors import SqlStreamError


class TaskFailed(SqlStreamError):
    """Another task of the job failed; its error is the one to show."""


class Channels(Protocol):
    def exchange(self, node: int, subtask: int, parts: list[list[pa.RecordBatch]], time: Time) -> Delta:
        """Sends `parts[t]` to task t and gives what all tasks sent here for the same epoch. Blocks: a barrier."""
        ...


class LocalChannels:
    """Queues between threads. One epoch is in flight at most, so queues hold one message an edge."""

    def __init__(self, parallelism: int) -> None:
        self.parallelism = parallelism
        self._lock = threading.Lock()
        self._queues: dict[tuple[int, int, int], queue.SimpleQueue[tuple[list[pa.RecordBatch], Time]]] = {}
        self.failed = threading.Event()

    def _queue(self, node: int, sender: int, receiver: int) -> queue.SimpleQueue[tuple[list[pa.RecordBatch], Time]]:
        with self._lock:
            return self._queues.setdefault((node, sender, receiver), queue.SimpleQueue())

    def exchange(self, node: int, subtask: int, parts: list[list[pa.RecordBatch]], time: Time) -> Delta:
        for t, part in enumerate(parts):
            self._queue(node, subtask, t).put((part, time))
        batches: list[pa.RecordBatch] = []
        times: list[Time] = []
        for sender in range(self.parallelism):
            got = self._get(self._queue(node, sender, subtask))
            batches += got[0]
            times.append(got[1])
        return Delta(batches, meet(times))

    def _get(self, q: queue.SimpleQueue[tuple[list[pa.RecordBatch], Time]]) -> tuple[list[pa.RecordBatch], Time]:
        while True:
            try:
                return q.get(timeout=0.2)
            except queue.Empty:
                if self.failed.is_set():
                    raise TaskFailed("another task failed") from None
