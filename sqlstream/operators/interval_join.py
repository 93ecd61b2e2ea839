"""IntervalJoin: append-only rows joined where left.time BETWEEN right.time + lower AND right.time + upper.

State: the rows of both sides that later rows may still match, and for sides whose unmatched rows are seen whether
they have a match. Out: a pair as soon as both rows are there; an unmatched row once nothing can match it any more.
Append-only.

With W the watermark (or the clock, for PROCTIME) at an epoch's end, a row with time >= W may still come. So a left
row is done when time - lower < W and a right row when time + upper < W: then it is dropped, and an unmatched one is
emitted. A row is late when its time < its own `_wm`: it is dropped and handed to `late`. (An input without `_wm`
may be up to a millisecond behind W, as window_time is one before the window's end: rows are kept that much longer.)
A row whose time or key is NULL matches nothing and is never kept.

Output time stands back from W by max(0, upper, -lower): as much as either time of a row still to come may be older.
So nothing downstream is late, and there is no `_wm`.

Rows are indexed by (keys, time bucket of the interval's width): all matches lie in two buckets, and the cost of a
row is bounded by its matches even for a key with very many rows, or without keys.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from sqlstream.batches import END, NO_WATERMARK, WM, Delta, Time, concat, hidden, meet, visible
from sqlstream.errors import InternalError
from sqlstream.expressions import Expr
from sqlstream.operators.base import Operator, OperatorContext, PhysicalNode, Traits
from sqlstream.operators.pairs import LEFT_ONLY, KeyTable, Output, Residual, check, never_equal
from sqlstream.operators.row_store import EMPTY, BatchRows, Layout, RowSource, RowStore, TimeIndex
from sqlstream.state.arrays import Array, fixed, grown, plain, validity
from sqlstream.state.index import HashIndex
from sqlstream.state.multimap import MultiMap
from sqlstream.state.spec import StateSpec
from sqlstream.types import ROWTIME, Schema

MATCHED = "_matched"
MILLISECOND = 1000


@dataclass(frozen=True)
class IntervalJoin(PhysicalNode):
    """`lower`, `upper` in µs, both included; `residual` is over left columns, then right columns."""

    kind: str
    left_keys: tuple[int, ...]
    right_keys: tuple[int, ...]
    left_time: int
    right_time: int
    lower: int
    upper: int
    residual: Expr | None
    output: Schema
    domain: str = ROWTIME
    null_safe: tuple[bool, ...] = ()

    name = "IntervalJoin"

    def __post_init__(self) -> None:
        if not self.null_safe:
            object.__setattr__(self, "null_safe", (False,) * len(self.left_keys))
        left, right = self.inputs
        check(self.kind, left.schema, right.schema, self.left_keys, self.right_keys, self.output)
        if not (left.traits.append_only and right.traits.append_only):
            raise InternalError("IntervalJoin takes append-only inputs")
        self.derive(self.output, Traits())

    def distribution(self) -> tuple[tuple[int, ...] | None, ...]:
        return (self.left_keys, self.right_keys)

    def details(self) -> str:
        left, right = (n.schema for n in self.inputs)
        on = ", ".join(
            f"{left[a].name} = {right[b].name}" for a, b in zip(self.left_keys, self.right_keys, strict=True)
        )
        s, t = left[self.left_time].name, right[self.right_time].name
        text = f"{self.kind}, on=[{on}], {s} - {t} in [{self.lower / 1e6:g} s, {self.upper / 1e6:g} s]"
        return text if self.residual is None else text + f", where={self.residual}"

    @property
    def tracked(self) -> tuple[bool, bool]:
        """Whether it is kept which left, right rows have a match."""
        return self.kind in ("LEFT", "FULL", *LEFT_ONLY), self.kind in ("RIGHT", "FULL")

    def layouts(self) -> tuple[Layout, Layout]:
        (left, right), extras = self.inputs, ((MATCHED, pa.bool_()),)
        return (
            Layout.of("left", left, self.left_keys, extras if self.tracked[0] else ()),
            Layout.of("right", right, self.right_keys, extras if self.tracked[1] else ()),
        )

    def states(self) -> tuple[StateSpec, ...]:
        left, right = self.layouts()
        return left.spec(), right.spec()

    def operator(self, context: OperatorContext) -> Operator:
        return IntervalJoinOperator(self, context)


@dataclass(frozen=True)
class Arrived:
    """On-time rows of an epoch; `matched` is filled in."""

    rows: pa.RecordBatch
    time: Array
    bucket: Array
    matched: Array

    def __len__(self) -> int:
        return len(self.time)


class Side:
    """One input. `shift`: added to its time for buckets; `reach`: added to its time gives its last matching time."""

    def __init__(
        self, node: IntervalJoin, which: int, layout: Layout, index: HashIndex, context: OperatorContext
    ) -> None:
        source = node.inputs[which]
        self.width, self.columns, self.late = len(source.schema), source.schema.arrow(), context.late
        self.keys = (node.left_keys, node.right_keys)[which]
        self.time = (node.left_time, node.right_time)[which]
        self.shift, self.reach = ((0, -node.lower), (node.lower, node.upper))[which]
        self.tracked, self.null_safe = node.tracked[which], node.null_safe
        self.judged = source.traits.row_wm and node.domain == ROWTIME
        self.bucket_width = max(node.upper - node.lower, 1)
        self.index = index
        self.store = RowStore(layout, context.state(layout.spec()))
        self.map, self.expiry = MultiMap(), TimeIndex()
        self.key_of: Array = np.zeros(256, np.int64)

    def open(self) -> None:
        slots = self.store.table.slots()
        if len(slots):
            times = self.store.table.fixed(f"c{self.time}").data[slots]
            self._link(self.store.partition(slots), times, self._bucket(times), slots)

    def _bucket(self, times: Array) -> Array:
        return (times + self.shift) // self.bucket_width

    def _link(self, keys: list[pa.Array], times: Array, bucket: Array, slots: Array) -> None:
        key_slots, _ = self.index.upsert([*keys, pa.array(bucket)], len(slots))
        self.map.add(key_slots, slots)
        self.expiry.add(times + self.reach, slots)
        if len(self.key_of) < self.store.table.capacity:
            self.key_of = grown(self.key_of, self.store.table.capacity)
        self.key_of[slots] = key_slots

    def arrive(self, delta: Delta) -> tuple[Arrived, pa.RecordBatch | None]:
        """The rows that may match, and those that never do (NULLs) if they are to be seen."""
        batch = concat(delta.batches)
        if batch is None:
            nothing = pa.RecordBatch.from_arrays([pa.array([], f.type) for f in self.columns], schema=self.columns)
            return Arrived(nothing, EMPTY, EMPTY, np.empty(0, np.bool_)), None
        rows = visible(batch, self.width)
        outside = never_equal(rows, (*self.keys, self.time), (*self.null_safe, False))
        alone = None
        if self.judged:
            wm = hidden(batch, WM)
            assert wm is not None
            late = self._times(rows) < wm
            valid = validity(rows.column(self.time))
            if valid.size:
                late &= valid
            if late.any():
                self.late(rows.filter(pa.array(late)))
                rows = rows.filter(pa.array(~late))
                outside = outside[~late] if outside.size else outside
        if outside.size:
            alone = rows.filter(pa.array(outside)) if self.tracked else None
            rows = rows.filter(pa.array(~outside))
        times = self._times(rows)
        return Arrived(rows, times, self._bucket(times), np.zeros(len(times), np.bool_)), alone

    def _times(self, rows: pa.RecordBatch) -> Array:
        return fixed(plain(rows.column(self.time)))

    def key_arrays(self, a: Arrived, bucket: Array) -> list[pa.Array]:
        return [*(a.rows.column(k) for k in self.keys), pa.array(bucket)]

    def keep(self, a: Arrived, watermark: int) -> Array:
        """Stores the rows that later ones may match. True for the others: they are done."""
        done = a.time + self.reach < watermark
        kept = pa.array(~done)
        rows = a.rows.filter(kept) if done.any() else a.rows
        if rows.num_rows:
            extras = [pa.array(a.matched[~done])] if self.tracked else None
            slots = self.store.add(rows, None, extras)
            self._link([rows.column(k) for k in self.keys], a.time[~done], a.bucket[~done], slots)
        return done

    def expired(self, watermark: int) -> Array:
        """Slots of stored rows that are done; `free` them."""
        return self.expiry.take(watermark - 1)

    def free(self, slots: Array) -> Array:
        """Forgets rows; the keys they had."""
        self.map.remove(slots, slots)
        self.store.delete(slots)
        return np.unique(self.key_of[slots])


class IntervalJoinOperator(Operator):
    def __init__(self, node: IntervalJoin, context: OperatorContext) -> None:
        super().__init__(context)
        self.node = node
        left, right = node.inputs
        arrow = left.schema.arrow()
        self.index = HashIndex([*(arrow.field(k).type for k in node.left_keys), pa.int64()])
        layouts = node.layouts()
        self.left = Side(node, 0, layouts[0], self.index, context)
        self.right = Side(node, 1, layouts[1], self.index, context)
        self.left_only = node.kind in LEFT_ONLY
        self.out = Output(node.arrow_schema(), left.schema, right.schema, self.left_only)
        self.residual = (
            None if node.residual is None else Residual(node.residual, left.schema, right.schema, context.time_zone)
        )
        self.exact = node.domain != ROWTIME or all(n.traits.row_wm for n in node.inputs)

    def open(self) -> None:
        self.left.open()
        self.right.open()

    def step(self, inputs: list[Delta]) -> Delta:
        left, right = self.left, self.right
        time = meet([d.time for d in inputs])
        ls, left_alone = left.arrive(inputs[0])
        rs, right_alone = right.arrive(inputs[1])
        if len(ls):
            at, slots = self._probe_stored(left, ls, right, -1)
            at, slots = self._emit(BatchRows(ls.rows), at, ls.time[at], right.store, slots, self._time(right, slots))
            self._matched(left, ls, at)
            self._matched_stored(right, slots)
        if len(rs):
            at, slots = self._probe_stored(right, rs, left, 1)
            slots, at = self._emit(left.store, slots, self._time(left, slots), BatchRows(rs.rows), at, rs.time[at])
            self._matched(right, rs, at)
            self._matched_stored(left, slots)
        if len(ls) and len(rs):
            table = KeyTable(right.key_arrays(rs, rs.bucket), len(rs))
            for k in (0, 1):
                for i, j in table.probe(left.key_arrays(ls, ls.bucket - k), len(ls)):
                    i, j = self._emit(BatchRows(ls.rows), i, ls.time[i], BatchRows(rs.rows), j, rs.time[j])
                    self._matched(left, ls, i)
                    self._matched(right, rs, j)
        if self.node.kind == "SEMI":
            self.out.left(BatchRows(ls.rows), np.flatnonzero(ls.matched))
        self._finish(left, ls, left_alone, time)
        self._finish(right, rs, right_alone, time)
        return Delta(self.out.take(), self._output_time(time))

    def _probe_stored(self, side: Side, a: Arrived, other: Side, step: int) -> tuple[Array, Array]:
        """Candidates for rows `a` of `side` among the stored rows of the other: those of equal keys, near in time."""
        found = [other.map.probe(self.index.find(side.key_arrays(a, a.bucket + k), len(a))) for k in (0, step)]
        at, slots = (np.concatenate(x) for x in zip(*found, strict=True))
        return at, slots

    def _time(self, side: Side, slots: Array) -> Array:
        return side.store.table.fixed(f"c{side.time}").data[slots]

    def _emit(
        self, left: RowSource, i: Array, left_time: Array, right: RowSource, j: Array, right_time: Array
    ) -> tuple[Array, Array]:
        """Emits those of the pairs that match, and gives them back."""
        apart = left_time - right_time
        holds = (apart >= self.node.lower) & (apart <= self.node.upper)
        i, j = i[holds], j[holds]
        if self.residual is not None:
            holds = self.residual.holds(left, i, right, j)
            i, j = i[holds], j[holds]
        if not self.left_only:
            self.out.pairs(left, i, right, j)
        return i, j

    def _matched(self, side: Side, a: Arrived, at: Array) -> None:
        if side.tracked:
            a.matched[at] = True

    def _matched_stored(self, side: Side, slots: Array) -> None:
        if not side.tracked or not len(slots):
            return
        flag = side.store.table.fixed(MATCHED)
        slots = np.unique(slots)
        slots = slots[~flag.data[slots]]
        flag.data[slots] = True
        side.store.table.touch(slots)
        if self.node.kind == "SEMI":
            self.out.left(side.store, slots)

    def _finish(self, side: Side, a: Arrived, alone: pa.RecordBatch | None, time: Time) -> None:
        """Stores what may still match, drops what may not; the unmatched of these are emitted."""
        emit = self.out.left if side is self.left else self.out.right
        emits = side.tracked and self.node.kind != "SEMI"
        watermark = self._watermark(time)
        done = side.keep(a, watermark)
        if emits:
            emit(BatchRows(a.rows), np.flatnonzero(done & ~a.matched))
            if alone is not None:
                emit(BatchRows(alone), np.arange(alone.num_rows))
        if watermark == NO_WATERMARK:
            return
        slots = side.expired(watermark)
        if not len(slots):
            return
        if emits:
            emit(side.store, slots[~side.store.table.fixed(MATCHED).data[slots]])
        keys = side.free(slots)
        empty = (self.left.map.counts(keys) == 0) & (self.right.map.counts(keys) == 0)
        self.index.delete(keys[empty])

    def _watermark(self, time: Time) -> int:
        """No row that is still to come has a smaller time."""
        mark = time.of(self.node.domain)
        return mark if self.exact or mark in (END, NO_WATERMARK) else max(mark - MILLISECOND, NO_WATERMARK)

    def _output_time(self, time: Time) -> Time:
        if time.watermark in (END, NO_WATERMARK):
            return time
        behind = max(0, self.node.upper, -self.node.lower) + (0 if self.exact else MILLISECOND)
        return replace(time, watermark=max(time.watermark - behind, NO_WATERMARK))

    def close(self) -> None:
        if self.residual is not None:
            self.residual.close()
