"""A streaming job as its metrics show it, looked at from a thread of its own: nothing here waits for the job or holds it."""

from __future__ import annotations

import hashlib
import os
import socket
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

from sqlstream.batches import END, NO_WATERMARK
from sqlstream.checkpoint.statistics import COMPLETED, CheckpointRecord, SubtaskStatistics
from sqlstream.distribution import VERSION
from sqlstream.metrics.figures import CheckpointFigures, JobFigures, OperatorFigures
from sqlstream.metrics.recent import Recent
from sqlstream.metrics.windows import Rate
from sqlstream.operators.sink import Sink
from sqlstream.operators.source_scan import SourceScan

if TYPE_CHECKING:
    from sqlstream.runtime.job import Job

EVERY = 1.0  # seconds between two looks that windows and rates are made of


class Monitor:
    """`tick` now and then, `figures` when somebody asks. From any thread; times are by the job's clock."""

    def __init__(self, job: Job) -> None:
        self._job, self._clock = job, job.clock
        self._lock = threading.Lock()
        self._began = self._looked = self._seen = self._clock.monotonic()  # `_seen`: the last look of any kind
        self._state: tuple[tuple[str, int], float] = (("", 0), self._began)
        self._recent = Recent(job.options.window)
        self._rates: dict[tuple[str, int], tuple[Rate, Rate, Rate]] = {}
        place = os.urandom(16) if job.directory is None else str(job.directory.path.resolve()).encode()
        self._id = hashlib.sha256(place).hexdigest()[:32]
        self._look(self._began)

    def tick(self) -> None:
        """A look, when the last one was some time ago."""
        now = self._clock.monotonic()
        with self._lock:
            self._since(now)
            if now - self._looked >= EVERY:
                self._looked = now
                self._look(now)

    def figures(self) -> JobFigures:
        """How the job is now."""
        now = self._clock.monotonic()
        with self._lock:
            found = self._look(now)
            recent = self._recent.figures(now)
        return replace(found, recent=recent)

    def _since(self, now: float) -> tuple[str, float]:
        """The state, and ms since it is the state. An attempt that runs after another one is a state of its own."""
        p = self._job.progress
        state = (p.state, p.attempt)
        if state != self._state[0]:
            self._state = (state, now)
        return p.state, (now - self._state[1]) * 1000

    def _look(self, now: float) -> JobFigures:
        job, p = self._job, self._job.progress
        state, since = self._since(now)
        operators = tuple(self._operators(now))
        known = p.watermark not in (END, NO_WATERMARK)
        found = JobFigures(
            job.name,
            self._id,
            socket.gethostname(),
            VERSION,
            state,
            job.options.parallelism,
            since if state == "RUNNING" else 0.0,
            since if state == "RESTARTING" else 0.0,
            p.attempt - 1,
            sum(o.done.rows_in for o in operators if o.source),
            sum(o.done.sent for o in operators),
            sum(o.done.late for o in operators),
            sum(o.done.skipped for o in operators),
            p.watermark // 1000 if known else None,
            (self._clock.now() - p.watermark) / 1000 if known else None,
            p.state_rows,
            p.state_bytes,
            self._checkpoints(now),
            operators=operators,
        )
        c = found.checkpoints
        counted = {"failed": c.failed, "completed": c.completed, "restarts": found.restarts}
        self._seen = now
        self._recent.add(now, {**counted, "late": found.late_rows, "bad": found.bad_rows}, {"lag": found.lag})
        return found

    def _checkpoints(self, now: float) -> CheckpointFigures:
        job = self._job
        known = job.statistics.now()
        counts, last = known.counts, known.latest(COMPLETED)
        takes = job.directory is not None and job.options.interval > 0
        completed = job.progress.checkpoint_moment
        made = CheckpointFigures(
            counts.total,
            counts.in_progress,
            counts.completed,
            counts.failed,
            restored=known.restored[-1].restore_timestamp if known.restored else -1,
            age=(now - (self._began if completed is None else completed)) * 1000 if takes else None,
        )
        if last is None:
            return made
        took = last.end_to_end_duration or 0
        return replace(
            made,
            last_id=last.id,
            last_completed=last.trigger_timestamp + took,
            last_duration=took,
            last_size=last.checkpointed_size,
            last_full_size=last.state_size,
        )

    def _operators(self, now: float) -> list[OperatorFigures]:
        last = self._job.statistics.now().latest(COMPLETED)
        states = self._job.meters.states
        wall = self._clock.now()
        out = []
        for id_, name, outside, task, counted in self._job.meters.operators():
            done = replace(counted)
            made = OperatorFigures(id_, name, task, done, isinstance(outside, SourceScan), isinstance(outside, Sink))
            rates = self._rates.setdefault((id_, task), (Rate(self._seen), Rate(self._seen), Rate(self._seen)))
            fast = []
            for rate, n in zip(rates, (done.rows_in, made.rows_out, done.seconds * 1000), strict=True):
                rate.add(now, n)
                fast.append(rate.at(now, n))
            mark = done.output_watermark
            since = done.idle_since
            lag = (wall - mark) / 1000 if made.source and mark not in (END, NO_WATERMARK) else None
            state = states[task].get(id_) if task < len(states) else None
            part = _part(last, id_, task)
            out.append(
                replace(
                    made,
                    in_rate=fast[0],
                    out_rate=fast[1],
                    busy=fast[2],
                    lag=lag,
                    idle=None if since is None or not made.source else max(now - since, 0.0) * 1000,
                    state=state,
                    uploaded=None if part is None else part.checkpointed_size,
                    kept=None if part is None else part.state_size,
                )
            )
        return out


def _part(last: CheckpointRecord | None, operator: str, task: int) -> SubtaskStatistics | None:
    """An operator's part of a checkpoint; None where it has none."""
    if last is None or operator not in last.tasks:
        return None
    return next((s for s in last.tasks[operator].subtasks if s.index == task), None)
