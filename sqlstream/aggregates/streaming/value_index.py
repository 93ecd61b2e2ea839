"""ValueIndex: which values of an argument each group holds, and how often: for DISTINCT, for MIN and MAX that can
be taken back. And which rows of several columns: for what is made of all rows of a group (`kept.py`: ARRAY_AGG,
LISTAGG, PERCENTILE, …).

One row of state for each (group, value), with a count for each FILTER that its calls have; calls over the same columns
share it. An epoch's rows are counted first, and only values that appear in a group or vanish from it go on: to
the sums and counts of DISTINCT calls with a sign, and to extremes.

Cost: an extreme whose value vanished is found again among all values of its group (one vectorised pass), unless a
better one appeared in the same epoch, as it does under a growing count. What is made of all rows of a group reads them
whenever the group changes; of ARRAY_AGG and LISTAGG the result is as long.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from sqlstream.aggregates.streaming import kernels
from sqlstream.aggregates.streaming.part import EVERY, Forgetful, Part, Rows
from sqlstream.state.arrays import Array, fixed
from sqlstream.state.multimap import MultiMap
from sqlstream.state.table import StateSpec, StateTable
from sqlstream.state.uniques import Uniques


@dataclass(frozen=True)
class Indexed:
    """What an index is over. columns: input columns; given: those of them that are not NULL in the rows that it counts;
    ordered: rows are told apart by arrival too."""

    columns: tuple[int, ...]
    given: tuple[int, ...]
    ordered: bool = False

    @property
    def name(self) -> str:
        """Of the table."""
        with_nulls = "" if self.given == self.columns else f"_given{''.join(f'_c{c}' for c in self.given)}"
        return f"values{''.join(f'_c{c}' for c in self.columns)}{with_nulls}{'_ordered' if self.ordered else ''}"


@dataclass(frozen=True)
class Held:
    """Rows that groups hold: which group each is of (its position among those asked for), how often it is there, its
    columns, its arrival (of an ordered index)."""

    group: Array
    counts: Array
    columns: list[pa.Array]
    order: Array | None


class ValueIndex:
    """`of`: what it is over; `values`: the types of the columns. `freed`: groups are dropped as a whole (windows).

    Where values live for a time, each by itself, one of `append_only` rows is written when it appears, as Flink's bit of it
    is; of others its count is, with each row.
    """

    def __init__(self, of: Indexed, values: list[pa.DataType], freed: bool, append_only: bool) -> None:
        self.of, self.values, self.freed = of, values, freed
        self.append_only = append_only
        self.filters: list[int | None] = []
        self.parts: dict[int | None, list[Part]] = {}
        self.forgetful: dict[int | None, list[Forgetful]] = {}
        self.listed = False

    def use(self, filter: int | None) -> None:
        """Counts the rows that pass this filter."""
        if filter not in self.filters:
            self.filters.append(filter)
            self.parts[filter], self.forgetful[filter] = [], []

    def feed(self, filter: int | None, part: Part) -> None:
        """From now on the part is told which values appear and vanish."""
        if isinstance(part, Forgetful):
            self.forgetful[filter].append(part)
        else:
            self.parts[filter].append(part)

    @property
    def linked(self) -> bool:
        """Whether a group's values are looked up."""
        return self.freed or self.listed or any(self.forgetful.values())

    def spec(self, keys: pa.Schema, distribution: int) -> StateSpec:
        """The table of its values. `keys`: the group's key columns, `distribution` of which decide the task."""
        values = [pa.field(f"value{'' if i == 0 else f'_{i}'}", t) for i, t in enumerate(self.values)]
        key = [*keys, *values, *([pa.field("order", pa.int64())] if self.of.ordered else [])]
        counts = [pa.field(count_name(f), pa.int64()) for f in self.filters]
        return StateSpec(self.of.name, pa.schema(key), pa.schema(counts), distribution, cold=not self.linked)

    def open_table(self, table: StateTable, groups: StateTable) -> None:
        """`table`: that of `spec`. `groups`: the group table."""
        self.table = table
        self.width = len(table.spec.key) - len(self.values) - self.of.ordered
        self._uniques = Uniques()
        self._chains = MultiMap()
        if self.linked and table.size:
            slots = table.slots()
            self._chains.add(groups.find(table.keys(slots)[: self.width], len(slots)), slots)

    def update(
        self,
        keys: list[pa.Array],
        groups: Array,
        signs: Array,
        values: list[pa.Array],
        order: Array | None,
        masks: dict[int | None, Array | None],
    ) -> None:
        """Rows of an epoch, its columns in `values`. `masks`: for each filter which rows pass it (None: all)."""
        counted = {}
        for f, mask in masks.items():
            each = signs if len(signs) else np.ones(len(groups), np.int64)
            counted[f] = each if mask is None else np.where(mask, each, 0)
        self._count(keys, groups, values, order, counted)

    def merge(self, keys: list[pa.Array], into: Array, other: ValueIndex, slots: Array) -> None:
        """Adds the values of groups `slots` of `other`, whose calls are the same, to groups `into`, of keys `keys`."""
        index, at = other._chains.probe(slots)
        if not len(at):
            return
        row = pa.array(index)
        held = other.table.keys(at)[other.width :]
        order = fixed(held.pop()) if self.of.ordered else None
        counted = {f: other.table.fixed(count_name(f)).data[at] for f in self.filters}
        self._count([k.take(row) for k in keys], into[index], held, order, counted)

    def _count(
        self,
        keys: list[pa.Array],
        groups: Array,
        values: list[pa.Array],
        order: Array | None,
        counted: dict[int | None, Array],
    ) -> None:
        """Adds for each filter so many of each value."""
        key = [*keys, *values, *([pa.array(order, pa.int64())] if self.of.ordered else [])]
        slots, fresh = self.table.upsert(key, len(groups))
        touched, local = self._uniques.of(slots, self.table.capacity)
        group, row = np.empty(len(touched), np.int64), np.empty(len(touched), np.int64)
        group[local], row[local] = groups, np.arange(len(groups))
        new = slots[fresh]
        if self.linked:
            self._chains.add(groups[fresh], new)
        self.table.touch(touched, renew=not self.append_only)
        gone = np.ones(len(touched), np.bool_)
        for f in self.filters:
            counts = self.table.fixed(count_name(f))
            counts.valid[new] = True
            before = counts.data[touched] > 0
            kernels.sum_add(counts.data, slots, counted[f], EVERY)
            now = counts.data[touched]
            gone &= now == 0
            appeared, vanished = ~before & (now > 0), before & (now <= 0)
            if self.append_only and appeared.any():
                self.table.touch(touched[appeared])
            if appeared.any() or vanished.any():
                self._tell(f, group, values[0], row, appeared, vanished)
        if gone.any():
            dead = touched[gone]
            if self.linked:
                self._chains.remove(group[gone], dead)
            self.table.delete(dead)

    def _tell(
        self, f: int | None, group: Array, values: pa.Array, row: Array, appeared: Array, vanished: Array
    ) -> None:
        changed = appeared | vanished
        rows = Rows(
            group[changed],
            np.where(appeared[changed], np.int64(1), np.int64(-1)) if vanished.any() else EVERY,
            values.take(pa.array(row[changed])),
        )
        for part in self.parts[f]:
            part.add(rows)
        if not self.forgetful[f]:
            return
        plus = Rows(group[appeared], values=values.take(pa.array(row[appeared])))
        minus = Rows(group[vanished], values=values.take(pa.array(row[vanished])))
        for extreme in self.forgetful[f]:
            lost = extreme.holds(minus)
            extreme.add(plus)
            lost &= extreme.holds(minus)
            if lost.any():
                self._again(f, extreme, minus.slots[lost])

    def _again(self, f: int | None, extreme: Forgetful, groups: Array) -> None:
        """The extreme of groups that lost it, from all their values."""
        extreme.clear(groups)
        index, slots = self._chains.probe(groups)
        there = self.table.fixed(count_name(f)).data[slots] > 0
        extreme.add(Rows(groups[index[there]], values=self._values(slots[there])))

    def _values(self, slots: Array) -> pa.Array:
        return self.table.keys(slots)[self.width]

    def free(self, groups: Array) -> None:
        """Forget groups."""
        _, slots = self._chains.probe(groups)
        self._chains.remove(groups, slots)
        self.table.delete(slots)

    def expire(self) -> None:
        """Forgets the values whose time is over."""
        slots = self.table.expired()
        if len(slots):
            self._chains.remove(slots, slots)
            self.table.delete(slots)

    def held(self, groups: Array, filter: int | None) -> Held:
        """The rows of these groups that pass the filter."""
        index, slots = self._chains.probe(groups)
        counts = self.table.fixed(count_name(filter)).data[slots]
        there = counts > 0
        index, slots, counts = index[there], slots[there], counts[there]
        columns = self.table.keys(slots)[self.width :]
        order = fixed(columns.pop()) if self.of.ordered else None
        return Held(index, counts, columns, order)


def count_name(filter: int | None) -> str:
    """The column that counts a value where the filter (a column, or None) holds."""
    return "n" if filter is None else f"n_c{filter}"
