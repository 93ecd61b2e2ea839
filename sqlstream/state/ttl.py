"""Time to live: rows of a state that nothing has written for so long are gone, as with Flink's StateTtlConfig.

What counts is processing time, when the epoch began; a row is written when it is made or changed, never when it is
read (OnCreateAndWrite), and is not seen any more once its time is over (NeverReturnExpired). Its last write is one more
value column, `WRITTEN`, so that it is in checkpoints and goes where its row goes.

Rows that are over are found without looking at the others: each slot waits in the generation (a 64th of the time to
live) in which it was written when it was put there. When that could be over it is looked at: written later, it goes to
the generation of that; else into a run that is sorted by the time of the write, whose beginning is over with each
epoch. So a row is looked at about once in its time to live, however often it is written, and goes in the first epoch
that begins when its time is over.
"""

from __future__ import annotations

import numpy as np

from sqlstream.state.arrays import Array, as_slots, grown
from sqlstream.state.sets import ascending

GENERATIONS = 64
NEVER = -(2**63)  # the time before anybody said what it is
NONE: Array = np.empty(0, np.int64)
NOWHERE = 2**63 - 1  # the generation of slots that wait in none


def expired(written: Array, now: int, ttl: int) -> Array:
    """Which rows are over at `now`, of those last written at `written` (column `WRITTEN`): bool. Whoever keeps rows
    outside a table's memory asks this when they come back, and when they are cleaned."""
    return np.asarray(written <= now - ttl)


class Expiry:
    """When to look at which slots of a table. Not durable: rebuilt as rows are loaded.

    A slot that is freed stays where it is: whoever takes it over was written later, so it is looked at in time; but for a
    row that came back from the store, which was written when it may be. Then the slot waits in an earlier generation, too.
    """

    def __init__(self, ttl: int, capacity: int) -> None:
        self.ttl = ttl
        self.now = NEVER
        self._grain = max(1, ttl // GENERATIONS)
        self._waits: Array = np.full(capacity, NOWHERE)  # by slot: the first generation in which it waits
        self._generations: dict[int, list[Array]] = {}
        self._least = NOWHERE  # the first of them
        self._due: tuple[Array, Array] = NONE, NONE  # times, ascending, and slots

    def grow(self, capacity: int) -> None:
        """Room for slots below `capacity`."""
        self._waits = grown(self._waits, capacity, NOWHERE)

    def begin(self, now: int) -> None:
        """An epoch begins at `now`, which is the time of all that is written in it. Time does not go back."""
        self.now = max(self.now, now)

    def add(self, slots: Array, written: Array | None = None) -> None:
        """Distinct slots of rows that are new, written now, or at `written`."""
        of = np.full(len(slots), self.now // self._grain) if written is None else written // self._grain
        early = of < self._waits[slots]
        if not early.all():
            slots, of = slots[early], of[early]
        self._spread(slots, of)

    def take(self, written: Array, live: Array) -> Array:
        """The live slots that are over, by when each slot was written. They wait no more: they are to be freed."""
        upto = self.now - self.ttl
        if self.now == NEVER:
            return NONE
        last = upto // self._grain
        if self._least <= last:
            self._turn(last, written, live)
        times, slots = self._due
        n = int(np.searchsorted(times, upto, side="right"))
        if not n:
            return NONE
        self._due = times[n:], slots[n:]
        slots = as_slots(ascending(slots[:n]))
        slots = slots[live[slots]]
        over = expired(written[slots], self.now, self.ttl)
        if not over.all():
            self.add(slots[~over], written[slots[~over]])
        return slots[over]

    def _turn(self, last: int, written: Array, live: Array) -> None:
        """Looks at the slots of generations up to `last`, some of which may be over."""
        pieces: list[Array] = []
        for g in [g for g in self._generations if g <= last]:
            pieces += self._generations.pop(g)
        self._least = min(self._generations, default=NOWHERE)
        slots = ascending(np.concatenate(pieces))
        self._waits[slots[self._waits[slots] <= last]] = NOWHERE
        slots = slots[live[slots]]
        times = written[slots]
        later = times // self._grain > last
        self.add(slots[later], times[later])
        times = np.concatenate([self._due[0], times[~later]])
        slots = np.concatenate([self._due[1], slots[~later]])
        order = np.argsort(times, kind="stable")
        self._due = times[order], slots[order]

    def _spread(self, slots: Array, of: Array) -> None:
        """Puts each slot into its generation."""
        if not len(slots):
            return
        self._waits[slots] = of
        if (of == of[0]).all():
            self._put(int(of[0]), slots)
            return
        order = np.argsort(of, kind="stable")
        of, slots = of[order], slots[order]
        bounds = [0, *(np.flatnonzero(np.diff(of)) + 1).tolist(), len(of)]
        for start, stop in zip(bounds, bounds[1:], strict=False):
            self._put(int(of[start]), slots[start:stop])

    def _put(self, generation: int, slots: Array) -> None:
        """Runs of slots, of which the later are the shorter: an epoch of few rows adds one."""
        runs = self._generations.setdefault(generation, [])
        runs.append(slots)
        while len(runs) > 1 and 2 * len(runs[-1]) > len(runs[-2]):
            runs[-2:] = [np.concatenate(runs[-2:])]
        self._least = min(self._least, generation)
