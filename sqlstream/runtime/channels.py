"""Channels between the tasks of one process. A task does not know where its channels lead."""

from __future__ import annotations

from typing import Protocol

import pyarrow as pa

from sqlstream.batches import Delta, Time, meet
from sqlstream.errors import SqlStreamError
from sqlstream.threads import condition


class TaskFailed(SqlStreamError):
    """Another task of the job failed; its error is the one to show."""


class Channels(Protocol):
    """How an Exchange of one task reaches those of the others."""

    def exchange(self, node: int, subtask: int, parts: list[list[pa.RecordBatch]], time: Time) -> Delta:
        """Sends `parts[t]` to task t and gives what all tasks sent here for the same epoch. Blocks: a barrier."""
        ...


class LocalChannels:
    """Between threads. One epoch is in flight at most, so each task has at most one message from each other for a node."""

    def __init__(self, parallelism: int) -> None:
        self.parallelism = parallelism
        self._changed = condition()
        self._sent: dict[tuple[int, int], dict[int, tuple[list[pa.RecordBatch], Time]]] = {}  # by node and receiver
        self._failed = False

    def exchange(self, node: int, subtask: int, parts: list[list[pa.RecordBatch]], time: Time) -> Delta:
        """TaskFailed when another task failed, since nothing will come from it any more."""
        mine = (node, subtask)
        with self._changed:
            complete = False
            for t, part in enumerate(parts):
                sent = self._sent.setdefault((node, t), {})
                sent[subtask] = (part, time)
                complete |= len(sent) == self.parallelism
            if complete:
                self._changed.notify_all()
            self._changed.wait_for(lambda: self._failed or len(self._sent.get(mine, ())) == self.parallelism)
            if len(self._sent[mine]) < self.parallelism:
                raise TaskFailed("another task failed")
            got = self._sent.pop(mine)
        inputs = [got[sender] for sender in range(self.parallelism)]
        return Delta([batch for batches, _ in inputs for batch in batches], meet([t for _, t in inputs]))

    def fail(self) -> None:
        """A task failed: who waits for it waits no longer."""
        with self._changed:
            self._failed = True
            self._changed.notify_all()
