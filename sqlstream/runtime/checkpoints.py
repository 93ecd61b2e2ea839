"""The checkpoints of a streaming job: begun between two epochs, written in the background, then published.

A job without a directory keeps the rhythm too: its sinks publish by it, and nothing is written.

One that fails in the background, or does not end in time, is aborted, counted and told; the job goes on while no more
fail in a row than are tolerated, and the next one is taken when it is due. What the failed one had taken is not lost: changes of
state wait in their shards (`checkpoint/writer.py`), and what its sinks had prepared is published with the next one
(`_left`). What fails while the job stands for a checkpoint (a sink's `prepare`) is a failure of the job, as is one of
publishing: a restart repeats it from the last checkpoint.
"""

from __future__ import annotations

import time as walltime
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from sqlstream import faults, threads
from sqlstream.batches import END, NO_WATERMARK, meet
from sqlstream.checkpoint.coordinator import Attempt
from sqlstream.checkpoint.manifest import Manifest
from sqlstream.checkpoint.statistics import CheckpointRecord, OperatorStatistics, Statistics
from sqlstream.checkpoint.verification import Damaged
from sqlstream.clock import Clock
from sqlstream.errors import CheckpointError, RunError
from sqlstream.metrics.state import summed
from sqlstream.options import SessionOptions, duration_text
from sqlstream.runtime.progress import Progress
from sqlstream.runtime.publisher import Publisher
from sqlstream.runtime.run import Run
from sqlstream.runtime.savepoints import Savepoints
from sqlstream.runtime.timings import JobTimes
from sqlstream.runtime.worker import TaskShare, written
from sqlstream.threads import Threads

LOOK = 0.05  # seconds between two looks at whether one that is waited for has come too late


class TooSlow(CheckpointError):
    """A checkpoint was not complete in time: a store that hangs may answer again."""

    transient = True


class TooManyFailed(CheckpointError):
    """More checkpoints failed in a row than are tolerated. The job may do better after a restart."""

    transient = True


@dataclass
class _Checkpoint:
    """One that is under way. `sinks`: what is published with it."""

    number: int
    attempt: Attempt | None
    since: float  # by the clock
    record: CheckpointRecord | None
    shares: list[TaskShare] = field(default_factory=list)
    sinks: dict[str, list[Any]] = field(default_factory=dict)
    tasks: dict[str, OperatorStatistics] = field(default_factory=dict)
    seconds: float = 0.0  # in the background
    future: Future[Manifest | None] | None = None
    late: bool = False  # its time was over before it was complete


class Checkpoints:
    """One is in flight at most. `run`: None for a job that is not durable. `published`: the number of the last one that
    came to its end. `tell` is told of each that was published."""

    def __init__(
        self,
        options: SessionOptions,
        run: Run | None,
        publisher: Publisher,
        progress: Progress,
        times: JobTimes,
        clock: Clock,
        statistics: Statistics,
        say: Callable[[str], None],
        savepoints: Savepoints | None = None,
        tell: Callable[[Manifest], None] = lambda manifest: None,
    ) -> None:
        self._savepoints, self._tell = savepoints, tell
        self._options, self._run, self._publisher = options, run, publisher
        self._progress, self._times, self._clock = progress, times, clock
        self._statistics, self._say = statistics, say
        self._background = Threads(1, "checkpoint")
        self._begun: _Checkpoint | None = None  # not written yet
        self._writing: _Checkpoint | None = None
        self._left: dict[str, list[Any]] = {}  # what sinks prepared for those that failed
        self._failures = 0  # in a row
        self._last = clock.monotonic()
        self._ended = self._last - options.min_pause / 1e6
        self.published: int | None = None
        self._alone = False  # no other run's checkpoints are left

    @property
    def taken(self) -> bool:
        """Whether the job takes any."""
        return self._run is not None or bool(self._publisher)

    def due(self) -> bool:
        """Whether it is time for one, and the one before is done with."""
        if self._writing is not None or not self.taken:
            return False
        if self._savepoints is not None and self._savepoints.waiting:
            return True
        interval, pause = self._options.interval, self._options.min_pause
        if interval <= 0:
            return False
        now = self._clock.monotonic()
        # A pause that is longer than the interval is the interval, as in Flink.
        return faults.stepwise() or (
            (now - self._last) * 1e6 >= max(interval, pause) and (now - self._ended) * 1e6 >= pause
        )

    def begin(self, epoch: int) -> int:
        """The number of a checkpoint that `epoch` is to end with."""
        attempt = None if self._run is None else self._run.coordinator.begin()
        number = epoch if attempt is None else attempt.checkpoint_id
        self._last = self._clock.monotonic()
        record = None
        if attempt is not None:
            if self._savepoints is not None:
                self._savepoints.begun(number)
            record = self._statistics.begin(number, self._clock.now() // 1000, attempt=self._progress.attempt)
        self._begun = _Checkpoint(number, attempt, self._last, record)
        return number

    def write(self, shares: list[TaskShare], barrier: float, finished: bool, drained: bool = False) -> None:
        """Writes the one that was begun, in the background. `barrier`: seconds that the workers stood for it."""
        self._times.checkpoints += 1
        self._times.barriers += barrier
        p = self._progress
        metrics = {
            "rows_in": p.rows_in,
            "rows_out": p.rows_out,
            "late_rows": p.late_rows,
            "watermark": None if p.watermark in (END, NO_WATERMARK) else p.watermark,
            "finished": finished,
            **({"drained": True} if drained else {}),
            "source_watermarks": _source_watermarks(shares),
            "state": {n: m.value() for n, m in summed([s.metrics for s in shares]).items()},
        }
        c = self._begun
        assert c is not None
        self._begun, self._writing = None, c
        c.shares = shares
        c.sinks = _merged(self._left, self._publisher.combine(_sinks(shares), self._clock.now()))
        if c.record is not None:
            c.record = c.record.alter(sync_duration=_ms(barrier), num_subtasks=len(shares))
        c.future = self._background.submit(self._timed, c, p.epoch, metrics)

    def _timed(self, c: _Checkpoint, epoch: int, metrics: dict[str, Any]) -> Manifest | None:
        started = self._clock.monotonic()
        try:
            return self._complete(c, epoch, metrics)
        finally:
            c.seconds = self._clock.monotonic() - started
            self._times.writing += c.seconds

    def _complete(self, c: _Checkpoint, epoch: int, metrics: dict[str, Any]) -> Manifest | None:
        attempt = c.attempt
        if attempt is None or self._run is None:
            return None
        self._run.check()

        # A job that has ended is never resumed: its state is not written.
        def protect(names: list[str]) -> None:
            attempt.protected.update(names)
            attempt.check()

        operators = written(c.shares, lambda node_id: not metrics["finished"], protect, c.tasks)
        sources: dict[str, dict[str, Any]] = {}
        for share in c.shares:
            for node_id, splits in share.sources.items():
                sources.setdefault(node_id, {}).update(splits)
        parts = {"operators": operators, "sources": sources, "sinks": c.sinks, "metrics": metrics}
        return self._run.complete(attempt, epoch, len(c.shares), **parts)

    def collect(self, wait: bool, tolerant: bool = False) -> None:
        """When the background is done, or too late: publishes the sinks' share. Raises what went wrong in publishing, and
        `TooManyFailed`; `tolerant`: that is told only."""
        c = self._writing
        if c is None or not self._over(c, wait or faults.stepwise()):
            return
        self._writing = None
        try:
            manifest = self._outcome(c)
        except Damaged as e:  # of the one that the job went on from: there is no going on
            self._give_up(c, e)
            raise
        except RunError as e:
            self._failed(c, e, tolerant)
            return
        faults.point("before-publish")
        if manifest is None or self._run is None:
            self._publisher.publish(c.sinks)
        else:
            self._run.publish(self._publisher, manifest)
        faults.point("after-publish")
        self._left = {}
        self._failures = 0
        self.published = c.number
        self._ended = self._clock.monotonic()
        if manifest is not None and self._run is not None:
            self._tell(manifest)
            self._record(c, manifest)
            if self._savepoints is not None:
                self._savepoints.completed(self._run, manifest)

    def _over(self, c: _Checkpoint, wait: bool) -> bool:
        """Whether it is complete, has failed or is given up: its time is over."""
        assert c.future is not None
        while not c.future.done():
            left = self._options.checkpoint_timeout / 1e6 - (self._clock.monotonic() - c.since)
            if left <= 0 and c.attempt is not None and self._run is not None and self._run.coordinator.abort(c.attempt):
                c.late = True
                return True
            if not wait:
                return False
            threads.wait(c.future, min(LOOK, left) if left > 0 else LOOK)
        return True

    def _outcome(self, c: _Checkpoint) -> Manifest | None:
        assert c.future is not None
        if c.late:  # also where the background has seen meanwhile that it was given up
            timeout = duration_text(self._options.checkpoint_timeout)
            raise TooSlow(
                f"it was not complete after {timeout}",
                hint="look at the store of the checkpoints; 'execution.checkpointing.timeout' gives them more time",
            )
        return c.future.result()

    def _record(self, c: _Checkpoint, manifest: Manifest) -> None:
        assert self._run is not None
        p = self._progress
        if not self._alone:
            self._alone = True
            self._run.forget_others()
        p.checkpoint = manifest.checkpoint_id
        p.checkpoint_time, p.checkpoint_moment = walltime.time(), self._ended
        p.checkpoint_duration = self._ended - c.since
        p.checkpoint_size = sum(f.size for f in manifest.files().values())
        if c.record is not None:
            self._statistics.end(c.record.completed(self._end_of(c, c.record), c.tasks, async_duration=_ms(c.seconds)))
        retired, self._run.coordinator.retired = self._run.coordinator.retired, []
        self._statistics.discard(retired)

    def _failed(self, c: _Checkpoint, error: RunError, tolerant: bool) -> None:
        """It is counted; RunError where that makes too many."""
        self._give_up(c, error)
        self._left = c.sinks
        self._failures += 1
        tolerable = self._options.tolerable_failures
        row = f" ({self._failures} in a row)" if self._failures > 1 else ""
        text = f"checkpoint {c.number} failed{row}: {error.message}"
        if tolerant or self._failures <= tolerable:
            self._say(f"warning: {text}")
            return
        self._failures = 0
        raise TooManyFailed(text, hint=error.hint) from error

    def _give_up(self, c: _Checkpoint, error: RunError) -> None:
        if c.attempt is None or self._run is None or c.record is None:
            return
        self._run.coordinator.abort(c.attempt)
        if self._savepoints is not None:
            self._savepoints.failed(c.number, error)
        self._progress.failed_checkpoints += 1
        self._statistics.end(
            c.record.failed(
                self._end_of(c, c.record), error.message, tasks=dict(c.tasks), async_duration=_ms(c.seconds)
            )
        )

    def _end_of(self, c: _Checkpoint, record: CheckpointRecord) -> int:
        """ms since 1970; a clock that was set makes no duration wrong."""
        return record.trigger_timestamp + _ms(self._clock.monotonic() - c.since)

    def show(self, parts: dict[str, list[Any]]) -> None:
        """AT_LEAST_ONCE: publishes what sinks have prepared without a checkpoint."""
        self._publisher.publish(self._publisher.combine(parts, self._clock.now()))

    def give_up(self) -> None:
        """The job has failed by something else than a checkpoint: nobody waits for the verdict on that it came from."""
        if self._run is not None:
            self._run.verification.stop()

    def close(self) -> None:
        """What is under way is given up. Waits for the background: a store may be slow to answer, and a checkpoint that
        came to its end later would be none of the next attempt's."""
        under_way = [c for c in (self._begun, self._writing) if c is not None]
        for c in under_way:
            if c.attempt is not None and self._run is not None:
                self._run.coordinator.abort(c.attempt)
        self._background.close()
        for c in under_way:
            if c.attempt is not None and c.attempt.completed and c.record is not None:
                self._statistics.end(c.record.completed(self._end_of(c, c.record), c.tasks))
            else:
                self._give_up(c, CheckpointError("the job ended before it was complete"))


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _merged(first: dict[str, list[Any]], then: dict[str, list[Any]]) -> dict[str, list[Any]]:
    return {key: [*first.get(key, []), *then.get(key, [])] for key in {**first, **then}}


def _sinks(shares: list[TaskShare]) -> dict[str, list[Any]]:
    out: dict[str, list[Any]] = {}
    for share in shares:
        for node_id, parts in share.sinks.items():
            out.setdefault(node_id, []).extend(parts)
    return out


def _source_watermarks(shares: list[TaskShare]) -> dict[str, int]:
    """By node: the least of the tasks' watermarks, as operators behind an Exchange see it."""
    out = {}
    for node in {n for s in shares for n in s.watermarks}:
        mark = meet([s.watermarks[node] for s in shares if node in s.watermarks]).watermark
        if mark not in (END, NO_WATERMARK):
            out[node] = mark
    return dict(sorted(out.items()))
