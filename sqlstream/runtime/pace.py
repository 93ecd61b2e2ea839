"""How large epochs are, and when they begin: one rule for a job that catches up and one that has caught up.

An epoch takes what its sources have, up to ROWS. What it leaves makes a backlog, and the next epoch begins at once:
epochs grow with the backlog, until operators' fixed costs do not show. When nothing is left, the next one begins
PERIOD after it began: a row waits no longer than that and the work on those before it, and few rows do not
cost an epoch each. When nothing comes, the sources are looked at every PERIOD, and an epoch without rows is run every
IDLE, for timers and watermarks.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

ROWS = 262_144
READING = 1.0  # seconds that an epoch reads at most, for sources slower than their operators
PERIOD = 0.005
IDLE = 0.1


@dataclass(frozen=True)
class Pace:
    """`max_rows`: instead of ROWS. `random`: random sizes below it (tests)."""

    max_rows: int | None = None
    random: random.Random | None = None

    def rows(self) -> int:
        """How many rows the next epoch may take."""
        if self.random is not None:
            kind = self.random.random()
            if kind < 0.2:
                return 1
            most = self.max_rows or 5000
            return self.random.randint(1, min(most, 50) if kind < 0.5 else most)
        return self.max_rows or ROWS
