"""TemporalJoin: each left row beside the version of the right that was valid at its time, INNER or LEFT.

In: append-only rows of both sides; a right row is a version of its key from its time on, and may say (`there`) that
there is no row. State:

    left, right   rows that wait for time to pass their mark
    versions      of each key the version that is valid where time stands, also one that says that there is no row

Out: a left row once time has passed its own, with its `_wm` and place, once and for all. Append-only.

The mark of a row is the watermark that it came with, and of one on time just before its own time. Rows of both sides
take effect in the order of their marks (of equal ones versions first), as Flink would see them if all splits were read
in the order of their watermarks (docs/decisions/018). So a version that comes late is for the left rows after that,
if no newer one is there. A left row that comes late meets the version of its time if that is the newest still by its
mark; else it is late, as that version was forgotten.

Rows that can meet nothing, their key or time being NULL, are dropped, or of a LEFT join's left side padded; without a
time at once.

An ASOF join goes the same way: any right row is a version, of equal times the first by its columns holds. Where it asks for
one before the left row (`>`), a version takes effect just after its time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sqlstream.batches import END, NO_WATERMARK, ORD, WM, Delta, concat, hidden, meet, visible
from sqlstream.errors import InternalError, NotSupported
from sqlstream.operators.base import Operator, OperatorContext, PhysicalNode, Traits
from sqlstream.operators.equi_join import EquiJoin
from sqlstream.operators.lowering import Lowering, first_changing, lower
from sqlstream.operators.ordering import LEAST, sort, sortable
from sqlstream.operators.pairs import never_equal
from sqlstream.operators.row_store import EMPTY, BatchRows, Layout, RowStore, distinct
from sqlstream.plan import nodes
from sqlstream.plan.nodes import LATER, SortKey
from sqlstream.state.arrays import Array, fixed, plain, validity
from sqlstream.state.spec import StateSpec
from sqlstream.state.time_index import TimeIndex
from sqlstream.types import Column, Schema


@dataclass(frozen=True)
class TimedJoin(EquiJoin):
    """A join by equal keys that compares a time of each side."""

    left_time: int
    right_time: int


@dataclass(frozen=True)
class TemporalJoin(TimedJoin):
    """The keys are those of the versions; `left_time`, `right_time`, `there`: columns of their sides. `asof`: >= or > of an
    ASOF join, None of any other."""

    there: int | None
    output: Schema
    asof: str | None = field(default=None, metadata=LATER)

    name = "TemporalJoin"
    changes = ""

    def waits(self) -> bool:
        return True

    def __post_init__(self) -> None:
        self.check(self.output)
        if self.kind not in ("INNER", "LEFT"):
            raise InternalError(f"TemporalJoin: {self.kind}")
        if not all(n.traits.append_only for n in self.inputs):
            raise InternalError("TemporalJoin takes append-only inputs")
        left = self.inputs[0].traits
        self.derive(self.output, Traits(key=left.key, row_wm=left.row_wm, arrival=left.arrival))

    def drops_late(self) -> tuple[int, ...]:
        return (0,) if self.inputs[0].traits.row_wm else ()

    def own_details(self) -> tuple[str, ...]:
        left, right = self.inputs[0].schema[self.left_time].name, self.inputs[1].schema[self.right_time].name
        return (f"time={left}", f"versions={right}") if self.asof is None else (f"nearest={left} {self.asof} {right}",)

    @property
    def by_arrival(self) -> bool:
        """Whether of versions of one time the last that came holds."""
        return self.asof is None and self.inputs[1].traits.arrival

    def layouts(self) -> tuple[Layout, Layout]:
        """How rows wait, with their marks and places."""

        def layout(name: str, which: int, keys: tuple[int, ...]) -> Layout:
            placed = self.by_arrival if which else self.inputs[0].traits.arrival
            place = ((ORD, pa.int64()),) if placed else ()
            return Layout.of(name, self.inputs[which], keys, ((WM, pa.int64()), *place))

        return layout("left", 0, self.left_keys), layout("right", 1, self.right_keys)

    def states(self) -> tuple[StateSpec, ...]:
        left, right = self.layouts()
        columns = self.inputs[1].schema.arrow()
        key = pa.schema([columns.field(k) for k in self.right_keys])
        place = [pa.field(ORD, pa.int64())] if self.by_arrival else []
        value = pa.schema([*(f for i, f in enumerate(columns) if i not in self.right_keys), *place])
        return left.spec(), right.spec(), StateSpec("versions", key, value, cold=bool(self.right_keys))

    def state_column(self, state: str, name: str) -> Column | None:
        return super().state_column("right" if state == "versions" else state, name)

    def operator(self, context: OperatorContext) -> Operator:
        return TemporalJoinOperator(self, context)


@lower.register(nodes.TemporalJoin)
def _temporal_join(node: nodes.TemporalJoin, job: Lowering) -> PhysicalNode:
    left, right = job.lower(node.input), job.lower(node.right)
    for side, rows in ((left, "left rows"), (right, "versions")):
        if not side.traits.append_only:
            raise NotSupported(
                f"a temporal join takes {rows} that only come: {first_changing(side).changes}",
                hint="join what comes once and for all; versions also come from a table with PRIMARY KEY and WATERMARK itself",
            )
    return TemporalJoin(
        (left, right), node.kind, node.left_keys, node.right_keys, node.null_safe, node.residual, node.left_time,
        node.right_time, node.there, node.schema,
    )  # fmt: skip


class Waiting:
    """Rows of one side until time passes their marks. A batch of them has `_wm` (the mark) and `_ord` behind its columns."""

    def __init__(self, node: TimedJoin, which: int, layout: Layout, context: OperatorContext) -> None:
        columns, traits = layout.columns, node.inputs[which].traits
        self.width, self.time = len(columns), (node.left_time, node.right_time)[which]
        self.keys, self.null_safe = (node.left_keys, node.right_keys)[which], node.null_safe
        self.pads = which == 0 and node.kind == "LEFT"
        self.judged, self.arrival = traits.row_wm, any(n == ORD for n, _ in layout.extras)
        extras = [pa.field(n, t) for n, t in layout.extras]
        self.schema = pa.schema([*columns, *extras])
        self.store = RowStore(layout, context.state(layout.spec()))
        self.due = TimeIndex()

    def open(self) -> None:
        """Finds the restored rows by their marks again."""
        slots = self.store.table.slots()
        self.due.add(self.store.table.fixed(WM).data[slots], slots)

    def take(self, delta: Delta, closed: int, upto: int) -> tuple[pa.RecordBatch, pa.RecordBatch]:
        """The rows with marks below `upto`, which was `closed` before; and those that are padded at once."""
        nothing = pa.RecordBatch.from_arrays([pa.array([], f.type) for f in self.schema], schema=self.schema)
        due, alone = [nothing], nothing
        batch = concat(delta.batches)
        if batch is not None:
            rows, alone = self._marked(batch, closed)
            now = rows.column(self.width).to_numpy() < upto
            due.append(rows.filter(pa.array(now)))
            self._wait(rows.filter(pa.array(~now)))
        if upto > closed:
            slots = self.due.take(upto - 1)
            if len(slots):
                values = [self.store.table.column(n).get(slots) for n in self.schema.names[self.width :]]
                columns = [*self.store.rows(slots).columns, *values]
                due.append(pa.RecordBatch.from_arrays(columns, schema=self.schema))
                self.store.delete(slots)
        return pa.concat_batches(due), alone

    def _marked(self, batch: pa.RecordBatch, closed: int) -> tuple[pa.RecordBatch, pa.RecordBatch]:
        """`batch` with marks: the rows that have a time and may match, or are padded; and the others, if they are padded."""
        column = plain(batch.column(self.time))
        marks = hidden(batch, WM) if self.judged else None
        bounds = np.full(batch.num_rows, closed) if marks is None else np.maximum(marks, closed)
        timeless = ~validity(column) if column.null_count else np.zeros(batch.num_rows, np.bool_)
        times = fixed(column)
        mark = np.where(timeless | (times <= bounds), bounds, times - 1)
        columns = [*visible(batch, self.width).columns, pa.array(mark)]
        if self.arrival:
            columns.append(batch.column(batch.schema.get_field_index(ORD)))
        rows = pa.RecordBatch.from_arrays(columns, schema=self.schema)
        alone = rows.filter(pa.array(timeless)) if self.pads else rows.slice(0, 0)
        drop = timeless
        if not self.pads:
            outside = never_equal(batch, self.keys, self.null_safe)
            drop = drop | outside if outside.size else drop
        return (rows.filter(pa.array(~drop)) if drop.any() else rows), alone

    def _wait(self, rows: pa.RecordBatch) -> None:
        if rows.num_rows:
            slots = self.store.add(visible(rows, self.width), None, rows.columns[self.width :])
            self.due.add(rows.column(self.width).to_numpy(), slots)


class TemporalJoinOperator(Operator):
    """The running half: rows whose marks time has passed, of both sides, are gone through in the order of their marks."""

    def __init__(self, node: TemporalJoin, context: OperatorContext) -> None:
        super().__init__(context)
        self.node = node
        self.out, self.width = node.arrow_schema(), len(node.inputs[0].schema)
        layouts = node.layouts()
        self.left, self.right = Waiting(node, 0, layouts[0], context), Waiting(node, 1, layouts[1], context)
        self.versions = context.state(node.states()[2])
        self.residual = node.residual_in(context.time_zone)
        self.exact = all(n.traits.row_wm for n in node.inputs)
        # A task that another's rows come to has not closed what that one has not.
        self.closed = min((int(r["closed"]) for r in context.restored), default=NO_WATERMARK)

    def open(self) -> None:
        self.left.open()
        self.right.open()

    def snapshot(self) -> dict[str, Any]:
        return {"closed": self.closed}

    def step(self, inputs: list[Delta]) -> Delta:
        time = meet([d.time for d in inputs])
        upto = time.watermark
        if not self.exact and upto != END:
            upto = max(upto, -END) - 1  # a row that carries no watermark may have the time's own
        upto = max(upto, self.closed)
        rows, alone = self.left.take(inputs[0], self.closed, upto)
        versions, _ = self.right.take(inputs[1], self.closed, upto)
        self.closed = upto
        out = [self._joined(alone, None, EMPTY, np.zeros(alone.num_rows, np.bool_))] if alone.num_rows else []
        if rows.num_rows or versions.num_rows:
            out.append(self._join(rows, versions))
        return Delta([b for b in out if b.num_rows], time)

    def _join(self, rows: pa.RecordBatch, versions: pa.RecordBatch) -> pa.RecordBatch:
        """The rows joined, and the newest versions kept."""
        node, n = self.node, rows.num_rows
        keys = [
            pa.concat_arrays([plain(rows.column(a)), plain(versions.column(b))])
            for a, b in zip(node.left_keys, node.right_keys, strict=True)
        ]
        group, first = distinct(keys, n + versions.num_rows)
        distinct_keys = [k.filter(pa.array(first)) for k in keys]
        slots = self.versions.find(distinct_keys, int(np.count_nonzero(first)))
        known = np.flatnonzero(slots >= 0)
        when = np.concatenate([np.full(len(known), LEAST), self._effect(versions)])
        versions = pa.concat_batches([self._stored(slots[known]), versions.drop_columns([WM])])
        of = np.concatenate([known, group[n:]])
        found = self._newest(
            versions, of, when, group[:n], rows.column(self.left.width).to_numpy(), len(slots), len(known)
        )
        return self._emitted(rows, versions, found)

    def _effect(self, versions: pa.RecordBatch) -> Array:
        """The marks from which on rows see versions."""
        marks = versions.column(self.right.width).to_numpy()
        if self.node.asof != ">":
            return np.asarray(marks)
        on_time = marks == fixed(versions.column(self.node.right_time)) - 1
        return np.asarray(marks + on_time)

    def _newest(
        self, versions: pa.RecordBatch, of: Array, when: Array, group: Array, marks: Array, groups: int, stored: int
    ) -> Array:
        """For each row (its key `group`, its mark) the newest version (keys `of`, from `when` on) there is by then, or -1.

        The newest of all are kept; the first `stored` versions are.
        """
        keys = [fixed(versions.column(self.node.right_time)), *self._ties(versions)]
        order, _ = sort(of, keys, groups)
        rank = np.empty(len(of), np.int64)
        rank[order] = np.arange(len(of))
        # All in the order of their marks, by key: ranks of versions grow with the key, so that the greatest rank so far is
        # of this key or there is none of it.
        side = np.repeat([0, 1], [len(of), len(group)])
        all_groups = np.concatenate([of, group])
        events, _ = sort(all_groups, [np.concatenate([when, marks]), side], groups)
        best = np.maximum.accumulate(np.concatenate([rank, np.full(len(group), -1)])[events])
        newest = order[best] if len(order) else best
        here = all_groups[events]
        newest = np.where((best >= 0) & (of[newest] == here), newest, -1) if len(order) else best
        rows = events >= len(of)
        found = np.empty(len(group), np.int64)
        found[events[rows] - len(of)] = newest[rows]
        last = newest[np.flatnonzero(np.diff(here, append=-1))]
        self._keep(versions.take(pa.array(last[last >= stored])))
        return found

    def _ties(self, versions: pa.RecordBatch) -> list[Array]:
        """What comes later among versions of one time: the arrival, else as batch has it the first by all columns."""
        if self.right.arrival:
            return [versions.column(self.right.width).to_numpy()]
        return [k for c in versions.columns for k in sortable(plain(c), SortKey(0, False, True))]

    def _stored(self, slots: Array) -> pa.RecordBatch:
        keys, where = self.versions.keys(slots), self.node.right_keys
        columns = [keys[where.index(i)] if i in where else self.versions.column(f"c{i}").get(slots)
                   for i in range(self.right.width)]  # fmt: skip
        rest = [f for f in self.right.schema if f.name != WM]
        columns += [self.versions.column(f.name).get(slots) for f in rest[self.right.width :]]
        return pa.RecordBatch.from_arrays(columns, schema=pa.schema(rest))

    def _keep(self, versions: pa.RecordBatch) -> None:
        if versions.num_rows:
            keys = self.node.right_keys
            slots, _ = self.versions.upsert([versions.column(k) for k in keys], versions.num_rows)
            self.versions.put(slots, [c for i, c in enumerate(versions.columns) if i not in keys])

    def _emitted(self, rows: pa.RecordBatch, versions: pa.RecordBatch, found: Array) -> pa.RecordBatch:
        node, met = self.node, found >= 0
        times = fixed(plain(rows.column(node.left_time)))
        late = np.zeros(len(found), np.bool_)
        behind = fixed(versions.column(node.right_time))[found[met]]
        late[met] = behind >= times[met] if node.asof == ">" else behind > times[met]
        if late.any():
            dropped = rows.filter(pa.array(late))
            self.context.late(dropped, dropped.column(self.left.width).to_numpy())
            rows, found, met = rows.filter(pa.array(~late)), found[~late], met[~late]
        if node.there is not None:
            there = pc.fill_null(versions.column(node.there), False).to_numpy(zero_copy_only=False)
            met[met] = there[found[met]]
        if self.residual is not None:
            at = np.flatnonzero(met)
            met[at] = self.residual.holds(BatchRows(rows), at, BatchRows(versions), found[at])
        if node.kind == "INNER":
            rows, found, met = rows.filter(pa.array(met)), found[met], met[met]
        return self._joined(rows, versions, found, met)

    def _joined(
        self, rows: pa.RecordBatch, versions: pa.RecordBatch | None, found: Array, met: Array
    ) -> pa.RecordBatch:
        """Rows beside the versions that they have met."""
        types = [f.type for f in list(self.out)[self.width : self.width + self.right.width]]
        if versions is None or not versions.num_rows:
            right = [pa.nulls(rows.num_rows, t) for t in types]
        else:
            at = pa.array(np.where(met, found, 0), mask=None if met.all() else ~met)
            right = [c.take(at) for c in versions.columns[: self.right.width]]
        columns = [*rows.columns[: self.width], *right]
        columns += [rows.column(rows.schema.get_field_index(h)) for h in self.node.traits.hidden]
        return pa.RecordBatch.from_arrays(columns, schema=self.out)

    def close(self) -> None:
        if self.residual is not None:
            self.residual.close()
