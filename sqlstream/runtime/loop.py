"""The loop of an attempt: epoch by epoch, a checkpoint with some of them, until inputs end or the job is asked to.

Between two epochs nothing else moves rows, so that is where all of it is decided: who has asked for what, whether a
checkpoint is due, whether new splits came, and how long there is nothing to do. With one worker everything runs in the
caller's thread; with more, each worker has one, and an epoch begins for all at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from threading import Event
from typing import Any

from sqlstream import threads
from sqlstream.batches import END
from sqlstream.clock import Clock
from sqlstream.contracts import known
from sqlstream.errors import CheckpointError
from sqlstream.options import SessionOptions
from sqlstream.runtime.channels import LocalChannels
from sqlstream.runtime.checkpoints import Checkpoints
from sqlstream.runtime.meters import Meters
from sqlstream.runtime.pace import IDLE, PERIOD, READING, Pace
from sqlstream.runtime.progress import Progress
from sqlstream.runtime.replay import Replay
from sqlstream.runtime.savepoints import Request, Savepoints
from sqlstream.runtime.splits import Splits
from sqlstream.runtime.supervisor import Restarted
from sqlstream.runtime.timings import JobTimes
from sqlstream.runtime.worker import EpochCommand, EpochReport, Worker, step
from sqlstream.state.memory import MEMORY
from sqlstream.threads import Threads

MEASURE = 1.0  # seconds between two looks at how much state there is


@dataclass(frozen=True)
class Requests:
    """What is asked of a running job, from any thread; heeded between two epochs. `stop`: it ends with a last checkpoint;
    `cancel` (with `stop`): without one; `again`: another attempt is to begin."""

    stop: Event = field(default_factory=Event)
    cancel: Event = field(default_factory=Event)
    again: Event = field(default_factory=Event)


@dataclass
class Loop:
    """One attempt's; its workers are open. `replay`: what is computed again before anything is published; None from the
    end of that on. `savepoints`: None for a job that is not durable. `on_epoch` is told after each epoch.
    `meters`: None where nobody looks at how much state there is."""

    name: str
    options: SessionOptions
    workers: list[Worker]
    channels: LocalChannels
    splits: Splits
    replay: Replay | None
    checkpoints: Checkpoints
    savepoints: Savepoints | None
    requests: Requests
    pace: Pace
    progress: Progress
    times: JobTimes
    clock: Clock
    say: Callable[[str], None]
    on_epoch: Callable[[Progress], None] | None = None
    meters: Meters | None = None

    def __post_init__(self) -> None:
        self._before = replace(self.progress)  # counts of the checkpoint that it goes on from
        if self.replay is not None:
            self._before.rows_out = self.replay.goal.metrics.get("rows_out", 0)
        self._measured = float("-inf")

    def run(self) -> None:
        """To the end, or until it is asked to; raises what made it fail, and Restarted."""
        started, tasks = self.clock.monotonic(), len(self.workers)
        with ExitStack() as stack:
            stack.callback(self.checkpoints.close)
            stack.push(self._give_up)
            pool = stack.enter_context(Threads(tasks, "task")) if tasks > 1 else None
            self._epochs(pool)
        self.times.running = self.clock.monotonic() - started

    def _give_up(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        """Nobody waits for a verdict any more, where it cannot be the reason."""
        if error is not None and not isinstance(error, CheckpointError):
            self.checkpoints.give_up()

    def _epochs(self, pool: Threads | None) -> None:
        slowest, aligned, checkpoints = END, tuple[Mapping[str, int], ...](), self.checkpoints
        while True:
            stopping = self.requests.stop.is_set()
            if self.requests.cancel.is_set():
                self.progress.state = "CANCELED"
                return
            if self.requests.again.is_set() and not stopping:
                self.requests.again.clear()
                raise Restarted()
            ending = self._ending()
            checkpoints.collect(wait=stopping or ending is not None, tolerant=stopping)
            epoch = self.progress.epoch + 1
            number: int | None = None
            if self.replay is None and (checkpoints.due() or (stopping and checkpoints.taken)):
                number = checkpoints.begin(epoch)
            begun = self.clock.monotonic()
            rows = 0 if stopping or ending is not None else self.pace.rows()
            drain = ending is not None and ending.drain
            command = EpochCommand(epoch, self.clock.now(), rows, READING, number, slowest, drain, aligned)
            reports = step(self.workers, self.channels, command, pool)
            slowest, aligned = min(r.watermark for r in reports), tuple(r.aligned for r in reports)
            self._report(epoch, reports)
            if self.options.mode == "AT_LEAST_ONCE":
                self._show(epoch)
            finished = all(r.finished for r in reports) and self.replay is None
            if number is not None:
                self._write(reports, finished, drain)
            if ending is not None and not finished and self._saved(ending):
                return
            if self.replay is not None and self.replay.step(self.workers):
                self.replay = None
            if finished or stopping:
                if not finished:
                    self.progress.state = "CANCELED"
                self._last(number, reports, finished)
                return
            if self.replay is None:
                self.splits.look()
                self.progress.held_by = self.splits.holder
                if not any(r.backlog for r in reports):
                    self._wait(begun, command)

    def _wait(self, begun: float, command: EpochCommand) -> None:
        """Until the next epoch is to begin: the one that began at `begun` has left nothing."""
        look = begun + PERIOD
        came = False
        while not came and look < begun + IDLE and not self.checkpoints.due():
            now = self.clock.monotonic()
            if self.clock.wait(self.requests.stop, max(look - now, 0)):
                return
            self.times.waiting += self.clock.monotonic() - now
            look = max(look + PERIOD, now)
            self.checkpoints.collect(wait=False)  # what is written is published now, not with the next rows
            came = any([w.look(command) for w in self.workers])

    def _report(self, epoch: int, reports: list[EpochReport]) -> None:
        p = self.progress
        p.epoch = epoch
        p.rows_in = self._before.rows_in + sum(r.rows_in for r in reports)
        p.rows_out = self._before.rows_out + sum(r.rows_out for r in reports)
        p.watermark = min(r.watermark for r in reports)
        p.skipped_records = sum(r.skipped for r in reports)
        pending = known(r.pending for r in reports)
        p.pending_records, p.pending_bytes = pending.records, pending.bytes
        p.reconnects = sum(r.reconnects for r in reports)
        self._measure()
        lost = sum(r.lost for r in reports)
        if lost and not p.lost_changes:
            self.say(
                "warning: rows are taken back whose state is over, so that what was computed of them stays; a longer "
                "'table.exec.state.ttl' (or hint STATE_TTL) keeps them"
            )
        p.lost_changes = lost
        if self.on_epoch is not None:
            self.on_epoch(p)

    def _measure(self) -> None:
        """How much state there is, once a second: for those who look at the job."""
        now = self.clock.monotonic()
        if self.meters is None or now - self._measured < MEASURE:
            return
        self._measured = now
        self.meters.states = states = [w.states.metrics() for w in self.workers]
        found = [m for task in states for m in task.values()]
        self.progress.state_rows = sum(n for m in found for n in m.rows.values())
        self.progress.state_bytes = MEMORY.used + MEMORY.mapped + sum(m.store_bytes for m in found)

    def _write(self, reports: list[EpochReport], finished: bool, drained: bool = False) -> None:
        shares = [r.share for r in reports if r.share is not None]
        assert len(shares) == len(reports)
        self.checkpoints.write(shares, max(r.barrier for r in reports), finished, drained)

    def _ending(self) -> Request | None:
        """Whether this is the last epoch, which ends with a savepoint."""
        return None if self.savepoints is None or self.replay is not None else self.savepoints.stopping

    def _saved(self, request: Request) -> bool:
        """Waits for the savepoint that the job is to end with. False: it failed, and the job goes on."""
        self.checkpoints.collect(wait=True, tolerant=True)
        threads.wait(request.future)
        error = request.future.exception()
        if error is None:
            self.progress.saved, self.progress.drained = True, request.drain
            return True
        if request.drain:  # what came before the end of time is published: there is no way back
            raise error
        self.say(f"warning: job {self.name} was not stopped: {getattr(error, 'message', error)}")
        return False

    def _last(self, number: int | None, reports: list[EpochReport], finished: bool) -> None:
        """The last checkpoint: all that is left is prepared and published. At the end of the inputs one that fails is
        tried again; a job that is stopped ends without it."""
        checkpoints = self.checkpoints
        checkpoints.collect(wait=True, tolerant=not finished)
        while checkpoints.taken and self.replay is None and (number is None or checkpoints.published != number):
            pause = self.options.interval / 1e6 or 1.0
            if number is not None and (not finished or self.clock.wait(self.requests.stop, pause)):
                self.progress.state = "CANCELED"
                self.say("warning: the last checkpoint failed: what came after the one before will be computed again")
                return
            number = checkpoints.begin(self.progress.epoch)
            for r, w in zip(reports, self.workers, strict=True):
                r.share = w.share(number, finished)
            self._write(reports, finished)
            checkpoints.collect(wait=True, tolerant=not finished)

    def _show(self, epoch: int) -> None:
        """AT_LEAST_ONCE: what sinks have is shown at once, and shown again by a run that resumes behind it."""
        parts: dict[str, list[Any]] = {}
        for worker in self.workers:
            for key, prepared in worker.prepare(epoch).items():
                parts.setdefault(key, []).extend(prepared)
        self.checkpoints.show(parts)
