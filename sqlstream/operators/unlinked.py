"""Rows of an append-only side of a join that are not in the index by join key yet, and may never have to be.

A side is in the index so that the other side's rows find theirs. Putting a row there costs LINK nanoseconds and some 40
bytes; looking whether it has one of a few keys costs one or a few. So while the other side brings few rows an epoch (a
stream joined with a table that seldom changes, or with its own maximum a window), rows are looked through. What was
spent on each is counted: a row that has cost as much as the index would is put there. So all in all it costs about
twice what would have been best, at most.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from sqlstream.operators.pairs import pieces
from sqlstream.operators.row_store import RowStore
from sqlstream.state.arrays import Array

FEW = 64  # rows of the other side in an epoch, up to which rows are looked through
LINK, LOOK, SEARCH = 200.0, 1.0, 12.0  # ns: into the index; between the least and the greatest key? which of them?
CALL = 15_000.0  # ns that a run costs to look at, however few its rows
BLOCK = 1 << 18  # rows looked through at a time


@dataclass
class Run:
    """Slots start..stop - 1. `spent`: ns for each."""

    start: int
    stop: int
    spent: float = 0.0


class Unlinked:
    """For one join key that is a number or a time and not NULL, in a log that nothing is deleted from."""

    def __init__(self, store: RowStore) -> None:
        self._store = store
        self._runs: list[Run] = []

    def __bool__(self) -> bool:
        return bool(self._runs)

    def add(self, slots: Array) -> None:
        """Slots that follow one another, and those before."""
        if not len(slots):
            return
        start, stop = int(slots[0]), int(slots[-1]) + 1
        if self._runs and self._runs[-1].stop == start and not self._runs[-1].spent:
            self._runs[-1].stop = stop
        else:
            self._runs.append(Run(start, stop))

    def due(self, every: bool) -> Iterator[Array]:
        """The slots that are to be put into the index; they are not kept here any more."""
        due = [run for run in self._runs if every or run.spent >= LINK]
        if due:
            self._runs = [] if every else [run for run in self._runs if run.spent < LINK]
        for run in due:
            for start in range(run.start, run.stop, BLOCK):
                yield np.arange(start, min(start + BLOCK, run.stop))

    def find(self, keys: Array) -> Iterator[tuple[Array, Array]]:
        """All pairs (index into keys, slot) with equal keys, in pieces."""
        order = np.argsort(keys, kind="stable")
        ordered = keys[order]
        for run in self._runs:
            run.spent += CALL / (run.stop - run.start)
            for start in range(run.start, run.stop, BLOCK):
                words = self._store.key_words(slice(start, min(start + BLOCK, run.stop)))
                within = np.flatnonzero((words >= ordered[0]) & (words <= ordered[-1]))
                run.spent += (LOOK * len(words) + SEARCH * len(within)) / (run.stop - run.start)
                found = words[within]
                first = np.searchsorted(ordered, found)
                count = np.searchsorted(ordered, found, side="right") - first
                for piece in pieces(count):
                    n = count[piece]
                    of_key = np.arange(int(n.sum())) - np.repeat(np.cumsum(n) - n, n)
                    yield order[np.repeat(first[piece], n) + of_key], start + np.repeat(within[piece], n)
