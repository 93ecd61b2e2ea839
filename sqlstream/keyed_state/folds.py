"""Reducing and aggregating state: what the values that were added to a key come to.

Many values at once are put together by pairs of neighbours of one key, then pairs of those, so that a batch takes as
many calls of the function as the logarithm of the most values of one key.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

from sqlstream.errors import DataError, InternalError
from sqlstream.keyed_state.current import CurrentKey
from sqlstream.keyed_state.descriptors import AggregatingStateDescriptor, Fold, ReducingStateDescriptor
from sqlstream.keyed_state.values import ValueTable, checked, given, own
from sqlstream.python_values import python_values
from sqlstream.state.arrays import Array, combined, plain
from sqlstream.state.index import HashIndex
from sqlstream.state.table import StateTable
from sqlstream.types import rename_array

Merge = Callable[[pa.Array, pa.Array], pa.Array]


class FoldTable(ABC):
    """What was added to many keys at once; its function is one of arrays. Keys are columns of n rows."""

    def __init__(self, descriptor: Fold[Any], table: StateTable) -> None:
        self._name, self._arrow, self._type = descriptor.name, descriptor.arrow, descriptor.value_type
        self._keys = list(table.spec.key.types)
        self.kept = ValueTable(table)

    @abstractmethod
    def lifted(self, values: pa.Array) -> pa.Array:
        """What is kept of each value alone."""

    @abstractmethod
    def merged(self, a: pa.Array, b: pa.Array) -> pa.Array:
        """What is kept of both, row by row."""

    @abstractmethod
    def results(self, kept: pa.Array) -> pa.Array:
        """What they come to."""

    def get(self, keys: list[pa.Array], n: int | None = None) -> pa.Array:
        """What the values of each key come to; NULL where there are none."""
        kept = self.kept.values(keys, n)
        there = kept.is_valid()
        place = np.cumsum(there) - 1
        return self.results(kept.filter(there)).take(pa.array(place, mask=~there.to_numpy(zero_copy_only=False)))

    def add(self, keys: list[pa.Array], values: pa.Array) -> None:
        """Adds value i to key i, in that order."""
        if not self._arrow:
            raise InternalError(f"state {self._name}: many keys at once need a function of arrays")
        owner, fresh = HashIndex(self._keys).upsert(keys, len(values))
        distinct = [k.filter(pa.array(fresh)) for k in keys]
        added = folded(owner, self.lifted(values), self.merged)
        before = self.kept.values(distinct, len(added))
        there = before.is_valid()
        both = self.merged(before.filter(there), added.filter(there))
        index = np.where(there, np.cumsum(there) - 1, len(both) + np.arange(len(added)))
        self.kept.update(distinct, pa.concat_arrays([both, added]).take(pa.array(index)), len(added))

    def clear(self, keys: list[pa.Array], n: int | None = None) -> None:
        """As if nothing had been added."""
        self.kept.clear(keys, n)

    def expire(self) -> None:
        """Deletes what lives no more."""
        self.kept.expire()

    def _outside(self, kept: pa.Array) -> pa.Array:
        """What is kept, as functions know it: fields of a ROW have names there only."""
        return rename_array(kept, self._type.arrow_outside())

    def _inside(self, made: pa.Array) -> pa.Array:
        return rename_array(combined(made).cast(self._type.arrow_outside()), self._type.arrow())


class ReducingTable(FoldTable):
    """Values, of which two make one."""

    def __init__(self, descriptor: ReducingStateDescriptor, table: StateTable) -> None:
        super().__init__(descriptor, table)
        self._function = descriptor.function

    def lifted(self, values: pa.Array) -> pa.Array:
        return plain(values, self._type.arrow())

    def merged(self, a: pa.Array, b: pa.Array) -> pa.Array:
        return self._inside(self._function(self._outside(a), self._outside(b)))

    def results(self, kept: pa.Array) -> pa.Array:
        return kept


class AggregatingTable(FoldTable):
    """Accumulators of values."""

    def __init__(self, descriptor: AggregatingStateDescriptor, table: StateTable) -> None:
        super().__init__(descriptor, table)
        self._function = descriptor.function

    def lifted(self, values: pa.Array) -> pa.Array:
        return self._inside(self._function.add(values, self._function.create_accumulator(len(values))))

    def merged(self, a: pa.Array, b: pa.Array) -> pa.Array:
        return self._inside(self._function.merge(self._outside(a), self._outside(b)))

    def results(self, kept: pa.Array) -> pa.Array:
        return combined(self._function.get_result(self._outside(kept)))


def folded(owner: Array, values: pa.Array, merge: Merge) -> pa.Array:
    """For each owner (numbers from 0, all of them there) its values merged, in their order."""
    order = np.argsort(owner, kind="stable")
    owner, values = owner[order], values.take(pa.array(order))
    while True:
        first = np.flatnonzero(np.diff(owner, prepend=-1))
        if len(first) == len(owner):
            return values
        place = np.arange(len(owner)) - np.repeat(first, np.diff(first, append=len(owner)))
        left = np.flatnonzero((place % 2 == 0) & (np.diff(owner, append=-1) == 0))
        pairs = combined(merge(values.take(pa.array(left)), values.take(pa.array(left + 1))))
        kept = np.flatnonzero(place % 2 == 0)
        merged = np.isin(kept, left, assume_unique=True)
        index = np.where(merged, np.cumsum(merged) - 1, len(pairs) + kept)
        values, owner = pa.concat_arrays([pairs, values]).take(pa.array(index)), owner[kept]


class FoldState(ABC):
    """What was added to the key at hand."""

    def __init__(self, descriptor: Fold[Any], table: FoldTable, key: CurrentKey) -> None:
        self._name, self._arrow, self._type = descriptor.name, descriptor.arrow, descriptor.value_type
        self._table, self._key = table, key
        self._values: list[Any] | None = None
        self._changed: set[int] = set()

    @abstractmethod
    def get(self) -> Any:
        """What the values come to; None when there are none."""

    @abstractmethod
    def add(self, value: Any) -> None:
        """Adds a value."""

    def clear(self) -> None:
        """As if nothing had been added."""
        self._keep(None)

    @property
    def _kept(self) -> Any:
        return self._all()[self._key.at]

    def _keep(self, kept: Any) -> None:
        self._all()[self._key.at] = kept
        self._changed.add(self._key.at)

    def _keep_with(self, added: pa.Array) -> None:
        """Keeps what there is and, of one row, what is kept of a value; by functions of arrays."""
        if self._kept is not None:
            added = self._table.merged(self._array(self._kept), added)
        self._keep(python_values(added, self._type)[0])

    def _array(self, kept: Any) -> pa.Array:
        return checked(self._name, [kept], self._type)

    def _all(self) -> list[Any]:
        if self._values is None:
            self._values = python_values(self._table.kept.values(self._key.columns, self._key.count), self._type)
        return self._values

    def flush(self) -> None:
        """Writes what changed; the keys at hand may be others then."""
        if self._changed and self._values is not None:
            at = sorted(self._changed)
            kept = checked(self._name, [self._values[i] for i in at], self._type)
            self._table.kept.update(self._key.take(at), kept, len(at))
        self._changed.clear()
        self._values = None


class ReducingState(FoldState):
    """Of values of which two make one; None cannot be added."""

    def __init__(self, descriptor: ReducingStateDescriptor, table: ReducingTable, key: CurrentKey) -> None:
        super().__init__(descriptor, table, key)
        self._function = descriptor.function

    def get(self) -> Any:
        return own(self._kept, self._type)

    def add(self, value: Any) -> None:
        if value is None:
            raise DataError(f"state {self._name}: None cannot be added")
        value = given(self._name, value, self._type)
        if self._arrow:
            self._keep_with(self._array(value))
        else:
            self._keep(value if self._kept is None else self._function(self._kept, value))


class AggregatingState(FoldState):
    """Of values that an accumulator takes."""

    def __init__(self, descriptor: AggregatingStateDescriptor, table: AggregatingTable, key: CurrentKey) -> None:
        super().__init__(descriptor, table, key)
        self._function = descriptor.function

    def get(self) -> Any:
        if self._kept is None:
            return None
        if self._arrow:
            return self._table.results(self._array(self._kept)).to_pylist()[0]
        return self._function.get_result(own(self._kept, self._type))

    def add(self, value: Any) -> None:
        if self._arrow:
            self._keep_with(self._table.lifted(pa.array([value])))
        else:
            before = self._function.create_accumulator() if self._kept is None else self._kept
            self._keep(self._function.add(value, before))
