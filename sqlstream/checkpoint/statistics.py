"""What is known of a job's checkpoints: a record of each, and counts; under the names of Flink's REST `/checkpoints`.

    statistics = Statistics(history)                # in the job
    record = statistics.begin(7, now)               # IN_PROGRESS
    statistics.end(record.completed(…))             # COMPLETED, or .failed(…)

    read(job_directory).history                     # from outside, also when the job is over

Times are milliseconds, `…_timestamp` since 1970 UTC. A checkpoint is taken between two epochs, when nothing is under way
between operators: there is nothing to align, and so no part of it is spent on that. `sync_duration` is what the job
stood still for it (of all tasks the longest), `async_duration` what went on beside.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from sqlstream.checkpoint.history import History
from sqlstream.own_files import from_json

FILE = "checkpoints.jsonl"
KEPT = 100  # records in memory
IN_PROGRESS, COMPLETED, FAILED = "IN_PROGRESS", "COMPLETED", "FAILED"
CHECKPOINT, SAVEPOINT = "CHECKPOINT", "SAVEPOINT"


@dataclass(frozen=True)
class SubtaskStatistics:
    """One operator's part in one task. Sizes are bytes: `state_size` of all its files, `checkpointed_size` of those that
    were uploaded for this checkpoint."""

    index: int
    sync_duration: int = 0
    async_duration: int = 0
    checkpointed_size: int = 0
    state_size: int = 0
    files: int = 0


@dataclass(frozen=True)
class OperatorStatistics:
    """One operator's part, by task."""

    name: str
    subtasks: list[SubtaskStatistics] = field(default_factory=list)

    @property
    def checkpointed_size(self) -> int:
        """Bytes that were uploaded."""
        return sum(s.checkpointed_size for s in self.subtasks)

    @property
    def state_size(self) -> int:
        """Bytes of all files."""
        return sum(s.state_size for s in self.subtasks)


@dataclass(frozen=True)
class CheckpointRecord:
    """One checkpoint. `attempt`: of the job, in the process that took it. `tasks`: by the operator's id in the plan.
    `discarded`: it is not kept any more (one that failed never was). `external_path`: a savepoint's."""

    id: int
    checkpoint_type: str = CHECKPOINT
    status: str = IN_PROGRESS
    trigger_timestamp: int = 0
    end_to_end_duration: int | None = None
    alignment_duration: int = 0
    sync_duration: int = 0
    async_duration: int = 0
    checkpointed_size: int = 0
    state_size: int = 0
    num_subtasks: int = 0
    num_acknowledged_subtasks: int = 0
    attempt: int = 1
    tasks: dict[str, OperatorStatistics] = field(default_factory=dict)
    failure_timestamp: int | None = None
    failure_message: str | None = None
    discarded: bool = False
    external_path: str | None = None

    @property
    def is_savepoint(self) -> bool:
        """Whether it is the user's, and never deleted by the engine."""
        return self.checkpoint_type == SAVEPOINT

    def alter(self, **fields: Any) -> CheckpointRecord:
        """The same with other fields."""
        return replace(self, **fields)

    def completed(self, now: int, tasks: dict[str, OperatorStatistics] | None = None, **more: Any) -> CheckpointRecord:
        """It is complete. `now`: ms since 1970. `more`: other fields."""
        of = self.tasks if tasks is None else tasks
        sizes = {
            "checkpointed_size": sum(o.checkpointed_size for o in of.values()),
            "state_size": sum(o.state_size for o in of.values()),
            "num_acknowledged_subtasks": self.num_subtasks,
        }
        took = max(now - self.trigger_timestamp, 0)
        return replace(self, status=COMPLETED, end_to_end_duration=took, tasks=of, **{**sizes, **more})

    def failed(self, now: int, message: str, **more: Any) -> CheckpointRecord:
        """It failed, for that reason."""
        took = max(now - self.trigger_timestamp, 0)
        why = {"failure_timestamp": now, "failure_message": message, "discarded": True}
        return replace(self, status=FAILED, end_to_end_duration=took, **{**why, **more})


@dataclass(frozen=True)
class Restored:
    """A checkpoint (or savepoint) that the job went on from."""

    id: int
    restore_timestamp: int
    is_savepoint: bool = False
    external_path: str | None = None


@dataclass(frozen=True)
class Counts:
    """Since the job's first run. `total`: triggered."""

    restored: int = 0
    total: int = 0
    in_progress: int = 0
    completed: int = 0
    failed: int = 0


@dataclass
class CheckpointStatistics:
    """What `read` gives: `history` is oldest first, and bounded; `counts` are not."""

    counts: Counts = Counts()
    history: list[CheckpointRecord] = field(default_factory=list)
    restored: list[Restored] = field(default_factory=list)

    def latest(self, status: str, savepoint: bool | None = None) -> CheckpointRecord | None:
        """The newest of that status; None: there is none."""
        of = (r for r in reversed(self.history) if r.status == status and savepoint in (None, r.is_savepoint))
        return next(of, None)

    def failures(self, since: int) -> int:
        """How many failed at that time (ms since 1970) or later."""
        return sum(1 for r in self.history if r.status == FAILED and (r.failure_timestamp or 0) >= since)


class Statistics:
    """Those of a job that runs. From any thread. `history`: None keeps them in memory only."""

    def __init__(self, history: History | None = None) -> None:
        self._history = history
        before = CheckpointStatistics() if history is None else folded(history.read())
        self._counts = replace(before.counts, in_progress=0)
        self._records: deque[CheckpointRecord] = deque(before.history[-KEPT:], KEPT)
        self._restored: deque[Restored] = deque(before.restored[-KEPT:], KEPT)

    def now(self) -> CheckpointStatistics:
        """All that is known."""
        return CheckpointStatistics(self._counts, list(self._records), list(self._restored))

    @property
    def counts(self) -> Counts:
        """How many there were."""
        return self._counts

    def begin(self, id: int, now: int, **more: Any) -> CheckpointRecord:
        """One was triggered. `more`: other fields of its record."""
        record = CheckpointRecord(id, trigger_timestamp=now, **more)
        c = self._counts
        self._counts = replace(c, total=c.total + 1, in_progress=c.in_progress + 1)
        self._records.append(record)
        return record

    def end(self, record: CheckpointRecord) -> None:
        """It is complete, or failed."""
        c = self._counts
        c = replace(c, in_progress=max(c.in_progress - 1, 0))
        if record.status == COMPLETED:
            self._counts = replace(c, completed=c.completed + 1)
        else:
            self._counts = replace(c, failed=c.failed + 1)
        for i in range(len(self._records) - 1, -1, -1):
            r = self._records[i]
            if (r.id, r.trigger_timestamp) == (record.id, record.trigger_timestamp):
                self._records[i] = record
        self._write({"checkpoint": asdict(record)})

    def restore(self, restored: Restored) -> None:
        """The job goes on from it."""
        self._counts = replace(self._counts, restored=self._counts.restored + 1)
        self._restored.append(restored)
        self._write({"restored": asdict(restored)})

    def discard(self, ids: Iterable[int]) -> None:
        """These checkpoints are not kept any more."""
        gone = set(ids)
        if not gone:
            return
        for i, r in enumerate(self._records):
            if r.id in gone and not r.is_savepoint:
                self._records[i] = replace(r, discarded=True)
        self._write({"discarded": sorted(gone)})

    def _write(self, value: dict[str, Any]) -> None:
        if self._history is not None:
            c = self._counts
            self._history.append({**value, "counts": asdict(replace(c, in_progress=0))})


def read(directory: Path) -> CheckpointStatistics:
    """Those of a job, by its directory: as far as its history goes. Whether the job runs does not matter."""
    return folded(History(directory / FILE).read())


def folded(lines: Iterable[dict[str, Any]]) -> CheckpointStatistics:
    """What the lines of a history come to. What is no line of ours is skipped."""
    out = CheckpointStatistics()
    for line in lines:
        with contextlib.suppress(ValueError, TypeError):
            if "checkpoint" in line:
                out.history.append(from_json(CheckpointRecord, _known(line["checkpoint"])))
            elif "restored" in line:
                out.restored.append(from_json(Restored, line["restored"]))
            elif "discarded" in line:
                gone = set(line["discarded"])
                out.history = [
                    replace(r, discarded=True) if r.id in gone and not r.is_savepoint else r for r in out.history
                ]
            out.counts = from_json(Counts, line["counts"]) if "counts" in line else out.counts
    return out


def _known(record: Any) -> Any:
    """Without what a later version says beside."""
    names = {f.name for f in fields(CheckpointRecord)}
    return {k: v for k, v in record.items() if k in names} if isinstance(record, dict) else record
