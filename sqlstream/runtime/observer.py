"""A running job, observed from another thread: its progress as a `Status`, with rates, lag and spans."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlstream.batches import END, NO_WATERMARK
from sqlstream.clock import Clock
from sqlstream.distribution import VERSION
from sqlstream.metrics.recent import Recent
from sqlstream.runtime.progress import Progress
from sqlstream.runtime.status import Status
from sqlstream.secrets import redacted

SECONDS = 10.0  # that rates are taken over
LONGEST = 1000  # characters of a message
_EPOCH = datetime(1970, 1, 1)


@dataclass(frozen=True)
class Origin:
    """What does not change while a job runs. `file`: the script's; `log`: where a submitted job writes its log.
    `metrics`: URL of the endpoint for Prometheus. `window`: option metrics.window."""

    job: str
    owner: str = ""
    file: str | None = None
    parallelism: int = 1
    log: str | None = None
    metrics: str | None = None
    window: int = 300_000_000


class Observer:
    """`look` says how the job is now. Spans are by the clock's `monotonic`, so that a machine's clock that is set makes
    neither rates nor ages wrong."""

    def __init__(self, origin: Origin, progress: Progress, clock: Clock) -> None:
        self.origin = origin
        self._progress, self._clock = progress, clock
        self._began = clock.monotonic()
        self._started = iso(time.time())
        # Who asks has a thread of its own. A count that is read first and added last would count as one that began anew.
        self._lock = threading.Lock()
        self._seen: deque[tuple[float, int, int]] = deque()
        self._recent = Recent(origin.window)
        self._recent.add(self._began, self._counted(), {})

    def look(self, socket_path: str = "") -> Status:
        """How the job is now."""
        with self._lock:
            return self._look(socket_path)

    def _look(self, socket_path: str) -> Status:
        p, now = self._progress, self._clock.monotonic()
        rates = self._rates(now, p.rows_in, p.rows_out)
        counted = self._counted()
        self._recent.add(now, counted, {})
        known = p.watermark not in (END, NO_WATERMARK)
        o = self.origin
        return Status(
            o.job,
            p.state,
            o.owner,
            os.getpid(),
            socket.gethostname(),
            VERSION,
            o.file,
            o.parallelism,
            socket_path,
            o.log,
            self._started,
            iso(time.time()),
            round(now - self._began, 3),
            p.attempt,
            p.rows_in,
            p.rows_out,
            *rates,
            instant(p.watermark) if known else None,
            p.held_by,
            round((self._clock.now() - p.watermark) / 1e6, 3) if known else None,
            p.late_rows,
            p.skipped_records,
            p.state_rows,
            p.state_bytes,
            p.checkpoint,
            iso(p.checkpoint_time) if p.checkpoint_time is not None else None,
            None if p.checkpoint_moment is None else round(now - p.checkpoint_moment, 3),
            p.checkpoint_duration,
            p.checkpoint_size,
            p.failed_checkpoints,
            None if p.failure is None else redacted(p.failure)[:LONGEST],
            iso(p.failure_time) if p.failure_time is not None else None,
            max(round(p.backoff_until - time.time(), 3), 0.0) if p.backoff_until is not None else None,
            p.messages[-1][:LONGEST] if p.messages else None,
            o.metrics,
            p.pending_records,
            p.pending_bytes,
            p.reconnects,
            p.attempt - 1,
            self._recent.text,
            *(self._recent.grown(now, name) for name in counted),
        )

    def _counted(self) -> dict[str, int]:
        """What is shown of the last minutes, in the order of a status."""
        p = self._progress
        return {
            "failed": p.failed_checkpoints,
            "restarts": p.attempt - 1,
            "late": p.late_rows,
            "bad": p.skipped_records,
        }

    def _rates(self, now: float, rows_in: int, rows_out: int) -> tuple[float, float]:
        """Over the last seconds, as far as it has run and was looked at in them."""
        if self._progress.state != "RUNNING":
            self._seen.clear()
            return 0.0, 0.0
        self._seen.append((now, rows_in, rows_out))
        while len(self._seen) > 2 and now - self._seen[1][0] >= SECONDS:
            self._seen.popleft()
        then, before_in, before_out = self._seen[0]
        if now <= then:
            return 0.0, 0.0
        passed = now - then
        return round(max(rows_in - before_in, 0) / passed, 1), round(max(rows_out - before_out, 0) / passed, 1)


def iso(seconds: float) -> str:
    """A time of the wall clock, to the millisecond."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def instant(micros: int) -> str:
    """Event time as text, to the second unless it has a fraction."""
    try:
        time_ = _EPOCH + timedelta(microseconds=micros)
    except OverflowError:
        return str(micros)
    return time_.isoformat(" ", "milliseconds" if micros % 1_000_000 else "seconds")
