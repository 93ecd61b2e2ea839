"""List state: a list a key. An element is a row, so that adding one reads none."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sqlstream.errors import DataError
from sqlstream.keyed_state.current import AT_ONCE, CurrentKey, Reads
from sqlstream.keyed_state.descriptors import VALUE
from sqlstream.keyed_state.prefixes import Prefixes
from sqlstream.keyed_state.values import checked, given, own
from sqlstream.python_values import python_values
from sqlstream.state.arrays import Array, fixed, plain
from sqlstream.state.table import StateTable
from sqlstream.types import Type


class ListTable:
    """Lists of many keys at once. Keys are columns of n rows."""

    def __init__(self, table: StateTable) -> None:
        self._table = table
        slots = table.slots()
        at = fixed(table.keys(slots)[-1])
        order = np.argsort(at, kind="stable")
        self._next = int(at.max()) + 1 if len(at) else 0
        self._rows = Prefixes(table, len(table.spec.key) - 1, slots[order])

    def append(self, keys: list[pa.Array], values: pa.Array) -> None:
        """Adds value i to the list of key i."""
        n = len(values)
        at = pa.array(np.arange(self._next, self._next + n))
        self._next += n
        slots = self._table.append([*keys, at], n)
        self._table.put(slots, [values])
        self._rows.add(keys, slots)

    def lists(self, keys: list[pa.Array], n: int) -> pa.ListArray:
        """The list of each of n keys; empty where there is none."""
        owner, slots = self._rows.probe(keys, n)
        offsets = np.zeros(n + 1, np.int32)
        np.cumsum(np.bincount(owner, minlength=n), out=offsets[1:])
        return pa.ListArray.from_arrays(pa.array(offsets), self._table.column(VALUE).get(slots))

    def counts(self, keys: list[pa.Array], n: int) -> Array:
        """How long the list of each of n keys is."""
        return self._rows.counts(keys, n)

    def update(self, keys: list[pa.Array], lists: pa.ListArray) -> None:
        """Puts a list in place of what each key has; no key may be there twice. NULL is an empty one."""
        self.clear(keys, len(lists))
        lists = plain(lists)
        values = lists.flatten()
        if len(values):
            owner = pc.list_parent_indices(lists)
            self.append([k.take(owner) for k in keys], values)

    def clear(self, keys: list[pa.Array], n: int) -> None:
        """Empty lists."""
        self._rows.delete(self._rows.probe(keys, n)[1])

    def expire(self) -> None:
        """Deletes the elements that live no more."""
        self._rows.delete(self._table.expired())


class ListState:
    """The list of the key at hand."""

    def __init__(self, name: str, t: Type, table: ListTable, key: CurrentKey) -> None:
        self._name, self._type, self._table, self._key = name, t, table, key
        self._stored: dict[int, list[Any]] = {}  # of keys whose list was asked for, and more
        self._reads: Reads | None = None
        self._cleared: set[int] = set()
        self._added: dict[int, list[Any]] = {}

    def get(self) -> list[Any]:
        """Its elements in the order in which they were added: a list of its own, empty when there are none."""
        at = self._key.at
        stored = [] if at in self._cleared else self._read(at)
        return own([*stored, *self._added.get(at, ())], self._type)

    def add(self, value: Any) -> None:
        """One more element, which cannot be None."""
        if value is None:
            raise DataError(f"state {self._name}: None cannot be added to a list")
        self._added.setdefault(self._key.at, []).append(given(self._name, value, self._type))

    def add_all(self, values: Iterable[Any]) -> None:
        """More elements."""
        for v in values:
            self.add(v)

    def update(self, values: Iterable[Any]) -> None:
        """These elements in place of what there is."""
        values = list(values)
        self.clear()
        self.add_all(values)

    def clear(self) -> None:
        """An empty list."""
        self._cleared.add(self._key.at)
        self._added.pop(self._key.at, None)

    def _read(self, at: int) -> list[Any]:
        """What is stored of a key."""
        if self._reads is None:
            self._reads = Reads(self._table.counts(self._key.columns, self._key.count).tolist())
        if not self._reads.counts[at]:
            return []
        if at not in self._stored:
            numbers = [at, *(i for i in self._reads.ahead(AT_ONCE) if i != at)]
            lists = self._table.lists(self._key.take(numbers), len(numbers))
            values, offsets = python_values(lists.flatten(), self._type), lists.offsets.to_pylist()
            for i, number in enumerate(numbers):
                self._stored[number] = values[offsets[i] : offsets[i + 1]]
        return self._stored[at]

    def flush(self) -> None:
        """Writes what changed; the keys at hand may be others then."""
        if self._cleared:
            at = sorted(self._cleared)
            self._table.clear(self._key.take(at), len(at))
        if self._added:
            owner = np.repeat(list(self._added), [len(v) for v in self._added.values()])
            values = checked(self._name, [v for values in self._added.values() for v in values], self._type)
            self._table.append(self._key.take(owner), values)
        self._reads = None
        self._stored.clear()
        self._cleared.clear()
        self._added.clear()
