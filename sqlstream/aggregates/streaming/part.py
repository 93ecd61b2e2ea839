"""Part: an accumulator, what an aggregate keeps for a group, as value columns of a state table, addressed by slot.

A part is over one argument: a count, a 128-bit sum, an extreme.

    add(rows)                  rows of one epoch into their slots; with signs where the part `takes_back`
    merge(into, part, slots)   another part's partial results into slots of this one (slices, sessions)
    read(slots)                what there is, for the halves

One that needs more than a few columns a group has a table of its own: `spec`, `open_table`, `free`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from sqlstream.errors import InternalError
from sqlstream.state.arrays import Array, fixed, is_pair
from sqlstream.state.columns import Column, FixedColumn, column
from sqlstream.state.table import StateSpec, StateTable

APART = 256  # slots at least: what few groups have in two tasks must not lie in one line of a processor's cache
EVERY: Array = np.empty(0, np.int64)  # signs of rows that are all inserts


class Columns(Protocol):
    """Where a part's columns live: a StateTable, or `Scratch`."""

    def column(self, name: str) -> Column:
        """A value column, by slot. Its arrays are replaced when it grows."""


class Scratch:
    """Columns in memory for `n` groups, for merging: no keys, no checkpoint."""

    def __init__(self, fields: list[pa.Field], n: int) -> None:
        self._columns = {f.name: column(f.type, max(n, APART)) for f in fields}

    @staticmethod
    def of(batch: pa.RecordBatch) -> Scratch:
        """Those of a batch, by name: group i is row i."""
        made = Scratch([*batch.schema], batch.num_rows)
        for name, c in made._columns.items():
            c.set(slice(0, batch.num_rows), batch.column(name))
        return made

    def column(self, name: str) -> Column:
        """The column of that name."""
        return self._columns[name]


@dataclass
class Rows:
    """Rows for a part: where the argument is given and the filter holds. `signs` is EVERY or one a row."""

    slots: Array
    signs: Array = field(default_factory=lambda: EVERY)
    values: pa.Array | None = None  # without NULLs
    order: Array | None = None  # arrival
    beside: pa.Array | None = None  # values of the second argument, without NULLs
    columns: list[pa.Array] = field(default_factory=list)  # of a part over several arguments: their values, and NULLs

    @cached_property
    def words(self) -> Array:
        """Values of one word as int64."""
        return np.ascontiguousarray(fixed(self.values).astype(np.int64, copy=False))

    @cached_property
    def doubles(self) -> Array:
        """Values as float64."""
        return as_doubles(self.values)

    @cached_property
    def others(self) -> Array:
        """Values of the second argument as float64."""
        return as_doubles(self.beside)


def as_doubles(values: pa.Array) -> Array:
    """Numbers as float64; decimals are rounded to the nearest."""
    if is_pair(values.type):
        values = values.cast(pa.float64())
    return np.ascontiguousarray(fixed(values).astype(np.float64, copy=False))


class Overflow(Exception):
    """128 bits, or those of a result, were not enough. part: whose."""

    def __init__(self, part: Part | None = None) -> None:
        super().__init__()
        self.part = part


class Part:
    """One accumulator. `names` are unique in the table; `types` are the state columns' types.

    Where a column is not `valid` its data is nothing: a checkpoint keeps NULL, and after a restart it is 0.
    """

    types: tuple[pa.DataType, ...] = ()
    takes_back = True
    merges = True  # its columns are all that it keeps, and may be merged anywhere

    def __init__(self, name: str, argument: pa.DataType | None) -> None:
        """argument: its type."""
        self.argument = argument
        self.name = name
        self.names = [f"{name}{'' if i == 0 else f'_{i}'}" for i in range(len(self.types))]
        self.columns: list[FixedColumn] = []

    def fields(self) -> list[pa.Field]:
        """Its value columns in the group table."""
        return [pa.field(n, t) for n, t in zip(self.names, self.types, strict=True)]

    def spec(self, keys: pa.Schema, distribution: int) -> StateSpec | None:
        """A further table, or None. keys: the group table's key."""
        return None

    def open(self, table: Columns) -> None:
        """Before anything else: the group table."""
        self.columns = [table.column(n) for n in self.names]  # type: ignore[misc]

    def open_table(self, table: StateTable, groups: StateTable) -> None:
        """Then the table of `spec`."""
        raise InternalError(f"{type(self).__name__}.open_table")

    def start(self, slots: Array) -> None:
        """New slots begin at zero, which is a value. Overridden by who begins with NULL."""
        for c in self.columns:
            c.valid[slots] = True

    def add(self, rows: Rows) -> None:
        """Takes rows in, or back."""
        raise InternalError(f"{type(self).__name__}.add")

    def merge(self, into: Array, part: Any, slots: Array) -> None:
        """Adds what `slots` of `part`, which is of this kind, hold to the slots `into`."""
        raise InternalError(f"{type(self).__name__}.merge")

    def read(self, slots: Array) -> Any:
        """What the slots hold."""
        raise InternalError(f"{type(self).__name__}.read")

    def free(self, slots: Array) -> None:
        """These groups are dropped as a whole: what the further table holds of them."""


class Forgetful(Part):
    """A part that cannot take back: over changing input a ValueIndex tells it which values are there."""

    takes_back = False

    def holds(self, rows: Rows) -> Array:
        """Whether what each row's slot holds may be another without the row's value; then it is made again of all values
        that are left, after `clear`. For an extreme: whether it is that value."""
        raise InternalError(f"{type(self).__name__}.holds")

    def clear(self, slots: Array) -> None:
        """Forgets all values of these slots."""
        raise InternalError(f"{type(self).__name__}.clear")
