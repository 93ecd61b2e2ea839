"""Rows by key, for joins: which row slots belong to a key slot. In memory only; rebuilt from rows on restore.

Chains are doubly linked through arrays indexed by row slot, so adding and removing is O(1) a row, and a probe
is expanded in bulk. Within a key rows keep the order in which they were added.
"""

from __future__ import annotations

import numpy as np

from sqlstream.state import kernels
from sqlstream.state.arrays import Array, as_slots, grown


class MultiMap:
    def __init__(self) -> None:
        self._head, self._tail, self._count = (np.zeros(256, np.int64) for _ in range(3))
        self._next, self._before = (np.zeros(256, np.int64) for _ in range(2))
        self._owner: Array = np.full(256, -1, np.int64)
        self.size = 0

    def __len__(self) -> int:
        return self.size

    def add(self, key_slots: Array, row_slots: Array) -> None:
        """Row i belongs to key i from now on. A row that belongs to a key already is left there."""
        keys, rows = as_slots(key_slots), as_slots(row_slots)
        if not len(rows):
            return
        self._grow(int(keys.max()), int(rows.max()))
        self.size += kernels.chain_add(
            keys, rows, self._head, self._tail, self._count, self._next, self._before, self._owner
        )

    def remove(self, key_slots: Array, row_slots: Array) -> None:
        """Takes rows away from their keys; rows that belong to none are skipped."""
        rows = as_slots(row_slots)
        self.size -= kernels.chain_remove(
            rows, self._head, self._tail, self._count, self._next, self._before, self._owner
        )

    def probe(self, key_slots: Array) -> tuple[Array, Array]:
        """All pairs (index into key_slots, row slot), in the order of key_slots. Slot -1 has no rows."""
        keys = as_slots(key_slots)
        n = kernels.chain_count(keys, self._count)
        index, rows = np.empty(n, np.int64), np.empty(n, np.int64)
        kernels.chain_fill(keys, self._head, self._count, self._next, index, rows)
        return index, rows

    def counts(self, key_slots: Array) -> Array:
        """How many rows each key has. Slot -1 has none."""
        keys = as_slots(key_slots)
        known = (keys >= 0) & (keys < len(self._count))
        out = np.zeros(len(keys), np.int64)
        out[known] = self._count[keys[known]]
        return out

    def _grow(self, key: int, row: int) -> None:
        if key >= len(self._head):
            n = max(key + 1, 2 * len(self._head))
            self._head, self._tail, self._count = (grown(a, n) for a in (self._head, self._tail, self._count))
        if row >= len(self._owner):
            n = max(row + 1, 2 * len(self._owner))
            self._next, self._before = grown(self._next, n), grown(self._before, n)
            self._owner = grown(self._owner, n, -1)
