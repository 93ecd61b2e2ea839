"""The running half of a lookup join with a table that is asked for the rows of keys: a database's.

Once an epoch, and for all of its rows together, the table is asked for the keys that are not remembered, or not freshly. What
is remembered, and for how long, says the table (`contracts.KeyedCache`). Where the left side's rows can change, all that was
asked for is remembered for good, so that a row that is taken back meets what it met. Nothing of it is in a checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from sqlstream.batches import Delta, meet
from sqlstream.contracts import KeyedCache, KeyedReader
from sqlstream.errors import InternalError
from sqlstream.operators.base import OperatorContext
from sqlstream.operators.lookup_join import LookupJoin, LookupJoinOperator
from sqlstream.operators.pairs import never_equal, pieces
from sqlstream.state.arrays import Array
from sqlstream.state.index import HashIndex

_NEVER = np.iinfo(np.int64).min
_FOR_GOOD = KeyedCache(rows=None, missing=True)


class KeyedRows:
    """Keys by slots, with when they were asked for and used last (µs), and their rows, which lie together."""

    def __init__(self, key_types: list[pa.DataType], schema: pa.Schema, cache: KeyedCache) -> None:
        self._schema, self._cache, self._key_types = schema, cache, key_types
        self.forget()

    def forget(self) -> None:
        """All of it."""
        self._index = HashIndex(self._key_types)
        self._asked = np.full(0, _NEVER, np.int64)
        self._used = np.zeros(0, np.int64)
        self._first, self._count = np.zeros(0, np.int64), np.zeros(0, np.int64)
        self._batches: list[pa.RecordBatch] = []
        self._dead = 0  # rows that no key has any more

    @property
    def size(self) -> int:
        """Keys that are remembered."""
        return self._index.index.size

    @property
    def rows(self) -> int:
        """That are held, dead ones among them."""
        return sum(b.num_rows for b in self._batches)

    def wanted(self, keys: list[pa.Array], n: int, now: int) -> tuple[Array, Array]:
        """Of these keys those that are to be asked for, each once: their slots, and where they stand."""
        slots, _ = self._index.upsert(keys, n)
        self._grow()
        distinct, at = np.unique(slots, return_index=True)
        asked, fresh = self._asked[distinct], self._asked[distinct] != _NEVER
        if self._cache.after_write is not None:
            fresh &= now - asked < self._cache.after_write
        if self._cache.after_access is not None:
            fresh &= now - self._used[distinct] < self._cache.after_access
        self._used[distinct] = now
        return distinct[~fresh], at[~fresh]

    def put(self, slots: Array, found: pa.RecordBatch, keys: list[pa.Array], now: int) -> None:
        """What was found for the keys at `slots`; `keys`: the key columns of `found`. Rows of other keys are left out."""
        of = self._index.find(keys, found.num_rows)
        asked = np.zeros(len(self._asked) + 1, np.bool_)  # the last one is for -1
        asked[slots] = True
        order = np.argsort(of, kind="stable")
        order = order[asked[of[order]]]
        self._dead += int(self._count[slots].sum())
        self._count[slots], self._asked[slots] = 0, now
        if len(order):
            had, starts, counts = np.unique(of[order], return_index=True, return_counts=True)
            self._first[had], self._count[had] = self.rows + starts, counts
            self._batches.append(found.take(pa.array(order)))
            # each is twice as large as the next: a row is copied as often as there are doublings
            while len(self._batches) > 1 and self._batches[-2].num_rows < 2 * self._batches[-1].num_rows:
                self._batches[-2:] = [pa.concat_batches(self._batches[-2:])]
        if not self._cache.missing:
            self._drop(slots[self._count[slots] == 0])

    def shrink(self) -> None:
        """To as many keys as the table says, without those that were not used for longest."""
        if self._cache.rows is not None and self.size > self._cache.rows:
            live = np.flatnonzero(self._used >= 0)
            oldest = live[np.argsort(self._used[live], kind="stable")[: self.size - self._cache.rows]]
            self._drop(oldest)
        if self._dead > max(1024, self.rows // 2):
            self._compact()

    def _drop(self, slots: Array) -> None:
        self._dead += int(self._count[slots].sum())
        self._count[slots], self._asked[slots], self._used[slots] = 0, _NEVER, -1
        self._index.delete(slots)

    def _compact(self) -> None:
        live = np.flatnonzero(self._count)
        counts = self._count[live]
        ends = np.cumsum(counts)
        at = np.arange(int(ends[-1]) if len(ends) else 0) + np.repeat(self._first[live] - (ends - counts), counts)
        columns = self._columns(pa.array(at))
        self._batches = [pa.RecordBatch.from_arrays(columns, schema=self._schema)] if len(at) else []
        self._first[live], self._dead = ends - counts, 0

    def probe(self, keys: list[pa.Array], n: int) -> Iterator[tuple[Array, Array]]:
        """(index into the probing rows, index into the rows), as `KeyTable.probe` gives them."""
        slots = self._index.find(keys, n)
        known = np.flatnonzero(slots >= 0)
        slots = slots[known]
        for piece in pieces(self._count[slots]):
            here = slots[piece]
            count = self._count[here]
            at = np.repeat(known[piece], count)
            offset = np.arange(len(at)) - np.repeat(np.cumsum(count) - count, count)
            yield at, np.repeat(self._first[here], count) + offset

    def columns(self, at: Array, which: list[int]) -> list[pa.Array]:
        """Columns `which` of the rows at `at`."""
        found = self._columns(pa.array(at))
        return [found[i] for i in which]

    def take(self, index: pa.Array) -> list[pa.Array]:
        """All columns of the rows at `index`, NULL where that is."""
        return self._columns(index)

    def _columns(self, index: pa.Array) -> list[pa.Array]:
        if not self._batches:
            return [pa.nulls(len(index), f.type) for f in self._schema]
        taken = pa.Table.from_batches(self._batches, self._schema).take(index)
        return [c.combine_chunks() for c in taken.columns]

    def _grow(self) -> None:
        more = self._index.index.capacity - len(self._asked)
        if more > 0:
            self._asked = np.concatenate([self._asked, np.full(more, _NEVER, np.int64)])
            self._used = np.concatenate([self._used, np.full(more, -1, np.int64)])
            self._first = np.concatenate([self._first, np.zeros(more, np.int64)])
            self._count = np.concatenate([self._count, np.zeros(more, np.int64)])


class KeyedLookupOperator(LookupJoinOperator):
    """Asks, remembers, and joins."""

    def __init__(self, node: LookupJoin, context: OperatorContext) -> None:
        super().__init__(node, context)
        source = node.table.source
        if source.keyed is None:
            raise InternalError(f"table {node.table.name} is not asked for keys")
        stays = not node.inputs[0].traits.append_only
        cache = _FOR_GOOD if stays else source.keyed
        self._forgets = cache.rows == 0
        types = [node.table.schema[k].type.arrow() for k in node.right_keys]
        self._known = KeyedRows(types, node.table.schema.arrow(), cache)
        self._reader: KeyedReader | None = None

    def open(self) -> None:
        self._evaluator = self.node.table.evaluator(self.context.time_zone)
        self._reader = self.node.table.keyed_reader(self.node.right_keys)
        self.table, self.rows = self._known, self._known

    def step(self, inputs: list[Delta]) -> Delta:
        batches = [b for b in inputs[0].batches if b.num_rows]
        if batches:
            self._ask(batches)
        joined = [self._joined(b) for b in batches]
        if self._forgets:
            self._known.forget()
        else:
            self._known.shrink()
        return Delta([b for b in joined if b.num_rows], meet([d.time for d in inputs]))

    def _ask(self, batches: list[pa.RecordBatch]) -> None:
        """For the keys of these rows that are not remembered."""
        node, now = self.node, self.context.clock.now()
        keys = [pa.concat_arrays([b.column(k) for b in batches]) for k in node.left_keys]
        rows = pa.RecordBatch.from_arrays(keys, names=[f"k{i}" for i in range(len(keys))])
        none = never_equal(rows, tuple(range(len(keys))), (False,) * len(keys))
        if none.size:
            rows = rows.filter(pa.array(~none))
        slots, at = self._known.wanted(rows.columns, rows.num_rows, now)
        if not len(slots):
            return
        assert self._reader is not None
        asked = rows.take(pa.array(at))
        found = self._evaluator.run(self._reader.rows(asked.columns))
        found = pa.RecordBatch.from_arrays(found.columns, schema=node.table.schema.arrow())
        self._known.put(slots, found, [found.column(k) for k in node.right_keys], now)

    def _right(self, index: pa.Array) -> list[pa.Array]:
        return self._known.take(index)

    def close(self) -> None:
        super().close()
        if self._reader is not None:
            self._reader.close()
            self._evaluator.close()
