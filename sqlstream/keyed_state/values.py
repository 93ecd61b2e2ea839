"""Value state: one value a key."""

from __future__ import annotations

import copy
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from sqlstream.errors import DataError
from sqlstream.keyed_state.current import CurrentKey
from sqlstream.keyed_state.descriptors import VALUE
from sqlstream.python_values import ValueMismatch, arrow_values, check_class, python_values
from sqlstream.state.arrays import Array
from sqlstream.state.columns import Column
from sqlstream.state.table import StateTable
from sqlstream.types import Type

V = TypeVar("V")


class ValueTable:
    """Values of many keys at once. Keys are columns of `n` rows (which is needed only where there are none).

    As all tables of states: whoever uses it calls `expire` at the beginning of each epoch.
    """

    def __init__(self, table: StateTable) -> None:
        self._table = table

    def values(self, keys: list[pa.Array], n: int | None = None) -> pa.Array:
        """The value of each key; NULL where there is none."""
        slots = self._table.find(keys, n)
        return taken(self._table.column(VALUE), slots)

    def update(self, keys: list[pa.Array], values: pa.Array, n: int | None = None) -> None:
        """Sets values; of a key that is there several times the last holds. NULL: it has none any more."""
        slots, _ = self._table.upsert(keys, n)
        self._table.put(slots, [values])
        if values.null_count:
            slots = np.unique(slots)
            none = self._table.column(VALUE).get(slots).is_null()
            self._table.delete(slots[none.to_numpy(zero_copy_only=False)])

    def clear(self, keys: list[pa.Array], n: int | None = None) -> None:
        """No value any more."""
        self._table.delete(self._table.find(keys, n))

    def expire(self) -> None:
        """Deletes what lives no more."""
        self._table.expire()


class ValueState:
    """The value of the key at hand."""

    def __init__(self, name: str, t: Type, table: ValueTable, key: CurrentKey) -> None:
        self._name, self._type, self._table, self._key = name, t, table, key
        self._values: list[Any] | None = None
        self._changed: set[int] = set()

    def value(self) -> Any:
        """None when there is none. What of it is changed counts only when it is given to `update`."""
        return own(self._all()[self._key.at], self._type)

    def update(self, value: Any) -> None:
        """Sets it; None is `clear`."""
        self._all()[self._key.at] = given(self._name, value, self._type)
        self._changed.add(self._key.at)

    def clear(self) -> None:
        """No value any more."""
        self.update(None)

    def _all(self) -> list[Any]:
        if self._values is None:
            self._values = python_values(self._table.values(self._key.columns, self._key.count), self._type)
        return self._values

    def flush(self) -> None:
        """Writes what changed; the keys at hand may be others then."""
        if self._changed and self._values is not None:
            at = sorted(self._changed)
            values = checked(self._name, [self._values[i] for i in at], self._type)
            self._table.update(self._key.take(at), values, len(at))
        self._changed.clear()
        self._values = None


def taken(column: Column, slots: Array) -> pa.Array:
    """The values at slots; NULL where the slot is -1."""
    seen = slots >= 0
    if seen.all():
        return column.get(slots)
    place = np.cumsum(seen) - 1
    return column.get(slots[seen]).take(pa.array(place, mask=~seen))


def own(value: V, t: Type) -> V:
    """A copy of a value that could be changed elsewhere."""
    return copy.deepcopy(value) if t.fields and value is not None else value


def given(name: str, value: V, t: Type) -> V:
    """What a function gives a state, as its own. DataError, where it is given, when its class is none of the type's."""
    try:
        check_class(value, t)
    except ValueMismatch as e:
        raise DataError(f"state {name}: {e}", hint=f"it is declared as {t.text()}") from None
    return own(value, t)


def checked(name: str, values: list[Any], t: Type) -> pa.Array:
    """Values that a function gave a state. DataError when one is none of its type."""
    try:
        return arrow_values(values, t)
    except ValueMismatch as e:
        raise DataError(f"state {name}: {e}", hint=f"it is declared as {t.text()}") from None
