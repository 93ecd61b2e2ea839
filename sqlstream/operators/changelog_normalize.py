"""ChangelogNormalize: the changes of a table with a primary key, made whole by the key alone.

In: records in the order of their source (`_ord`); a -U says nothing. State: the last row of each key, and its place.
Out, once an epoch and key: +I for a key that was not there, -U (where it is wanted) and +U where its row is another one,
-D of the row that was there. Where lateness is judged later (`_wm`) each record gives its change with its own mark: a
window that closes between two records of a key has seen the first one.

A record that stands before the last one known of its key (split, position) comes too late to say anything, so the
answer is that of the records in order, however the splits are read. For that a deleted key is remembered, unless its
last record is in the first split, which no record can come before.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa

from sqlstream.batches import HIDDEN_TYPES, OP, ORD, WM, Delta, Kind, concat, hidden, meet, visible
from sqlstream.errors import InternalError
from sqlstream.operators.base import Operator, OperatorContext, PhysicalNode, Traits
from sqlstream.operators.distribution import Spread
from sqlstream.operators.group_aggregate import changelog, different, interleaved, kept
from sqlstream.operators.lowering import Lowering, lower
from sqlstream.operators.row_store import distinct
from sqlstream.operators.source_scan import POSITION_BITS, united, use
from sqlstream.plan import nodes
from sqlstream.plan.nodes import TUNING
from sqlstream.state.arrays import Array, grown
from sqlstream.state.spec import StateSpec


@dataclass(frozen=True)
class ChangelogNormalize(PhysicalNode):
    """`key`: the columns that identify a row. before: whether -U are wanted."""

    key: tuple[int, ...]
    before: bool = True
    ttl: int = field(default=0, kw_only=True, metadata=TUNING)
    name = "ChangelogNormalize"
    changes = ""  # the source does

    def __post_init__(self) -> None:
        below = self.inputs[0].traits
        if below.append_only or not below.arrival or not self.key:
            raise InternalError("ChangelogNormalize takes changes with their places, and a key")
        traits = Traits(False, self.key, below.row_wm, paired=not below.row_wm, before=self.before)
        self.derive(self.inputs[0].schema, traits)

    def meaning(self) -> tuple[Any, ...]:
        return replace(self, before=True).identity()

    def distribution(self) -> tuple[tuple[int, ...] | None, ...]:
        return (self.key,)

    def spread(self) -> Spread | None:
        return self.placed(0)

    def details(self) -> str:
        return f"key=[{', '.join(self.schema[k].name for k in self.key)}]"

    @property
    def values(self) -> tuple[int, ...]:
        """The other columns."""
        return tuple(i for i in range(len(self.schema)) if i not in self.key)

    def states(self) -> tuple[StateSpec, ...]:
        """`_ord`: one more than the place of the last record of the key, negative when it took the row away."""
        columns = self.schema.arrow()
        extra = [ORD, *([WM] if self.traits.row_wm else [])]
        value = [*(columns.field(i) for i in self.values), *(pa.field(n, HIDDEN_TYPES[n]) for n in extra)]
        return (
            StateSpec("rows", pa.schema([columns.field(k) for k in self.key]), pa.schema(value), cold=True).living(
                self.ttl
            ),
        )

    def lifetimes(self) -> tuple[tuple[str, int], ...]:
        return (("changelogNormalizeState", self.ttl),)

    def without_before(self) -> PhysicalNode:
        return replace(self, before=False) if self.traits.paired else self

    def operator(self, context: OperatorContext) -> Operator:
        return ChangelogNormalizeOperator(self, context)


@lower.register(nodes.ChangelogNormalize)
def _changelog_normalize(node: nodes.ChangelogNormalize, job: Lowering) -> PhysicalNode:
    """All uses of a table in a job share its rows."""
    scan = united(node.scan.source, job)
    key = tuple(scan.columns.index(node.scan.columns[k]) for k in node.key)
    rows = job.once(
        (ChangelogNormalize, id(node.scan.source)), lambda: ChangelogNormalize((scan,), key, ttl=job.ttl(None))
    )
    return use(rows, scan, node.scan, job)


class ChangelogNormalizeOperator(Operator):
    """The running half: the table of rows, by key."""

    def __init__(self, node: ChangelogNormalize, context: OperatorContext) -> None:
        super().__init__(context)
        self.node, self.table = node, context.state(node.states()[0])
        self.width = len(node.schema)
        self.marked = node.traits.row_wm
        self.out = node.arrow_schema()
        # `changelog` puts the kinds last
        self.made = pa.schema([*(f for f in self.out if f.name != OP), self.out.field(OP)])
        self.last: Array = np.zeros(256, np.int64)

    def step(self, inputs: list[Delta]) -> Delta:
        out, batch = Delta([], meet([d.time for d in inputs])), concat(inputs[0].batches)
        if batch is None:
            return out
        self.table.expire()
        op = hidden(batch, OP)
        assert op is not None
        says = op != Kind.UPDATE_BEFORE
        if not says.all():
            batch = batch.filter(pa.array(says))
        if batch.num_rows:
            out.batches += [b.select(self.out.names) for b in self._changes(batch)]
        return out

    def _changes(self, batch: pa.RecordBatch) -> list[pa.RecordBatch]:
        """What the records change, and keeps the last ones."""
        rows, op, place = visible(batch, self.width), hidden(batch, OP), hidden(batch, ORD)
        assert op is not None and place is not None
        there, mark = op != Kind.DELETE, hidden(batch, WM)
        slots, _ = self.table.upsert([rows.column(k) for k in self.node.key], rows.num_rows)
        known = self.table.fixed(ORD).data[slots]  # 0 for a new key
        steps, first, last = self._steps(slots, np.flatnonzero(place >= np.abs(known)), place)
        had = known[steps] > 0
        had[~first] = there[steps[:-1]][~first[1:]]

        found: list[pa.RecordBatch | None] = []
        at = np.flatnonzero(first)
        before = self._stored(slots[steps[at][had[at]]])
        found.append(self._change(rows, mark, steps[at], had[at], there[steps[at]], before))
        if len(at) < len(steps):  # the row before is one of this epoch
            at = np.flatnonzero(~first)
            before = self._taken(rows, mark, steps[at - 1][had[at]])
            found.append(self._change(rows, mark, steps[at], had[at], there[steps[at]], before))
        self._keep(rows, mark, slots[steps[last]], steps[last], there, place)
        return [b for b in found if b is not None]

    def _steps(self, slots: Array, new: Array, place: Array) -> tuple[Array, Array, Array]:
        """The records to apply, of a key in their order; which is the first of its key, and which the last."""
        if (np.diff(place[new]) < 0).any():
            new = new[np.argsort(place[new], kind="stable")]
        if self.marked:
            steps = new[np.argsort(slots[new], kind="stable")]
            turns = np.diff(slots[steps]) != 0
            return steps, np.concatenate([[True], turns])[: len(steps)], np.concatenate([turns, [True]])[: len(steps)]
        if len(self.last) < self.table.capacity:
            self.last = grown(self.last, self.table.capacity)
        self.last[slots[new]] = new  # of a repeated slot the last one holds
        steps = new[self.last[slots[new]] == new]
        all_ = np.ones(len(steps), np.bool_)
        return steps, all_, all_

    def _change(
        self, rows: pa.RecordBatch, mark: Array | None, steps: Array, had: Array, there: Array, before: list[pa.Array]
    ) -> pa.RecordBatch | None:
        """`before`: the rows that were there (`had`), with the marks that they came with."""
        if mark is not None:  # a row that came late is not taken back from what has not taken it in
            of_row = before[-1].to_numpy(zero_copy_only=False)
            before = [*before[:-1], pa.array(np.maximum(of_row, mark[steps[had]]))]
        stays = there[had]
        old, new = kept(before, stays), self._taken(rows, mark, steps[had & there])
        if mark is None and not self.node.ttl:  # with a time to live what stays is said again, so that it lives on
            values = self.node.values
            changed = different([old[i] for i in values], [new[i] for i in values], len(steps[had & there]))
            if not changed.all():
                old, new = kept(old, changed), kept(new, changed)
        parts = [(Kind.DELETE, kept(before, ~stays))]
        if self.node.before:
            parts.append((Kind.UPDATE_BEFORE, [interleaved(a, b) for a, b in zip(old, new, strict=True)]))
        else:
            parts.append((Kind.UPDATE_AFTER, new))
        parts.append((Kind.INSERT, self._taken(rows, mark, steps[~had & there])))
        return changelog(parts, self.made)

    def _taken(self, rows: pa.RecordBatch, mark: Array | None, at: Array) -> list[pa.Array]:
        """Columns of the rows of this epoch at `at`, and their marks."""
        marks = [] if mark is None else [pa.array(mark[at])]
        return [*rows.take(pa.array(at)).columns, *marks]

    def _stored(self, slots: Array) -> list[pa.Array]:
        """Columns of the rows that are kept in `slots`, and their marks."""
        keys, node = self.table.keys(slots), self.node
        columns = [keys[node.key.index(i)] if i in node.key else self.table.column(f"c{i}").get(slots)
                   for i in range(self.width)]  # fmt: skip
        return [*columns, *([self.table.column(WM).get(slots)] if self.marked else [])]

    def _keep(
        self, rows: pa.RecordBatch, mark: Array | None, slots: Array, at: Array, there: Array, place: Array
    ) -> None:
        """The records at `at` are the last of their keys."""
        stays = there[at]
        remembered = ~stays & (place[at] >> POSITION_BITS > 0)
        rows_in = rows.take(pa.array(at[stays]))
        marks = [] if mark is None else [pa.array(mark[at[stays]])]
        self.table.put(
            slots[stays], [*(rows_in.column(i) for i in self.node.values), pa.array(place[at[stays]] + 1), *marks]
        )
        if remembered.any():
            n = int(np.count_nonzero(remembered))
            marks = [] if mark is None else [pa.array(np.zeros(n, np.int64))]
            nothing = [pa.nulls(n, self.out.field(i).type) for i in self.node.values]
            self.table.put(slots[remembered], [*nothing, pa.array(-place[at[remembered]] - 1), *marks])
        self.table.delete(slots[~stays & ~remembered])


def last_of_keys(records: pa.RecordBatch, key: tuple[int, ...]) -> pa.RecordBatch:
    """The last record of each key, of all of a table's records in order, where it leaves a row."""
    op = hidden(records, OP)
    assert op is not None
    says = np.flatnonzero(op != Kind.UPDATE_BEFORE)
    slots, fresh = distinct([records.column(k).take(pa.array(says)) for k in key], len(says))
    last = np.zeros(np.count_nonzero(fresh), np.int64)
    last[slots] = says  # of a repeated slot the last one holds
    return records.take(pa.array(np.sort(last[op[last] != Kind.DELETE])))
