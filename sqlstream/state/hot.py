"""Rows of a table that are in memory, where others lie in its shard's store (`cold.py`): who leaves, and when."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from sqlstream.state.arrays import Array, fixed, grown
from sqlstream.state.cold import ColdRows, Fetched
from sqlstream.state.marks import Marks
from sqlstream.state.memory import MEMORY
from sqlstream.state.rows import SlotRows
from sqlstream.state.ttl import NEVER, Expiry, expired


class HotRows:
    """`most`: rows that may stay in memory; None: as many as it has room for."""

    def __init__(self, rows: SlotRows, marks: Marks, expiry: Expiry | None, cold: ColdRows, most: int | None) -> None:
        self.cold = cold
        self._rows, self._marks, self._expiry, self._most = rows, marks, expiry, most
        self._used: Array = np.zeros(0, np.int32)  # by slot, once memory is short: the epoch of its last use
        self._epoch = 0
        self._size_before = self._growth = 0  # rows when `pressed` was asked last; by how many an epoch grows it
        marks.number()

    def grow(self, capacity: int) -> None:
        """Room for slots below `capacity`."""
        if self._used.size:
            self._used = grown(self._used, capacity)

    def use(self, slots: Array) -> None:
        """These rows are used in this epoch."""
        if self._used.size:
            self._used[slots] = self._epoch

    def fetch(self, keys: list[pa.Array], n: int) -> Fetched:
        """Of n keys that are not in memory the rows that lie in the store. What is over there is not seen."""
        found = self.cold.fetch(keys, n)
        if self._expiry is None or not len(found.at):
            return found
        return found.where(~expired(fixed(found.values[-1]), self._expiry.now, self._expiry.ttl))

    def pressed(self) -> bool:
        """See `StateTable.pressed`."""
        size = self._rows.index.index.size
        if self._most is not None:
            return size > self._most
        self._growth = max(size - self._size_before, self._growth // 8 * 7)
        self._size_before = size
        if MEMORY.used > MEMORY.limit // 2:  # who was used last will be asked soon
            self._watch()
        return self._room() < max(2 * self._growth, self._rows.capacity // 4) and not MEMORY.has_room(
            self._bytes_to_grow()
        )

    def full(self) -> bool:
        """See `StateTable.full`."""
        return self._most is not None or self._room() < self._growth + self._growth // 8

    def leave(self, folded: int, share: float) -> int:
        """See `StateTable.leave`."""
        self._watch()
        self._epoch += 1
        size = self._rows.index.index.size
        wanted = size - (int(self._rows.capacity * share) if self._most is None else self._most)
        if wanted <= 0 or not self.cold.may_leave(folded):
            return 0
        slots = self._marks.unchanged(self._rows.live(), folded)
        if wanted < len(slots):
            age = self._used[slots]
            slots = slots[np.argpartition(age, wanted)[:wanted]]
        for some in self._rows.pieces(slots):
            self.cold.leave(self._rows.keys(some), len(some), NEVER if self._expiry is None else self._expiry.now)
            self._marks.free(some)
            self._rows.free(some)
        self._size_before = self._rows.index.index.size
        return len(slots)

    def _watch(self) -> None:
        if self._used.size == 0:
            self._used = grown(self._used, self._rows.capacity)

    def _room(self) -> int:
        """Rows that fit until something has to grow."""
        index = self._rows.index.index
        return min(self._rows.capacity, len(index.table) // 8 * 5) - index.size

    def _bytes_to_grow(self) -> int:
        """Bytes that twice the slots would take in addition."""
        index = self._rows.index.index
        a_slot = 32 + 8 * len(self._rows.columns) + 16 * len(self._rows.types)
        return self._rows.capacity * a_slot + (index.table.nbytes if index.size > len(index.table) // 2 else 0)
