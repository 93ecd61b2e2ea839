"""Map state: a map a key. An entry is a row, found by key and map key together.

The entries of a key come in the order in which their map keys were first put, as in Python's dicts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from sqlstream.keyed_state.current import CurrentKey, Reads
from sqlstream.keyed_state.descriptors import AT, VALUE
from sqlstream.keyed_state.prefixes import Prefixes
from sqlstream.keyed_state.values import checked, given, own, taken
from sqlstream.python_values import python_values
from sqlstream.state.arrays import Array
from sqlstream.state.table import StateTable
from sqlstream.types import Type

FEW = 256  # entries of a key that are read all at once when one is asked for


class MapTable:
    """Entries of many keys at once. Keys are columns of n rows, `entries` is a column of map keys."""

    def __init__(self, table: StateTable) -> None:
        self._table = table
        slots = table.slots()
        at = table.fixed(AT).data[slots]
        self._next = int(at.max()) + 1 if len(at) else 0
        self._rows = Prefixes(table, len(table.spec.key) - 1, slots[np.argsort(at, kind="stable")])

    def get(self, keys: list[pa.Array], entries: pa.Array) -> pa.Array:
        """The value of each map key; NULL where there is none."""
        return taken(self._table.column(VALUE), self._table.find([*keys, entries]))

    def contains(self, keys: list[pa.Array], entries: pa.Array) -> Array:
        """Whether there is an entry, a bool a row."""
        there: Array = self._table.find([*keys, entries]) >= 0
        return there

    def put(self, keys: list[pa.Array], entries: pa.Array, values: pa.Array) -> None:
        """Sets entries; of one that is there several times the last holds."""
        slots, fresh = self._table.upsert([*keys, entries])
        self._table.column(VALUE).set(slots, values)
        new = slots[fresh]
        order = self._table.fixed(AT)
        order.data[new] = np.arange(self._next, self._next + len(new))
        order.valid[new] = True
        self._next += len(new)
        self._table.touch(slots)
        first = pa.array(fresh)
        self._rows.add([k.filter(first) for k in keys], new)

    def remove(self, keys: list[pa.Array], entries: pa.Array) -> None:
        """Takes entries out, those that are there."""
        slots = self._table.find([*keys, entries])
        self._rows.delete(np.unique(slots[slots >= 0]))

    def entries(self, keys: list[pa.Array], n: int) -> tuple[Array, pa.Array, pa.Array]:
        """All entries of n keys, by key: which key, map key, value."""
        owner, slots = self._rows.probe(keys, n)
        return owner, self._table.keys(slots)[-1], self._table.column(VALUE).get(slots)

    def counts(self, keys: list[pa.Array], n: int) -> Array:
        """How many entries each of n keys has."""
        return self._rows.counts(keys, n)

    def clear(self, keys: list[pa.Array], n: int) -> None:
        """Empty maps."""
        self._rows.delete(self._rows.probe(keys, n)[1])

    def expire(self) -> None:
        """Deletes the entries that live no more."""
        self._rows.delete(self._table.expired())


@dataclass
class _Map:
    """One key's entries: what is stored of them as far as it is known (all of it: `whole`), and what changed."""

    stored: dict[Any, Any] = field(default_factory=dict)
    absent: set[Any] = field(default_factory=set)  # asked for, and not stored
    whole: bool = False
    cleared: bool = False
    removed: set[Any] = field(default_factory=set)
    put: dict[Any, Any] = field(default_factory=dict)


class MapState:
    """The map of the key at hand."""

    def __init__(self, name: str, types: tuple[Type, Type], table: MapTable, key: CurrentKey) -> None:
        self._name, (self._key_type, self._type), self._table, self._key = name, types, table, key
        self._maps: dict[int, _Map] = {}
        self._read_ahead: dict[int, dict[Any, Any]] = {}
        self._reads: Reads | None = None

    def get(self, key: Any) -> Any:
        """The value of a map key; None when there is none."""
        found = self._find(self._map(), one(key))
        return own(found[0], self._type) if found else None

    def put(self, key: Any, value: Any) -> None:
        """Sets an entry."""
        self._map().put[one(given(self._name, key, self._key_type))] = given(self._name, value, self._type)

    def put_all(self, entries: dict[Any, Any]) -> None:
        """Sets entries."""
        for k, v in entries.items():
            self.put(k, v)

    def remove(self, key: Any) -> None:
        """Takes an entry out, if it is there."""
        m, key = self._map(), one(key)
        m.put.pop(key, None)
        m.removed.add(key)

    def contains(self, key: Any) -> bool:
        """Whether there is an entry."""
        return bool(self._find(self._map(), one(key)))

    def entries(self) -> dict[Any, Any]:
        """All of them, in the order in which they were first put: a dict of its own."""
        m = self._map()
        if not m.whole:
            self._read(m)
        kept = {k: v for k, v in m.stored.items() if k not in m.removed}
        return own({**kept, **m.put}, self._type)

    def keys(self) -> list[Any]:
        """The map keys."""
        return list(self.entries())

    def values(self) -> list[Any]:
        """The values."""
        return list(self.entries().values())

    def is_empty(self) -> bool:
        """Whether there is no entry."""
        return not self.entries()

    def clear(self) -> None:
        """An empty map."""
        self._maps[self._key.at] = _Map(whole=True, cleared=True)

    def _map(self) -> _Map:
        at = self._key.at
        m = self._maps.get(at)
        if m is None:
            m = self._maps[at] = _Map()
            if self._reads is None:
                self._reads = Reads(self._table.counts(self._key.columns, self._key.count).tolist())
            if self._reads.counts[at] <= FEW:
                self._read(m)
        return m

    def _read(self, m: _Map) -> None:
        """All that is stored of the key at hand."""
        at, reads = self._key.at, self._reads
        assert reads is not None
        m.whole = True
        if reads.counts[at] and at not in self._read_ahead:
            numbers = [at, *(i for i in reads.ahead(FEW) if i != at)]
            owner, keys, values = self._table.entries(self._key.take(numbers), len(numbers))
            self._read_ahead |= {i: {} for i in numbers}
            names = map(one, python_values(keys, self._key_type))
            for i, k, v in zip(owner.tolist(), names, python_values(values, self._type), strict=True):
                self._read_ahead[numbers[i]][k] = v
        m.stored = self._read_ahead.get(at, {})

    def _find(self, m: _Map, key: Any) -> tuple[Any, ...]:
        """The value in a tuple, or ()."""
        if key in m.put:
            return (m.put[key],)
        if key in m.removed:
            return ()
        if key in m.stored:
            return (m.stored[key],)
        if not m.whole and key not in m.absent:
            at = checked(self._name, [key], self._key_type)
            if self._table.contains(self._key.one(), at)[0]:
                (m.stored[key],) = python_values(self._table.get(self._key.one(), at), self._type)
                return (m.stored[key],)
            m.absent.add(key)
        return ()

    def flush(self) -> None:
        """Writes what changed; the keys at hand may be others then."""
        cleared = [at for at, m in self._maps.items() if m.cleared]
        if cleared:
            self._table.clear(self._key.take(cleared), len(cleared))
        removed = [(at, k) for at, m in self._maps.items() for k in m.removed if not m.cleared]
        if removed:
            at, keys = zip(*removed, strict=True)
            self._table.remove(self._key.take(list(at)), checked(self._name, list(keys), self._key_type))
        put = [(at, k, v) for at, m in self._maps.items() for k, v in m.put.items()]
        if put:
            at, keys, values = zip(*put, strict=True)
            names = checked(self._name, list(keys), self._key_type)
            self._table.put(self._key.take(list(at)), names, checked(self._name, list(values), self._type))
        self._maps.clear()
        self._read_ahead.clear()
        self._reads = None


def one(key: Any) -> Any:
    """A map key as dicts need it: NaN is one."""
    return math.nan if key != key else key
