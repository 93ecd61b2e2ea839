"""The progress of a running job: a line that is drawn anew twice a second on a terminal, and now and then a line in a
log, when standard error is none.

0:42  1,234,567 rows in (812,000/s)  4,567 out (230/s)  watermark 2015-07-15 00:01:23  next window 00:01:24  …
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlstream.batches import END, NO_WATERMARK
from sqlstream.cli.of_jobs import span
from sqlstream.cli.terminal import Terminal
from sqlstream.plan.nodes import Window, WindowSpec
from sqlstream.runtime.observer import instant
from sqlstream.runtime.progress import Progress
from sqlstream.session import Session

if TYPE_CHECKING:
    from sqlstream.runtime.graph import JobGraph
    from sqlstream.runtime.job import Job

SECONDS = 0.5
FIRST, THEN = 10.0, 60.0  # seconds between the lines of a log: in the first minute, and after it
_RUNNING = ("CREATED", "RUNNING", "RESTARTING")


class ProgressLine:
    """While entered, a thread looks at the session's job and tells of it.

    `every`: seconds between lines of a log, instead of the usual ones; 0: nothing is told, on a terminal neither.
    """

    def __init__(self, session: Session, terminal: Terminal, every: float | None = None) -> None:
        self._session = session
        self._terminal = terminal
        self._every = every
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._draw, name="progress", daemon=True)

    def __enter__(self) -> ProgressLine:
        if self._every != 0:
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
        interactive = self._terminal.interactive
        started = due = 0.0
        while not self._over.wait(SECONDS if interactive else min(SECONDS, self._every or SECONDS)):
            now = self._session.current_job
            if now is not job:
                started = time.monotonic()
                due = next_line(0.0, self._every)
                job, watch = now, None if now is None else Watch(windows(now.graph), started)
            if job is None or watch is None or job.progress.state not in _RUNNING:
                continue
            if interactive:
                width = self._terminal.width() - 1
                self._terminal.progress(watch.line(job.progress, time.monotonic(), time.time(), width))
            elif (passed := time.monotonic() - started) >= due:
                due = next_line(passed, self._every)
                stamp = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%SZ")
                self._terminal.say(f"{stamp}  {job.name}  {watch.line(job.progress, time.monotonic(), time.time())}")


def next_line(passed: float, every: float | None) -> float:
    """Seconds of a job's run after which the next line of a log is due, when `passed` are over."""
    step = every or (FIRST if passed < THEN else THEN)
    return (passed // step + 1) * step


class Watch:
    """Turns what a job tells into a line; keeps the counts of the last look, for the rates."""

    def __init__(self, specs: frozenset[WindowSpec], started: float) -> None:
        self._specs = specs
        self._started = started
        self._last: tuple[float, int, int] | None = None

    def line(self, p: Progress, monotonic: float, wall: float, width: int | None = None) -> str:
        """The line at the clock's `monotonic` and `wall` seconds. What it can do without goes until it fits `width`."""
        minutes, seconds = divmod(int(monotonic - self._started), 60)
        rates = ("", "")
        if self._last is not None and monotonic > self._last[0]:
            passed = monotonic - self._last[0]
            rates = (_rate((p.rows_in - self._last[1]) / passed), _rate((p.rows_out - self._last[2]) / passed))
        self._last = (monotonic, p.rows_in, p.rows_out)
        # (when it may go: the highest first, text)
        parts = [
            (0, "" if p.state in ("CREATED", "RUNNING") else f"{p.state}  "),
            (0, f"{minutes}:{seconds:02d}"),
            (0, f"  {p.rows_in:,} rows in"),
            (4, rates[0]),
            (0, f"  {p.rows_out:,} out"),
            (3, rates[1]),
        ]
        if p.watermark not in (END, NO_WATERMARK):
            parts.append((1, f"  watermark {instant(p.watermark)}"))
            if p.held_by is not None:
                parts.append((5, f" (held by {p.held_by})"))
            parts.append((7, f"  lag {span(wall - p.watermark / 1e6)}"))
            closing = next_close(self._specs, p.watermark)
            if closing is not None:
                parts.append((6, f"  next window {instant(closing)} (in {_span(closing - p.watermark)})"))
        parts.append((5, f"  epoch {p.epoch}"))
        if p.checkpoint is not None:
            parts.append((0, f"  checkpoint {p.checkpoint}"))
            if p.checkpoint_time is not None:
                parts.append((2, f", {max(wall - p.checkpoint_time, 0):.0f} s ago"))
        if p.failed_checkpoints:
            parts.append((0, f"  {p.failed_checkpoints:,} failed"))
        if p.late_rows:
            parts.append((0, f"  {p.late_rows:,} late"))
        if p.skipped_records:
            parts.append((0, f"  {p.skipped_records:,} bad"))
        if p.backoff_until is not None:
            parts.append((0, f"  attempt {p.attempt + 1} in {max(p.backoff_until - wall, 0):.0f} s"))
        elif p.attempt > 1:
            parts.append((4, f"  attempt {p.attempt}"))
        for dispensable in range(7, 0, -1):
            if width is None or sum(len(text) for _, text in parts) <= width:
                break
            parts = [part for part in parts if part[0] != dispensable]
        return "".join(text for _, text in parts)


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


def _span(micros: int) -> str:
    seconds = micros / 1e6
    return f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _rate(per_second: float) -> str:
    return f" ({per_second:,.0f}/s)"
