"""IntervalJoin: append-only rows joined where left.time BETWEEN right.time + lower AND right.time + upper.

State: the rows of both sides that later rows may still match, with the watermark that each came with, and for sides
whose unmatched rows are seen whether they have a match. Out: a pair as soon as both rows are there; an unmatched row
once nothing can match it any more. Append-only.

With W the watermark (or the clock, for PROCTIME) at an epoch's end, a row with time >= W may still come on time. So a
left row is there until W is past time - lower, and a right row until W is past time + upper: then it is forgotten, and
an unmatched one is emitted. (An input without `_wm` may be up to a millisecond behind W, as window_time is one before
the window's end: rows are kept that much longer.) A row whose time or key is NULL matches nothing and is never kept.

No row is late. One that is behind the watermark meets the partners that are still there by its own `_wm`: a pair is
joined when neither row's time to be there had ended by the watermark that the other came with. W is never past that
watermark, so such a partner is in the state, whatever other splits do (docs/decisions/018). A row that finds none is
emitted like any other without a match.

Output time stands back from W, and a row's `_wm` from its rows' watermarks, by max(0, upper, -lower): as much as
either time of a row on time may be older; and by a microsecond more, as a row may have the watermark's own time.

Rows are indexed by (keys, time bucket of the interval's width): all matches lie in two buckets, and the cost of a
row is bounded by its matches even for a key with very many rows, or without keys.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from sqlstream.batches import END, NO_WATERMARK, WM, Delta, Time, concat, hidden, meet, visible
from sqlstream.errors import InternalError
from sqlstream.literals import interval_text
from sqlstream.operators.base import Operator, OperatorContext, Traits
from sqlstream.operators.equi_join import EquiJoin
from sqlstream.operators.pairs import KeyTable, Output, never_equal
from sqlstream.operators.row_store import EMPTY, BatchRows, Layout, RowSource, RowStore
from sqlstream.state.arrays import Array, fixed, grown, plain
from sqlstream.state.index import HashIndex
from sqlstream.state.multimap import MultiMap
from sqlstream.state.sets import ascending
from sqlstream.state.spec import StateSpec
from sqlstream.state.time_index import TimeIndex
from sqlstream.types import PROCTIME, ROWTIME, Schema

MATCHED = "_matched"
MILLISECOND = 1000


@dataclass(frozen=True)
class IntervalJoin(EquiJoin):
    """`lower`, `upper` in µs, both included, on the time columns of `domain`."""

    left_time: int
    right_time: int
    lower: int
    upper: int
    domain: str
    output: Schema

    name = "IntervalJoin"
    changes = ""

    def waits(self) -> bool:
        return self.domain != PROCTIME

    def __post_init__(self) -> None:
        self.check(self.output)
        if not all(n.traits.append_only for n in self.inputs):
            raise InternalError("IntervalJoin takes append-only inputs")
        if self.left_only:
            raise InternalError(f"IntervalJoin: {self.kind}")
        self.derive(self.output, Traits(row_wm=any(self.judged)))

    def own_details(self) -> tuple[str, ...]:
        s, t = self.inputs[0].schema[self.left_time].name, self.inputs[1].schema[self.right_time].name
        return (f"{s} - {t} BETWEEN {interval_text(self.lower)} AND {interval_text(self.upper)}",)

    @property
    def tracked(self) -> tuple[bool, bool]:
        """Whether left, right rows without a match are seen."""
        return self.kind in ("LEFT", "FULL"), self.kind in ("RIGHT", "FULL")

    @property
    def judged(self) -> tuple[bool, bool]:
        """Whether left, right rows carry the watermark that says which partners are there."""
        return tuple(self.domain == ROWTIME and n.traits.row_wm for n in self.inputs)  # type: ignore[return-value]

    @property
    def behind(self) -> int:
        """How far the output's time stands back, µs."""
        return max(0, self.upper, -self.lower) + 1

    def layouts(self) -> tuple[Layout, Layout]:
        """How the rows of left and right are kept."""

        def layout(name: str, which: int, keys: tuple[int, ...]) -> Layout:
            matched = ((MATCHED, pa.bool_()),) if self.tracked[which] else ()
            mark = ((WM, pa.int64()),) if self.judged[which] else ()
            return Layout.of(name, self.inputs[which], keys, (*matched, *mark))

        return layout("left", 0, self.left_keys), layout("right", 1, self.right_keys)

    def states(self) -> tuple[StateSpec, ...]:
        left, right = self.layouts()
        return left.spec(), right.spec()

    def operator(self, context: OperatorContext) -> Operator:
        return IntervalJoinOperator(self, context)


@dataclass(frozen=True)
class Chosen:
    """Rows of one side: where they are, and for each its place there, its time and the watermark that it came with
    (None: the side's rows carry none)."""

    source: RowSource
    at: Array
    time: Array
    mark: Array | None

    def of(self, which: Array) -> Chosen:
        """Some of them, by mask or number."""
        return Chosen(self.source, self.at[which], self.time[which], None if self.mark is None else self.mark[which])


@dataclass(frozen=True)
class Arrived:
    """Rows of an epoch that may match; `matched` is filled in."""

    rows: pa.RecordBatch
    time: Array
    bucket: Array
    mark: Array | None
    matched: Array

    def __len__(self) -> int:
        return len(self.time)

    def at(self, at: Array) -> Chosen:
        """Some of them, by number."""
        return Chosen(BatchRows(self.rows), at, self.time[at], None if self.mark is None else self.mark[at])


class IntervalSide:
    """One input. `shift`: added to its time for buckets; `reach`: added to its time gives its last matching time."""

    def __init__(
        self, node: IntervalJoin, which: int, layout: Layout, index: HashIndex, context: OperatorContext
    ) -> None:
        source = node.inputs[which]
        self.width, self.columns = len(source.schema), source.schema.arrow()
        self.keys = (node.left_keys, node.right_keys)[which]
        self.time = (node.left_time, node.right_time)[which]
        self.shift, self.reach = ((0, -node.lower), (node.lower, node.upper))[which]
        self.tracked, self.judged, self.null_safe = node.tracked[which], node.judged[which], node.null_safe
        self.bucket_width = max(node.upper - node.lower, 1)
        self.index = index
        self.store = RowStore(layout, context.state(layout.spec()))
        self.map, self.expiry = MultiMap(), TimeIndex()
        self.key_of: Array = np.zeros(256, np.int64)

    def open(self) -> None:
        """Finds the restored rows by key and time again."""
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

    def arrive(self, delta: Delta) -> tuple[Arrived, Chosen | None]:
        """The rows that may match, and those that never do (NULLs) if they are to be seen."""
        batch = concat(delta.batches)
        if batch is None:
            nothing = pa.RecordBatch.from_arrays([pa.array([], f.type) for f in self.columns], schema=self.columns)
            return Arrived(nothing, EMPTY, EMPTY, EMPTY if self.judged else None, np.empty(0, np.bool_)), None
        rows, mark = visible(batch, self.width), hidden(batch, WM) if self.judged else None
        outside = never_equal(rows, (*self.keys, self.time), (*self.null_safe, False))
        alone = None
        if outside.size:
            if self.tracked:
                at = np.flatnonzero(outside)
                # Their times are not asked for: some have none.
                alone = Chosen(BatchRows(rows), at, EMPTY, None if mark is None else mark[at])
            rows, mark = rows.filter(pa.array(~outside)), None if mark is None else mark[~outside]
        times = fixed(plain(rows.column(self.time)))
        return Arrived(rows, times, self._bucket(times), mark, np.zeros(len(times), np.bool_)), alone

    def key_arrays(self, a: Arrived, bucket: Array) -> list[pa.Array]:
        """The columns that rows `a` are looked up by in `bucket`: their keys, and it."""
        return [*(a.rows.column(k) for k in self.keys), pa.array(bucket)]

    def stored(self, slots: Array) -> Chosen:
        """The rows at `slots`."""
        table = self.store.table
        mark = table.fixed(WM).data[slots] if self.judged else None
        return Chosen(self.store, slots, table.fixed(f"c{self.time}").data[slots], mark)

    def keep(self, a: Arrived, watermark: int) -> Array:
        """Stores the rows that later ones may match. True for the others: they are done."""
        done = a.time + self.reach < watermark
        kept = ~done
        rows = a.rows.filter(pa.array(kept)) if done.any() else a.rows
        if rows.num_rows:
            extras = [pa.array(x[kept]) for x in (a.matched if self.tracked else None, a.mark) if x is not None]
            slots = self.store.add(rows, None, extras)
            self._link([rows.column(k) for k in self.keys], a.time[kept], a.bucket[kept], slots)
        return done

    def expired(self, watermark: int) -> Array:
        """Slots of stored rows that are done; `free` them."""
        return self.expiry.take(watermark - 1)

    def free(self, slots: Array) -> Array:
        """Forgets rows; the keys they had."""
        self.map.remove(slots, slots)
        self.store.delete(slots)
        return ascending(self.key_of[slots])


class IntervalJoinOperator(Operator):
    """The running half: each side's new rows meet what is stored of the other, then each other."""

    def __init__(self, node: IntervalJoin, context: OperatorContext) -> None:
        super().__init__(context)
        self.node = node
        left, right = node.inputs
        arrow = left.schema.arrow()
        self.index = HashIndex([*(arrow.field(k).type for k in node.left_keys), pa.int64()])
        layouts = node.layouts()
        self.left = IntervalSide(node, 0, layouts[0], self.index, context)
        self.right = IntervalSide(node, 1, layouts[1], self.index, context)
        self.out = Output(node.arrow_schema(), left.schema, right.schema, False)
        self.residual = node.residual_in(context.time_zone)
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
            at, slots = self._join(ls.at(at), right.stored(slots))
            self._matched(left, ls, at)
            self._matched_stored(right, slots)
        if len(rs):
            at, slots = self._probe_stored(right, rs, left, 1)
            slots, at = self._join(left.stored(slots), rs.at(at))
            self._matched(right, rs, at)
            self._matched_stored(left, slots)
        if len(ls) and len(rs):
            table = KeyTable(right.key_arrays(rs, rs.bucket), len(rs))
            for k in (0, 1):
                for i, j in table.probe(left.key_arrays(ls, ls.bucket - k), len(ls)):
                    i, j = self._join(ls.at(i), rs.at(j))
                    self._matched(left, ls, i)
                    self._matched(right, rs, j)
        self._finish(left, ls, left_alone, time)
        self._finish(right, rs, right_alone, time)
        return Delta(self.out.take(), self._output_time(time))

    def _probe_stored(self, side: IntervalSide, a: Arrived, other: IntervalSide, step: int) -> tuple[Array, Array]:
        """Candidates for rows `a` of `side` among the stored rows of the other: those of equal keys, near in time."""
        found = [other.map.probe(self.index.find(side.key_arrays(a, a.bucket + k), len(a))) for k in (0, step)]
        at, slots = (np.concatenate(x) for x in zip(*found, strict=True))
        return at, slots

    def _join(self, left: Chosen, right: Chosen) -> tuple[Array, Array]:
        """Emits those of the pairs that match, and gives back where their rows are."""
        apart = left.time - right.time
        holds = (apart >= self.node.lower) & (apart <= self.node.upper)
        if left.mark is not None:
            holds &= right.time + self.right.reach >= left.mark
        if right.mark is not None:
            holds &= left.time + self.left.reach >= right.mark
        left, right = left.of(holds), right.of(holds)
        if self.residual is not None:
            holds = self.residual.holds(left.source, left.at, right.source, right.at)
            left, right = left.of(holds), right.of(holds)
        self.out.pairs(left.source, left.at, right.source, right.at, None, self._marks(left.mark, right.mark))
        return left.at, right.at

    def _marks(self, left: Array | None, right: Array | None = None) -> Array | None:
        """`_wm` of output rows by those of the rows that they are made of; None: the output has none."""
        given = [m for m in (left, right) if m is not None]
        mark = np.maximum(*given) if len(given) == 2 else given[0] if given else None
        if mark is None:
            return None
        behind = self.node.behind
        return np.asarray(np.where(mark < NO_WATERMARK + behind, NO_WATERMARK, mark - behind))

    def _matched(self, side: IntervalSide, a: Arrived, at: Array) -> None:
        if side.tracked:
            a.matched[at] = True

    def _matched_stored(self, side: IntervalSide, slots: Array) -> None:
        if not side.tracked or not len(slots):
            return
        flag = side.store.table.fixed(MATCHED)
        slots = ascending(slots)
        slots = slots[~flag.data[slots]]
        side.store.table.writing(slots)
        flag.data[slots] = True
        side.store.table.touch(slots)

    def _finish(self, side: IntervalSide, a: Arrived, alone: Chosen | None, time: Time) -> None:
        """Stores what may still match, forgets what may not; the unmatched of these are emitted."""
        watermark = self._watermark(time)
        done = side.keep(a, watermark)
        if side.tracked:
            self._unmatched(side, a.at(np.flatnonzero(done & ~a.matched)))
            if alone is not None:
                self._unmatched(side, alone)
        if watermark == NO_WATERMARK:
            return
        slots = side.expired(watermark)
        if not len(slots):
            return
        if side.tracked:
            self._unmatched(side, side.stored(slots[~side.store.table.fixed(MATCHED).data[slots]]))
        keys = side.free(slots)
        empty = (self.left.map.counts(keys) == 0) & (self.right.map.counts(keys) == 0)
        self.index.delete(keys[empty])

    def _unmatched(self, side: IntervalSide, rows: Chosen) -> None:
        emit, mark = (self.out.left if side is self.left else self.out.right), rows.mark
        if mark is None and any(self.node.judged):
            mark = np.full(len(rows.at), NO_WATERMARK)  # rows of this side are never late
        emit(rows.source, rows.at, None, self._marks(mark))

    def _watermark(self, time: Time) -> int:
        """No row that is still to come on time has a smaller time."""
        mark = time.of(self.node.domain)
        return mark if self.exact or mark in (END, NO_WATERMARK) else max(mark - MILLISECOND, NO_WATERMARK)

    def _output_time(self, time: Time) -> Time:
        if time.watermark in (END, NO_WATERMARK):
            return time
        behind = self.node.behind + (0 if self.exact else MILLISECOND)
        return replace(time, watermark=max(time.watermark - behind, NO_WATERMARK))

    def close(self) -> None:
        if self.residual is not None:
            self.residual.close()
