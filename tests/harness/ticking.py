"""A clock by which a job measures its state after each epoch."""

from __future__ import annotations

from sqlstream.clock import SystemClock


class Ticking(SystemClock):
    """State is measured once a second: each look at this clock takes one."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds = 0.0

    def monotonic(self) -> float:
        self.seconds += 1
        return self.seconds
