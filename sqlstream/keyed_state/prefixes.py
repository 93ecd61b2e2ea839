"""Rows by the key that theirs begins with: the elements of a list, the entries of a map, the timers of a key."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from sqlstream.state.arrays import Array
from sqlstream.state.index import HashIndex
from sqlstream.state.multimap import MultiMap
from sqlstream.state.table import StateTable


class Prefixes:
    """In memory, made anew from the table, whose keys begin with columns of `types`. In a key rows keep the order in
    which they were added; `order` gives that of the rows that are there."""

    def __init__(self, table: StateTable, width: int, order: Array) -> None:
        self._table, self._width = table, width
        self._index = HashIndex(list(table.spec.key.types)[:width])
        self._chains = MultiMap()
        if len(order):
            self.add(table.keys(order)[:width], order)

    def add(self, keys: list[pa.Array], slots: Array) -> None:
        """New rows, by the columns that their keys begin with."""
        owners, _ = self._index.upsert(keys, len(slots))
        self._chains.add(owners, slots)

    def probe(self, keys: list[pa.Array], n: int) -> tuple[Array, Array]:
        """All pairs (which of n keys, slot), by key."""
        return self._chains.probe(self._index.find(keys, n))

    def counts(self, keys: list[pa.Array], n: int) -> Array:
        """How many rows each of n keys has."""
        return self._chains.counts(self._index.find(keys, n))

    def delete(self, slots: Array) -> None:
        """Takes live rows out of the table, and keys that have none any more out of here."""
        if not len(slots):
            return
        owners = np.unique(self._index.find(self._table.keys(slots)[: self._width], len(slots)))
        self._chains.remove(slots, slots)
        self._index.delete(owners[self._chains.counts(owners) == 0])
        self._table.delete(slots)
