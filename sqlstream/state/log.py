"""Slots for rows that are appended and never looked up by key: no hash table, the key columns kept as they came."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from sqlstream.errors import InternalError
from sqlstream.state.arrays import Array
from sqlstream.state.columns import Column, DenseColumn, NumberColumn, column, run_of
from sqlstream.state.index import SlotTable
from sqlstream.state.keys import key_groups
from sqlstream.state.meta import FREE, NEXT, SIZE


class LogIndex:
    """Stands where a `HashIndex` does; `append`, no `upsert` and no `find`. The last key column numbers the rows."""

    def __init__(self, key_types: list[pa.DataType]) -> None:
        self.index = SlotTable()
        n = self.index.capacity
        self.columns: list[Column] = [*(column(t, n, log=True) for t in key_types[:-1]), NumberColumn(n)]

    def append(self, arrays: list[pa.Array], n: int) -> Array:
        """A slot for each of n rows: freed ones first, then the next ones."""
        slots, index = np.empty(n, np.int64), self.index
        free = int(index.meta[FREE])
        again = min(free, n)
        slots[:again] = index.free[free - again : free][::-1]
        first = index.used
        end = first + n - again
        if end > index.capacity:
            index.grow_slots(max(end, 2 * index.capacity))
            for c in self.columns:
                c.grow(index.capacity)
        slots[again:] = np.arange(first, end)
        index.meta[FREE] -= again
        index.meta[NEXT] = end
        index.meta[SIZE] += n
        run = run_of(slots)
        index.live[run] = True
        for c, a in zip(self.columns, arrays, strict=True):
            c.set(run, a)
        return slots

    def upsert(self, arrays: list[pa.Array], n: int) -> tuple[Array, Array]:
        """There is none."""
        raise InternalError("rows of a log are appended")

    def find(self, arrays: list[pa.Array], n: int) -> Array:
        """There is none."""
        raise InternalError("rows of a log cannot be looked up")

    def delete(self, slots: Array) -> None:
        """Frees live, distinct slots."""
        index, n = self.index, len(slots)
        free = int(index.meta[FREE])
        index.free[free : free + n] = slots
        index.meta[FREE] += n
        index.meta[SIZE] -= n
        index.live[slots] = False
        for c in self.columns:
            c.clear(slots)

    def keys(self, slots: Array) -> list[pa.Array]:
        """The key columns at slots, as they came."""
        run = run_of(slots)
        return [c.get(run) for c in self.columns]

    def words(self, column: int, run: slice) -> Array:
        """A key column of fixed width, as it lies there: not to be kept."""
        c = self.columns[column]
        assert isinstance(c, DenseColumn)
        return c.data[run]

    def bytes_of(self, slots: Array) -> int:
        """About how many bytes the keys take in Arrow arrays."""
        return sum(c.bytes_of(slots) for c in self.columns)

    def key_groups(self, slots: Array, placing: tuple[int, ...]) -> Array:
        """Key group by the key columns `placing`, in that order."""
        return key_groups([self.columns[j].get(slots) for j in placing], len(slots))
