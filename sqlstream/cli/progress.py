"""The progress line of a running job: twice a second on a terminal's standard error, nothing anywhere else.

0:42  1,234,567 rows in (812,000/s)  4,567 out (230/s)  watermark 2015-07-15 00:01:23  next window 00:01:24  …
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlstream.batches import END, NO_WATERMARK
from sqlstream.cli.terminal import Terminal
from sqlstream.plan.nodes import Window, WindowSpec
from sqlstream.runtime.progress import Progress
from sqlstream.session import Session

if TYPE_CHECKING:
    from sqlstream.runtime.graph import JobGraph
    from sqlstream.runtime.job import Job

SECONDS = 0.5
_RUNNING = ("CREATED", "RUNNING")
_EPOCH = datetime(1970, 1, 1)


class ProgressLine:
    """While entered, a thread looks at the session's job and draws the line."""

    def __init__(self, session: Session, terminal: Terminal) -> None:
        self._session = session
        self._terminal = terminal
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._draw, name="progress", daemon=True)

    def __enter__(self) -> ProgressLine:
        if self._terminal.interactive:
            self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()
        self._terminal.progress("")

    def _draw(self) -> None:
        job: Job | None = None
        watch: Watch | None = None
        while not self._over.wait(SECONDS):
            now = self._session.current_job
            if now is not job:
                job, watch = now, None if now is None else Watch(windows(now.graph), time.monotonic())
            if job is not None and watch is not None and job.progress.state in _RUNNING:
                self._terminal.progress(watch.line(job.progress, time.monotonic(), time.time()))


class Watch:
    """Turns what a job tells into a line; keeps the counts of the last look, for the rates."""

    def __init__(self, specs: frozenset[WindowSpec], started: float) -> None:
        self._specs = specs
        self._started = started
        self._last: tuple[float, int, int] | None = None

    def line(self, p: Progress, monotonic: float, wall: float) -> str:
        """The line at the clock's `monotonic` and `wall` seconds."""
        minutes, seconds = divmod(int(monotonic - self._started), 60)
        rates = ("", "")
        if self._last is not None and monotonic > self._last[0]:
            passed = monotonic - self._last[0]
            rates = (_rate((p.rows_in - self._last[1]) / passed), _rate((p.rows_out - self._last[2]) / passed))
        self._last = (monotonic, p.rows_in, p.rows_out)
        parts = [f"{minutes}:{seconds:02d}", f"{p.rows_in:,} rows in{rates[0]}", f"{p.rows_out:,} out{rates[1]}"]
        if p.watermark not in (END, NO_WATERMARK):
            parts.append(f"watermark {instant(p.watermark)}")
            closing = next_close(self._specs, p.watermark)
            if closing is not None:
                parts.append(f"next window {instant(closing)} (in {_span(closing - p.watermark)})")
        parts.append(f"epoch {p.epoch}")
        if p.checkpoint is not None:
            ago = "" if p.checkpoint_time is None else f", {max(wall - p.checkpoint_time, 0):.0f} s ago"
            parts.append(f"checkpoint {p.checkpoint}{ago}")
        if p.late_rows:
            parts.append(f"{p.late_rows:,} late")
        return "  ".join(parts)


def windows(graph: JobGraph) -> frozenset[WindowSpec]:
    """The windows that the operators of a job have."""
    found: set[WindowSpec] = set()
    for node in graph.nodes:
        found.update(_specs(getattr(node, f.name) for f in dataclasses.fields(node) if f.name != "inputs"))
    return frozenset(found)


def _specs(values: Iterable[Any]) -> Iterable[WindowSpec]:
    for value in values:
        if isinstance(value, WindowSpec):
            yield value
        elif isinstance(value, Window):
            yield value.spec
        elif isinstance(value, tuple):
            yield from _specs(value)


def next_close(specs: Iterable[WindowSpec], watermark: int) -> int | None:
    """The next end of a window after the watermark (µs), over windows whose ends the clock knows; None without."""
    ends = []
    for s in specs:
        if s.kind == "SESSION":
            continue  # ends with its rows
        step = s.slide or s.size
        first = s.offset + s.size % step  # ends are at first + k * step
        ends.append(first + ((watermark - first) // step + 1) * step)
    return min(ends, default=None)


def instant(micros: int) -> str:
    """A time as text, to the second unless it has a fraction."""
    try:
        time_ = _EPOCH + timedelta(microseconds=micros)
    except OverflowError:
        return str(micros)
    return time_.isoformat(" ", "milliseconds" if micros % 1_000_000 else "seconds")


def _span(micros: int) -> str:
    seconds = micros / 1e6
    return f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _rate(per_second: float) -> str:
    return f" ({per_second:,.0f}/s)"
