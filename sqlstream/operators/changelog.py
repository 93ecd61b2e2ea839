"""Changelog: the last operator before the sink or result of a plan that is not append-only.

In: an epoch's changes in any order (those of a GroupAggregate are as they should be, and go through). Kept: nothing.
Out: the net change, ordered so that who applies it row by row is right at each step: all -D first, then for each key
its -U (if the reader wants it) directly before its +U, then all +I.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from sqlstream.batches import HIDDEN_TYPES, OP, Delta, Kind, concat, meet, signs, visible
from sqlstream.errors import InternalError
from sqlstream.operators.base import Operator, OperatorContext, PhysicalNode, Traits
from sqlstream.operators.distribution import Spread
from sqlstream.operators.row_store import MOST_KEYS, net
from sqlstream.state.arrays import Array
from sqlstream.state.index import HashIndex

FEW_GO = 8  # at most one change in so many takes a row away: the others are looked through for what they meet


@dataclass(frozen=True)
class Changelog(PhysicalNode):
    """`key`: columns that identify a row of the result; () pairs nothing, and every change is a -D or +I, unless
    the result is a `single` row."""

    key: tuple[int, ...] = ()
    before: bool = True

    name = "Changelog"
    changes = ""

    def __post_init__(self) -> None:
        (input_,) = self.inputs
        if any(k >= len(input_.schema) for k in self.key):
            raise InternalError(f"Changelog: no columns {self.key}")
        below = input_.traits
        self.derive(input_.schema, Traits(below.append_only, self.key, single=below.single, before=self.before))

    @property
    def passes(self) -> bool:
        """Whether the input is as it should be."""
        below = self.inputs[0].traits
        return below.paired and self.key == below.key and below.before == self.before

    def meaning(self) -> tuple[Any, ...]:
        return replace(self, before=True).identity()

    def distribution(self) -> tuple[tuple[int, ...] | None, ...]:
        return (self.key or None,)

    def spread(self) -> Spread | None:
        return self.placed(0)

    def details(self) -> str:
        return f"key=[{', '.join(self.schema[k].name for k in self.key)}]"

    def without_before(self) -> PhysicalNode:
        inputs = (self.inputs[0].without_before(),) if self.passes else self.inputs
        return replace(self, inputs=inputs, before=False)

    def operator(self, context: OperatorContext) -> Operator:
        return ChangelogOperator(self, context)


class ChangelogOperator(Operator):
    """The running half: nothing is kept from one epoch to the next."""

    def __init__(self, node: Changelog, context: OperatorContext) -> None:
        super().__init__(context)
        self.node = node

    def step(self, inputs: list[Delta]) -> Delta:
        width, time = len(self.node.schema), meet([d.time for d in inputs])
        if self.node.traits.append_only:
            return Delta([visible(b, width) for b in inputs[0].batches], time)
        if self.node.passes:
            return Delta(inputs[0].batches, time)
        meeting, others = self._apart([b for b in inputs[0].batches if b.num_rows])
        batch = concat(meeting)
        if batch is None:
            return Delta(others, time)
        rows, counts = net(batch, width)
        out = paired(*repeated(rows, counts), self.node.key, self.node.traits.single, self.node.before)
        return Delta([*([out] if out.num_rows else []), *others], time)

    def _apart(self, batches: list[pa.RecordBatch]) -> tuple[list[pa.RecordBatch], list[pa.RecordBatch]]:
        """The changes among which some may cancel or pair, and inserts that meet none: they need not be put together.

        A join may make very many of those, and take few rows away.
        """
        node, width = self.node, len(self.node.schema)
        goes = [takes_away(b) for b in batches]
        gone, all_ = sum(int(g.sum()) for g in goes), sum(b.num_rows for b in batches)
        identity = node.key or tuple(range(width))
        if node.traits.single or len(identity) > MOST_KEYS or gone * FEW_GO > all_:
            return batches, []
        taken = [b.filter(pa.array(g)) for b, g in zip(batches, goes, strict=True) if g.any()]
        index = HashIndex([node.schema[i].type.arrow() for i in identity])
        for b in taken:
            index.upsert([b.column(i) for i in identity], b.num_rows)
        meeting, others = taken, []
        for b, g in zip(batches, goes, strict=True):
            known = index.find([b.column(i) for i in identity], b.num_rows) >= 0 if gone else g
            if known.any():
                meeting.append(b.filter(pa.array(known & ~g)))
                b = b.filter(pa.array(~(known | g)))
            others.append(with_operations(visible(b, width), np.zeros(b.num_rows, np.int8)))
        return meeting, [b for b in others if b.num_rows]


def takes_away(batch: pa.RecordBatch) -> Array:
    """Which changes are a -U or -D."""
    sign = signs(batch)
    return np.zeros(batch.num_rows, np.bool_) if sign is None else np.asarray(sign < 0)


def consolidate(batch: pa.RecordBatch, width: int) -> pa.RecordBatch:
    """The net change of `batch`: visible columns and `_op`; inserts and deletes of equal rows cancel."""
    rows, counts = net(batch, width)
    rows, sign = repeated(rows, counts)
    return with_operations(rows, np.where(sign > 0, np.int8(Kind.INSERT), np.int8(Kind.DELETE)))


def repeated(rows: pa.RecordBatch, counts: Array) -> tuple[pa.RecordBatch, Array]:
    """Row i |counts[i]| times, and the sign of each."""
    many = np.abs(counts)
    if (many != 1).any():
        rows, counts = rows.take(pa.array(np.repeat(np.arange(len(counts)), many))), np.repeat(counts, many)
    return rows, np.sign(counts)


def paired(
    rows: pa.RecordBatch, sign: Array, key: tuple[int, ...], single: bool = False, want_before: bool = True
) -> pa.RecordBatch:
    """Net changes (visible columns) in the order of the module's docstring, with `_op`."""
    gone, come = np.flatnonzero(sign < 0), np.flatnonzero(sign > 0)
    before = after = np.empty(0, np.int64)
    if single and len(gone) == len(come) == 1:
        before, after = gone, come
        gone = come = np.empty(0, np.int64)
    elif key and len(gone) and len(come):
        index = HashIndex([rows.column(k).type for k in key])
        slots, _ = index.upsert([rows.column(k) for k in key], rows.num_rows)
        # The first deleted and the first inserted row of each key, -1 where there is none: written back to front.
        first = np.full((2, index.index.size), -1, np.int64)
        first[0, slots[gone[::-1]]] = gone[::-1]
        first[1, slots[come[::-1]]] = come[::-1]
        before, after = first[:, (first >= 0).all(axis=0)]
        left = np.ones(rows.num_rows, np.bool_)
        left[before] = left[after] = False
        gone, come = gone[left[gone]], come[left[come]]
    updates = np.stack([before, after], axis=1).reshape(-1) if want_before else after
    order = np.concatenate([gone, updates, come])
    op = np.full(len(order), Kind.INSERT, np.int8)
    n, end = len(gone), len(gone) + len(updates)
    op[:n], op[n:end] = Kind.DELETE, Kind.UPDATE_AFTER
    if want_before:
        op[n:end:2] = Kind.UPDATE_BEFORE
    return with_operations(rows.take(pa.array(order)), op)


def with_operations(rows: pa.RecordBatch, op: Array) -> pa.RecordBatch:
    """The rows with `_op`, int8, behind their columns."""
    return rows.append_column(pa.field(OP, HIDDEN_TYPES[OP]), pa.array(op, HIDDEN_TYPES[OP]))
