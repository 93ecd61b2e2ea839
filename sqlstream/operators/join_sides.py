"""The inputs of a Join while it runs: which rows they have, by their join keys, and what an epoch changes of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa

from sqlstream.batches import OP, Delta
from sqlstream.operators.base import OperatorContext, PhysicalNode
from sqlstream.operators.pairs import never_equal, pieces
from sqlstream.operators.row_store import EMPTY, Change, Layout, RowStore
from sqlstream.operators.unlinked import FEW, Unlinked
from sqlstream.state.arrays import Array, fixed, plain
from sqlstream.state.index import HashIndex
from sqlstream.state.multimap import MultiMap
from sqlstream.state.sets import among


@dataclass(frozen=True)
class Part:
    """Some rows of an epoch with the slots of their join keys and (where stored already) their own."""

    rows: pa.RecordBatch
    counts: Array
    keys: Array
    slots: Array = field(default_factory=lambda: EMPTY)

    def __len__(self) -> int:
        return len(self.counts)

    def only(self, mask: Array) -> Part:
        """Those where `mask`, a bool a row, is True."""
        if mask.all():
            return self
        slots = self.slots[mask] if len(self.slots) else self.slots
        return Part(self.rows.filter(pa.array(mask)), self.counts[mask], self.keys[mask], slots)


class JoinSide:
    """One input: its rows, and which of them have a join key. `keys` are columns of the rows as they are kept."""

    def __init__(self, node: PhysicalNode, keys: tuple[int, ...], layout: Layout, context: OperatorContext) -> None:
        self.columns, self.append_only = node.schema.arrow(), node.traits.append_only
        self.keys = keys
        self.store = RowStore(layout, context.state(layout.spec()))
        self.map = MultiMap(removes=not layout.stays)
        self.unlinked = Unlinked(self.store)
        self.waits = False  # rows that come in this epoch need not be in the index
        self.lives = self.store.table.spec.ttl > 0  # for a time

    def open(self, index: HashIndex, may_wait: bool) -> None:
        """Finds the restored rows by their keys again: at once, or (`may_wait`) when many rows ask for them."""
        slots = self.store.table.slots()
        if may_wait:
            self.unlinked.add(slots)
        elif len(slots):
            self._link(slots, index)

    def expect(self, rows: int, index: HashIndex) -> None:
        """The other side brings so many rows in this epoch."""
        self.waits = rows <= FEW
        for slots in self.unlinked.due(not self.waits):
            self._link(slots, index)

    def _link(self, slots: Array, index: HashIndex) -> None:
        keys, _ = index.upsert(self.store.partition(slots), len(slots))
        self.map.add(keys, slots)

    def change(self, delta: Delta, null_safe: tuple[bool, ...]) -> Change:
        """The net change that an epoch brings. Where rows live for a time, one that is said again goes and comes:
        not one whose key equals nothing, which was never stored, so that it could only come."""
        c = Change.of(delta.batches, self.columns, self.append_only)
        if not self.lives:
            return c
        outside = never_equal(c.same, self.keys, null_safe)
        if outside.size:
            c = replace(c, same=c.same.filter(pa.array(~outside)))
        return c.renewing(self.store, again=True)

    def expire(self, index: HashIndex) -> Array:
        """Forgets the rows whose time is over, without a word; the join keys that they had."""
        slots = self.store.table.expired()
        if not len(slots):
            return EMPTY
        keys = index.find(self.store.partition(slots), len(slots))
        self.map.remove(keys, slots)
        self.store.delete(slots)
        return keys[keys >= 0]

    def part(self, rows: pa.RecordBatch, counts: Array, index: HashIndex) -> Part:
        """Rows with the slots of their join keys, or -1 where the side waits and nobody has the key."""
        if not rows.num_rows:
            return Part(rows, counts, EMPTY)
        columns = [rows.column(k) for k in self.keys]
        if self.waits:
            return Part(rows, counts, index.find(columns, rows.num_rows))
        return Part(rows, counts, index.upsert(columns, rows.num_rows)[0])

    def going(self, part: Part) -> tuple[Part, Part]:
        """`part` with its slots; and the rows that are not there: they never came, or their time is over."""
        slots = self.store.find(part.rows)
        counts = np.minimum(part.counts, self.store.copies(np.maximum(slots, 0)))
        there = (slots >= 0) & (counts > 0)
        return replace(part, counts=counts, slots=slots).only(there), part.only(~there)

    def coming(self, part: Part) -> Part:
        """`part` as the other side sees it come; a KeySide leaves out rows of keys that are there."""
        return part

    def copies(self, slots: Array) -> Array:
        """How often each stored row is there."""
        return self.store.copies(slots)

    def remove(self, part: Part) -> Array:
        """Unlinks the rows that went; those slots, to be deleted when the epoch is done."""
        gone = self.store.remove(part.slots, part.counts)
        self.map.remove(part.keys[gone], part.slots[gone])
        return part.slots[gone]

    def add(self, part: Part, matches: Array | None) -> Part:
        """Stores and links rows."""
        extras = None if matches is None else [pa.array(matches)]
        slots = self.store.add(part.rows, part.counts, extras)
        if self.waits:
            self.unlinked.add(slots)
        else:
            self.map.add(part.keys, slots)
        return replace(part, slots=slots)

    def free(self, gone: Array, came: Part) -> None:
        """Deletes the slots whose row went, unless another row took one over."""
        if len(gone):
            self.store.delete(gone[~among(gone, came.slots)])

    def meet(self, part: Part, keys: tuple[int, ...]) -> Iterator[tuple[Array, Array]]:
        """All pairs (row of `part`, slot of a stored row) with equal keys; `keys`: the columns of part's rows."""
        for piece in pieces(self.map.counts(part.keys)):
            at, slots = self.map.probe(part.keys[piece])
            yield at + piece.start, slots
        if self.unlinked:
            yield from self.unlinked.find(fixed(plain(part.rows.column(keys[0]))))


class KeySide(JoinSide):
    """The right side of SEMI and ANTI: a row is a key, which comes with its first row and goes with its last."""

    def __init__(self, node: PhysicalNode, keys: tuple[int, ...], layout: Layout, context: OperatorContext) -> None:
        super().__init__(node, tuple(range(len(keys))), layout, context)
        self._from = keys
        self.repeated = EMPTY  # keys that came in this epoch and were there

    def change(self, delta: Delta, null_safe: tuple[bool, ...]) -> Change:
        self.repeated, kept = EMPTY, []
        for b in delta.batches:
            names = self.store.layout.columns.names
            columns = [b.column(k) for k in self._from] or [pa.array(np.zeros(b.num_rows, np.int8))]
            if not self.append_only:
                columns, names = [*columns, b.column(OP)], [*names, OP]
            kept.append(pa.RecordBatch.from_arrays(columns, names=names))
        # Equal keys are counted together, also of an append-only input.
        c = Change.of(kept, self.store.layout.columns, False)
        return c.renewing(self.store) if self.lives else c

    def going(self, part: Part) -> tuple[Part, Part]:
        part, lost = super().going(part)
        part = part.only(self.store.remove(part.slots, part.counts))
        return replace(part, counts=np.ones(len(part), np.int64)), lost

    def coming(self, part: Part) -> Part:
        slots = self.store.find(part.rows)
        there = (slots >= 0) & (self.store.copies(np.maximum(slots, 0)) > 0)
        self.repeated = part.keys[there]
        if self.lives:
            self.store.table.touch(slots[there])
        if self.append_only:  # how often does not matter: the key never goes
            part, there = part.only(~there), np.zeros(np.count_nonzero(~there), np.bool_)
        part = replace(part, slots=self.store.add(part.rows, part.counts)).only(~there)
        return replace(part, counts=np.ones(len(part), np.int64))

    def copies(self, slots: Array) -> Array:
        return np.ones(len(slots), np.int64)

    def remove(self, part: Part) -> Array:
        self.map.remove(part.keys, part.slots)
        return part.slots

    def add(self, part: Part, matches: Array | None) -> Part:
        self.map.add(part.keys, part.slots)
        return part
