"""Time comes from an injected clock, so tests drive it and never sleep."""

from __future__ import annotations

import threading
import time
from typing import Protocol

import numpy as np


class Clock(Protocol):
    """Where a job's times come from: one clock for all of its tasks."""

    def now(self) -> int:
        """Wall-clock time, µs since 1970 UTC; never goes back within a job."""

    def rows(self, split: int, first: int, count: int) -> np.ndarray:
        """PROCTIME of `count` rows of `split` from position `first`: int64 µs, nondecreasing."""

    def monotonic(self) -> float:
        """Seconds, for timeouts and rates."""

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Until the event, at most so long by `monotonic`. Whether it is there."""


class SystemClock:
    """The computer's clock: all rows of a call have the time of the call, wherever they come from."""

    def __init__(self) -> None:
        self._last = 0

    def now(self) -> int:
        """The last answer again when the computer's clock was set back."""
        self._last = max(self._last, time.time_ns() // 1000)
        return self._last

    def rows(self, split: int, first: int, count: int) -> np.ndarray:
        """`now` for each of them."""
        return np.full(count, self.now(), np.int64)

    def monotonic(self) -> float:
        """Seconds since some moment, never set back."""
        return time.monotonic()

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """In real time."""
        return event.wait(seconds)


class PositionClock:
    """A clock that is a function of source position: row n was taken at `start + n * step` µs (tests)."""

    def __init__(self, start: int = 1_700_000_000_000_000, step: int = 1000) -> None:
        self.start, self.step, self._last = start, step, start

    def now(self) -> int:
        """`start`, then the greatest time that a row has had."""
        return self._last

    def rows(self, split: int, first: int, count: int) -> np.ndarray:
        """`start` + position * `step`, whatever the split."""
        out = self.start + np.arange(first, first + count, dtype=np.int64) * self.step
        if count:
            self._last = max(self._last, int(out[-1]))
        return out

    def monotonic(self) -> float:
        """The computer's: timeouts and rates are real."""
        return time.monotonic()

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """In real time."""
        return event.wait(seconds)
