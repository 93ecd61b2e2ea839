"""Rows that an operator keeps: joins, top-N and OVER share this file.

    Layout     plain data: which columns are keys of the state table, how a row is told from another
    RowStore   the rows, addressed by slot; `add`, `remove`, `columns`

A row is identified by
    a running number   the input is append-only: nothing is ever looked up again
    its key            the input is a changelog with a known key
    all its columns    else; equal rows share a slot and are counted in column `_n`
The key of the state table is the partition (what decides the task), then that identity.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import pyarrow as pa

from sqlstream.batches import concat, signs, visible
from sqlstream.errors import NotSupported
from sqlstream.operators.base import PhysicalNode
from sqlstream.state.arrays import Array
from sqlstream.state.index import HashIndex
from sqlstream.state.spec import StateSpec
from sqlstream.state.table import StateTable

NUMBER, COUNT = "_id", "_n"
MOST_KEYS = 62  # columns of a key of the state
EMPTY: Array = np.empty(0, np.int64)


@dataclass(frozen=True)
class Layout:
    """How rows of `columns` (an arrow schema of visible columns) are kept.

    identity  key columns besides the partition; None: rows are numbered
    counted   equal rows share a slot, with their number in `_n`
    extras    columns that the operator adds to each row: name and Arrow type
    stays     no row is ever changed or deleted
    """

    name: str
    columns: pa.Schema
    partition: tuple[int, ...]
    identity: tuple[int, ...] | None
    counted: bool = False
    extras: tuple[tuple[str, pa.DataType], ...] = ()
    stays: bool = False

    @staticmethod
    def of(
        name: str, node: PhysicalNode, partition: tuple[int, ...], extras: tuple[tuple[str, pa.DataType], ...] = ()
    ) -> Layout:
        """The layout for rows of `node`."""
        columns, traits = node.schema.arrow(), node.traits
        if traits.append_only:
            return Layout(name, columns, partition, None, False, extras)
        identity = tuple(c for c in traits.key or range(len(columns)) if c not in partition)
        if len(partition) + len(identity) > MOST_KEYS:
            raise NotSupported(
                f"rows of {len(columns)} columns without a key cannot be kept: at most {MOST_KEYS} identify a row",
                hint="select fewer columns, or declare a PRIMARY KEY",
            )
        return Layout(name, columns, partition, identity, not traits.key, extras)

    @cached_property
    def key(self) -> tuple[int, ...]:
        """The visible columns in the state table's key."""
        return (*self.partition, *(self.identity or ()))

    @cached_property
    def values(self) -> tuple[int, ...]:
        """The visible columns that are not in the state table's key."""
        return tuple(i for i in range(len(self.columns)) if i not in self.key)

    def spec(self) -> StateSpec:
        """The state that keeps them: key columns, then the others, `_n` where rows are counted, then the extras."""
        key = [pa.field(f"k{j}" if self.key.index(i) < j else f"c{i}", self.columns.field(i).type)
               for j, i in enumerate(self.key)]  # fmt: skip
        if self.identity is None:
            key.append(pa.field(NUMBER, pa.int64()))
        value = [self.columns.field(i) for i in self.values]
        if self.counted:
            value.append(pa.field(COUNT, pa.int64()))
        value += [pa.field(n, t) for n, t in self.extras]
        keys, log = len(self.partition), self.identity is None
        return StateSpec(self.name, pa.schema(key), pa.schema(value), keys, log=log, stays=self.stays)


class RowStore:
    """Slots stay taken until `delete`: an operator may take a row's last copy away and still look at it."""

    def __init__(self, layout: Layout, table: StateTable) -> None:
        self.layout, self.table = layout, table
        self._next = 0
        if layout.identity is None and table.size:
            self._next = int(pa.compute.max(table.keys(table.slots())[-1]).as_py()) + 1

    def add(self, rows: pa.RecordBatch, counts: Array | None = None, extras: list[pa.Array] | None = None) -> Array:
        """Keep `rows`, row i `counts[i]` times (None: once; no row twice where rows are counted); their slots.

        `extras` are set for rows that are new; on rows that were there already they stay.
        """
        n, layout = rows.num_rows, self.layout
        keys = [rows.column(i) for i in layout.key]
        if layout.identity is None:
            keys.append(pa.array(np.arange(self._next, self._next + n)))
            self._next += n
            slots = self.table.append(keys, n)
        else:
            slots, _ = self.table.upsert(keys, n)
        if not layout.counted:
            self.table.put(slots, [*(rows.column(i) for i in layout.values), *(extras or [])])
            return slots
        copies = self.table.fixed(COUNT)
        fresh = copies.data[slots] == 0  # a row whose last copy went in this epoch is new again
        copies.data[slots] += 1 if counts is None else counts
        copies.valid[slots] = True
        new = slots[fresh]
        if extras and len(new):
            for (name, _), a in zip(layout.extras, extras, strict=True):
                self.table.column(name).set(new, a.filter(pa.array(fresh)))
        self.table.touch(slots)
        return slots

    def find(self, rows: pa.RecordBatch) -> Array:
        """The slot of each row (not for numbered rows), or -1."""
        return self.table.find([rows.column(i) for i in self.layout.key], rows.num_rows)

    def remove(self, slots: Array, counts: Array) -> Array:
        """Take copies away; True where none is left. Those slots are to be `delete`d when nobody needs them."""
        if not self.layout.counted:
            return np.ones(len(slots), np.bool_)
        copies = self.table.fixed(COUNT)
        copies.data[slots] -= counts
        self.table.touch(slots)
        return copies.data[slots] <= 0

    def copies(self, slots: Array) -> Array:
        """How often each row is there."""
        return self.table.fixed(COUNT).data[slots] if self.layout.counted else np.ones(len(slots), np.int64)

    def delete(self, slots: Array) -> None:
        """Frees slots, which may be used again at once."""
        if len(slots):
            self.table.delete(slots)

    def columns(self, slots: Array, which: list[int]) -> list[pa.Array]:
        """Visible columns `which` of the rows at slots."""
        key = self.layout.key
        keys = self.table.keys(slots) if any(i in key for i in which) else []
        return [keys[key.index(i)] if i in key else self.table.column(f"c{i}").get(slots) for i in which]

    def rows(self, slots: Array) -> pa.RecordBatch:
        """Whole rows."""
        return pa.RecordBatch.from_arrays(
            self.columns(slots, list(range(len(self.layout.columns)))), schema=self.layout.columns
        )

    def key_words(self, run: slice) -> Array:
        """The only partition column of a log's rows, a number or a time, as it lies there."""
        return self.table.key_words(0, run)

    def partition(self, slots: Array) -> list[pa.Array]:
        """The partition columns of the rows at slots."""
        return self.table.keys(slots)[: len(self.layout.partition)]


class RowSource(Protocol):
    """Rows by their numbers."""

    def columns(self, at: Array, which: list[int]) -> list[pa.Array]:
        """Columns `which` of the rows at `at`."""


class BatchRows:
    """Rows of a batch behind the same `columns` as `RowStore`."""

    def __init__(self, batch: pa.RecordBatch) -> None:
        self.batch = batch

    def columns(self, at: Array, which: list[int]) -> list[pa.Array]:
        """Columns `which` of the rows at `at`."""
        index = pa.array(at)
        return [self.batch.column(i).take(index) for i in which]


class Beside:
    """Rows of several sources beside one another, behind the same `columns`: row i is row `at[s][i]` of each source s,
    whose columns begin at `starts[s]`."""

    def __init__(self, sources: list[RowSource], at: list[Array], starts: tuple[int, ...]) -> None:
        self._sources, self._at, self._starts = sources, at, starts

    def columns(self, at: Array, which: list[int]) -> list[pa.Array]:
        """Columns `which` of the rows at `at`."""
        found: dict[int, pa.Array] = {}
        ends = [*self._starts[1 : len(self._sources)], None]
        for source, rows, start, end in zip(self._sources, self._at, self._starts, ends, strict=False):
            mine = [i for i in which if i >= start and (end is None or i < end)]
            if mine:
                found |= zip(mine, source.columns(rows[at], [i - start for i in mine]), strict=True)
        return [found[i] for i in which]


def net(batch: pa.RecordBatch, width: int) -> tuple[pa.RecordBatch, Array]:
    """The distinct rows (visible columns) whose inserts and deletes do not cancel, and their net number, never 0."""
    rows, counts, _ = summed(batch, width)
    kept = counts != 0
    return (rows if kept.all() else rows.filter(pa.array(kept))), counts[kept]


def summed(batch: pa.RecordBatch, width: int) -> tuple[pa.RecordBatch, Array, Array]:
    """The distinct rows (visible columns), their net number, and whether each is first taken back, then added."""
    sign, rows = signs(batch), visible(batch, width)
    if sign is None:
        sign = np.ones(batch.num_rows, np.int64)
    slots, fresh = distinct(rows.columns, rows.num_rows)
    counts = np.bincount(slots, weights=sign, minlength=1).astype(np.int64)[: np.count_nonzero(fresh)]
    return (rows if fresh.all() else rows.filter(pa.array(fresh))), counts, sign[fresh] < 0


def begun(batch: pa.RecordBatch, width: int) -> tuple[pa.RecordBatch, Array, int]:
    """What changes leave where there was nothing before: the rows that are there, how often, and how many that are not
    there were taken back. A row that is taken back first and added again is there."""
    rows, counts, replaced = summed(batch, width)
    lost = int(-counts[counts < 0].sum()) + int(np.count_nonzero((counts == 0) & replaced))
    counts = np.where((counts == 0) & replaced, 1, counts)
    there = counts > 0
    return rows.filter(pa.array(there)), counts[there], lost


def distinct(columns: list[pa.Array], n: int) -> tuple[Array, Array]:
    """For each row the number of its distinct row, from 0 in the order in which they come first; and where that is."""
    slots = fresh = EMPTY
    for at in range(0, max(len(columns), 1), MOST_KEYS - 1):
        part = columns[at : at + MOST_KEYS - 1] + ([pa.array(slots)] if at else [])
        # A new index numbers its keys in the order in which they come.
        slots, fresh = HashIndex([c.type for c in part]).upsert(part, n)
    return slots, fresh


@dataclass(frozen=True)
class Change:
    """What an epoch does to an input: distinct rows that go and rows that come, each with its number of copies.

    Of an append-only input: `plus` has every row, once each. `same`: rows that are taken back and added again.
    """

    minus: pa.RecordBatch
    minus_counts: Array
    plus: pa.RecordBatch
    plus_counts: Array
    same: pa.RecordBatch

    @staticmethod
    def of(batches: list[pa.RecordBatch], columns: pa.Schema, append_only: bool) -> Change:
        """Of an epoch's batches; `columns` is the schema of the visible ones."""
        batch, width = concat(batches), len(columns)
        nothing = pa.RecordBatch.from_arrays([pa.array([], f.type) for f in columns], schema=columns)
        if batch is None:
            return Change(nothing, EMPTY, nothing, EMPTY, nothing)
        if append_only:
            return Change(nothing, EMPTY, visible(batch, width), np.ones(batch.num_rows, np.int64), nothing)
        rows, counts, replaced = summed(batch, width)
        gone, comes, same = counts < 0, counts > 0, (counts == 0) & replaced
        if comes.all():
            return Change(nothing, EMPTY, rows, counts, nothing)
        minus, plus = rows.filter(pa.array(gone)), rows.filter(pa.array(comes))
        return Change(minus, -counts[gone], plus, counts[comes], rows.filter(pa.array(same)) if same.any() else nothing)

    def renewing(self, store: RowStore, again: bool = False) -> Change:
        """Where rows live for a time: rows that stay the same live on, and those whose time is over come anew. `again`:
        the ones that are there go and come, so that whoever reads the output hears of them."""
        if not self.same.num_rows:
            return self
        slots = store.find(self.same)
        there = (slots >= 0) & (store.copies(np.maximum(slots, 0)) > 0)
        store.table.touch(slots[there])
        comes = self.same if again else self.same.filter(pa.array(~there))
        goes = self.same.filter(pa.array(there & again))
        return Change(
            pa.concat_batches([self.minus, goes]),
            np.concatenate([self.minus_counts, np.ones(goes.num_rows, np.int64)]),
            pa.concat_batches([self.plus, comes]),
            np.concatenate([self.plus_counts, np.ones(comes.num_rows, np.int64)]),
            self.same.slice(0, 0),
        )
