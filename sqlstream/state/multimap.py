"""Rows by key, for joins: which row slots belong to a key slot. In memory only; rebuilt from rows on restore.

Chains are doubly linked through arrays indexed by row slot, so adding and removing is O(1) a row, and a probe
is expanded in bulk. Within a key rows keep the order in which they were added.
"""

from __future__ import annotations

import numpy as np

from sqlstream.errors import RunError
from sqlstream.state import chain_kernels
from sqlstream.state.arrays import INT32_MAX, Array, as_slots, grown


class MultiMap:
    """`removes` False: rows stay for ever, which takes a third of the memory."""

    def __init__(self, removes: bool = True) -> None:
        self._removes = removes
        self._chains: Array = np.zeros((256, 4), np.int32)
        self._links: Array = np.full((256, 3 if removes else 1), -1, np.int32)
        self.size = 0

    def __len__(self) -> int:
        return self.size

    def add(self, key_slots: Array, row_slots: Array) -> None:
        """Row i belongs to key i from now on. A row that belongs to a key already is left there (if `removes`)."""
        keys, rows = as_slots(key_slots), as_slots(row_slots)
        if not len(rows):
            return
        self._grow(int(keys.max()), int(rows.max()))
        self.size += chain_kernels.chain_add(keys, rows, self._chains, self._links)

    def remove(self, key_slots: Array, row_slots: Array) -> None:
        """Takes rows away from their keys; rows that belong to none are skipped."""
        self.size -= chain_kernels.chain_remove(as_slots(row_slots), self._chains, self._links)

    def probe(self, key_slots: Array) -> tuple[Array, Array]:
        """All pairs (index into key_slots, row slot), in the order of key_slots. Slot -1 has no rows."""
        keys, counts = as_slots(key_slots), self.counts(key_slots)
        n = int(counts.sum())
        index, rows = np.empty(n, np.int64), np.empty(n, np.int64)
        chain_kernels.chain_fill(keys, counts, self._chains, self._links, index, rows)
        return index, rows

    def counts(self, key_slots: Array) -> Array:
        """How many rows each key has. Slot -1 has none."""
        keys = as_slots(key_slots)
        out = np.empty(len(keys), np.int64)
        chain_kernels.chain_counts(keys, self._chains, out)
        return out

    def _grow(self, key: int, row: int) -> None:
        if max(key, row) > INT32_MAX:
            raise RunError(
                f"more than {INT32_MAX:,} rows by key in one task", hint="raise parallelism.default to spread them"
            )
        if key >= len(self._chains):
            self._chains = grown(self._chains, max(key + 1, 2 * len(self._chains)))
        if row >= len(self._links):
            self._links = grown(self._links, max(row + 1, 2 * len(self._links)), -1 if self._removes else 0)
