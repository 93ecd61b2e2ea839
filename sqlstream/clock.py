"""Time comes from an injected clock, so tests drive it and never sleep."""

from __future__ import annotations

import time
from typing import Protocol

import numpy as np


class Clock(Protocol):
    def now(self) -> int:
        """Wall-clock time, µs since 1970 UTC; never goes back within a job."""

    def rows(self, split: int, first: int, count: int) -> np.ndarray:
        """PROCTIME of `count` rows of `split` from position `first`: int64 µs, nondecreasing."""

    def monotonic(self) -> float:
        """Seconds, for timeouts and rates."""


class SystemClock:
    def __init__(self) -> None:
        self._last = 0

    def now(self) -> int:
        self._last = max(self._last, time.time_ns() // 1000)
        return self._last

    def rows(self, split: int, first: int, count: int) -> np.ndarray:
        return np.full(count, self.now(), np.int64)

    def monotonic(self) -> float:
        return time.monotonic()


class PositionClock:
    """A clock that is a function of source position: row n was taken at `start + n * step` µs (tests)."""

    def __init__(self, start: int = 1_700_000_000_000_000, step: int = 1000) -> None:
        self.start, self.step, self._last = start, step, start

    def now(self) -> int:
        return self._last

    def rows(self, split: int, first: int, count: int) -> np.ndarray:
        out = self.start + np.arange(first, first + count, dtype=np.int64) * self.step
        if count:
            self._last = max(self._last, int(out[-1]))
        return out

    def monotonic(self) -> float:
        return time.monotonic()
