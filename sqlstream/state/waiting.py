"""Rows that a checkpoint takes as they are at its barrier, copied later: copy on write.

At the barrier only marks change hands. Then the rows are copied a few at a time by whoever asks for them, on another
thread; and a row that the epoch is about to write is copied before: when it gets its slot by its key, or when its
operator, which had the slot from an epoch before, says that it writes it (`StateTable.writing`). Why so: decision 035.

Who copies has the table for moments, between calls of it or, where that is not enough, between steps of its operator
(`StateTable.held`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from sqlstream.state.arrays import Array, as_slots
from sqlstream.state.kernel import I64, B, kernel, r, w
from sqlstream.state.marks import Marks
from sqlstream.state.rows import BYTES_A_PIECE, Rows, SlotRows
from sqlstream.threads import lock

SLOTS_AT_ONCE = 1 << 15  # looked at by who copies, until the epoch may have the table: a millisecond or two
FEW_ROWS = 1 << 15  # are joined with others


@kernel(I64, r(I64), w(B), w(I64))
def take_waiting(slots, waiting, out):  # type: ignore[no-untyped-def]
    """The distinct slots that wait, which then do not any more. Those below 0 are skipped. Returns how many."""
    n = 0
    for s in slots:
        if s >= 0 and waiting[s]:
            waiting[s] = False
            out[n] = s
            n += 1
    return n


class Copies:
    """The rows of one checkpoint, copied when they are first asked for. From any thread, one at a time."""

    def __init__(self, waiting: Waiting) -> None:
        self._waiting = waiting
        self._pieces: list[Rows] = []
        self._few: list[Rows] = []
        self._rows = self._bytes = 0  # of those
        self.next = 0  # slots below do not wait

    def __iter__(self) -> Iterator[Rows]:
        # All of them first: what is written meanwhile would be time in which the table is free.
        while self._waiting.copy_some(self):
            pass
        yield from self._pieces

    def add(self, rows: Rows) -> None:
        """Rows that were copied."""
        self._few.append(rows)
        self._rows += len(rows)
        self._bytes += rows.nbytes
        if self._rows >= FEW_ROWS or self._bytes >= BYTES_A_PIECE:
            self.end()

    def end(self) -> None:
        """What was added is to be had."""
        if self._few:
            self._pieces.append(Rows.joined(self._few))
            self._few, self._rows, self._bytes = [], 0, 0


class Turns:
    """A lock whose owner never waits longer than for one who has it already."""

    def __init__(self) -> None:
        self._lock, self._gate = lock(), lock()

    def __enter__(self) -> None:
        with self._gate:
            self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    @contextmanager
    def after_the_owner(self) -> Iterator[None]:
        """For others: only when the owner does not want it."""
        with self._gate:
            pass
        with self._lock:
            yield


class Waiting:
    """Those of a table, for one checkpoint at a time. `turns`: for who works with the table, who is its owner."""

    def __init__(self, rows: SlotRows, marks: Marks) -> None:
        self.turns = Turns()
        self._table, self._marks = rows, marks
        self._copies: Copies | None = None
        self._change = 0

    def __bool__(self) -> bool:
        """Whether there are any. False is certain only on the epoch's thread."""
        return self._copies is not None

    def begin(self, change: int) -> Copies:
        """All that is dirty waits now: it is change `change`."""
        with self.turns:
            self.finish()
            self._marks.turn()
            self._change = change
            self._copies = Copies(self)
            return self._copies

    def save(self, slots: Array) -> None:
        """Copies those of the rows that wait: they may change from now on. Below 0 is no row."""
        if self._copies is None:
            return
        with self.turns:
            if self._copies is None:
                return
            some = np.empty(len(slots), np.int64)
            n = take_waiting(as_slots(slots), self._marks.waiting, some)
            self._copy(self._copies, some[:n])

    def copy_some(self, copies: Copies) -> bool:
        """Copies some of the rows that wait. False: none is left of these."""
        with self.turns.after_the_owner():
            if self._copies is not copies:
                return False
            start, stop = copies.next, copies.next + SLOTS_AT_ONCE
            slots = start + np.flatnonzero(self._marks.waiting[start:stop])
            self._copy(copies, slots)
            self._marks.waiting[slots] = False
            copies.next = stop
            if stop >= len(self._marks.waiting):
                copies.end()
                self._copies = None
            return True

    def finish(self, until: float = math.inf) -> None:
        """Copies all that wait, or those that it can until then (`time.perf_counter`)."""
        with self.turns:
            while self._copies is not None and time.perf_counter() < until:
                self.copy_some(self._copies)

    def _copy(self, copies: Copies, slots: Array) -> None:
        for some in self._table.pieces(slots):
            copies.add(self._table.rows(some))
        self._marks.store(slots, self._change)
