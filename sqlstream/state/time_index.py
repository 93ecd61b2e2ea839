"""Slots by a time: which rows are due."""

from __future__ import annotations

import numpy as np

from sqlstream.state.arrays import Array
from sqlstream.state.sets import ascending

EMPTY: Array = np.empty(0, np.int64)


class TimeIndex:
    """Slots by a time, to find those whose time has come. Not durable: rebuilt from the rows in `open()`.

    Sorted runs that merge when they are many. A slot that was freed some other way is still reported: the caller
    checks. `least` is the least time in it.
    """

    def __init__(self) -> None:
        self._runs: list[tuple[Array, Array]] = []

    def add(self, times: Array, slots: Array) -> None:
        """More slots with their times; a slot may be in it several times."""
        if not len(times):
            return
        order = np.argsort(times, kind="stable")
        self._runs.append((times[order], slots[order]))
        while len(self._runs) > 1 and 2 * len(self._runs[-1][0]) > len(self._runs[-2][0]):
            (a, s), (b, t) = self._runs[-2:]
            times, slots = np.concatenate([a, b]), np.concatenate([s, t])
            order = np.argsort(times, kind="stable")
            self._runs[-2:] = [(times[order], slots[order])]

    @property
    def least(self) -> int | None:
        """None when there is none in it."""
        return min((int(t[0]) for t, _ in self._runs), default=None)

    def take(self, upto: int) -> Array:
        """Remove and return (distinct) slots with time <= upto."""
        found, rest = [], []
        for times, slots in self._runs:
            n = int(np.searchsorted(times, upto, side="right"))
            if n:
                found.append(slots[:n])
            if n < len(times):
                rest.append((times[n:], slots[n:]))
        self._runs = rest
        return ascending(np.concatenate(found)) if found else EMPTY
