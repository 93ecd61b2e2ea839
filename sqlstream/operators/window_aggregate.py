"""Window aggregates: each group is emitted once, when time passes its window's end, and its state is freed.

WindowAggregate takes rows that carry their window as columns: from a window function (a row for each window), or
from another window aggregate. State: a row a group. Its input may be a changelog.

SliceAggregate takes plain append-only rows and fuses TUMBLE, HOP or CUMULATE with the aggregate. Rows that belong
to the same windows, those that end in first..last, share a partial result; a window's result is merged from
the partial results whose range has its end in it. A row begins at the first window that was still open by the
watermark that the row carries, so a row that is late for some of its windows counts in the others only, whatever
other splits do. Only for calls that merge: `can_share_slices`.

Late: a row whose window's end (of the last of its windows) was not after the watermark that the row carries, nor
after the time at which windows were closed here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sqlstream.batches import END, NO_WATERMARK, ORD, WM, Delta, concat, hidden, meet, signs, visible
from sqlstream.errors import InternalError
from sqlstream.operators.accumulators import EVERY, Array, Scratch
from sqlstream.operators.aggregation import Aggregation, can_share_slices
from sqlstream.operators.base import Operator, OperatorContext, PhysicalNode, Traits
from sqlstream.operators.group_aggregate import aggregate_details, group_states, open_groups
from sqlstream.plan.nodes import AggCall, WindowSpec
from sqlstream.state.arrays import ALL, fixed, from_fixed, validity
from sqlstream.state.index import HashIndex
from sqlstream.state.table import StateSpec
from sqlstream.time_zones import TimeZone, window_zone
from sqlstream.types import PROCTIME, Schema

# Columns of a window among the keys of an output, as SliceAggregate's `places` has them.
START, STOP, TIME = -1, -2, -3
MILLISECOND = 1000


class WindowNode(PhysicalNode):
    """What window aggregates share: when rows are late, and what the operator remembers."""

    domain: str

    def judges(self) -> bool:
        """Whether rows carry a watermark to judge lateness by."""
        return self.domain != PROCTIME and self.inputs[0].traits.row_wm


class WindowOperator(Operator):
    """Remembers up to which time windows were closed; drops late rows. Windows lie in the local time of `_zone`."""

    def __init__(self, context: OperatorContext, node: WindowNode, width: int) -> None:
        super().__init__(context)
        self._judges, self._width = node.judges(), width
        self._schema = node.arrow_schema()
        self._zone = window_zone(node.domain, context.time_zone)
        self._closed = max((int(s["closed"]) for s in context.restored), default=NO_WATERMARK)

    def snapshot(self) -> dict[str, Any]:
        return {"closed": self._closed}

    def bounds(self, batch: pa.RecordBatch) -> Array:
        """For each row the time up to which windows were closed when it came."""
        marks = hidden(batch, WM) if self._judges else None
        if marks is None:
            return np.full(batch.num_rows, self._closed, np.int64)
        return np.asarray(np.maximum(marks, self._closed))

    def without(self, batch: pa.RecordBatch, late: Array, none: Array | None = None) -> pa.RecordBatch:
        """`batch` without late rows, which are reported, and without those in no window (`none`)."""
        drop = late if none is None else late | none
        if not drop.any():
            return batch
        if late.any():
            self.context.late(visible(batch, self._width).filter(pa.array(late)))
        return batch.filter(pa.array(~drop))


@dataclass(frozen=True)
class WindowAggregate(WindowNode):
    """keys: input columns, among them window_end (and window_start, if it is grouped by). output: keys, calls."""

    keys: tuple[int, ...]
    window_start: int | None
    window_end: int
    domain: str
    calls: tuple[AggCall, ...]
    output: Schema
    name = "WindowAggregate"

    def __post_init__(self) -> None:
        if self.window_end not in self.keys:
            raise InternalError("WindowAggregate: the window's end is not among the keys")
        self.derive(self.output, Traits(key=tuple(range(len(self.keys)))))
        self.aggregation()

    def distribution(self) -> tuple[tuple[int, ...] | None, ...]:
        return (self.keys,)

    def details(self) -> str:
        schema = self.inputs[0].schema
        return f"windowEnd={schema[self.window_end].name}, {aggregate_details(schema, self.keys, self.calls)}"

    def aggregation(self) -> Aggregation:
        traits = self.inputs[0].traits
        return Aggregation(
            self.calls,
            self.inputs[0].schema,
            append_only=traits.append_only,
            arrival=traits.arrival,
            counted=not traits.append_only,
            freed=True,
        )

    def states(self) -> tuple[StateSpec, ...]:
        return group_states(self.aggregation(), self.inputs[0].schema, self.keys, len(self.keys))

    def operator(self, context: OperatorContext) -> Operator:
        return WindowAggregateOperator(context, self)


class Ends:
    """Slots by the few values of a window's end. In memory only."""

    def __init__(self) -> None:
        self._slots: dict[int, list[Array]] = {}

    def add(self, ends: Array, slots: Array) -> None:
        for end in pc.unique(pa.array(ends, pa.int64())).to_pylist():
            self._slots.setdefault(end, []).append(slots[ends == end])

    def take(self, upto: int) -> list[tuple[int, Array]]:
        """Ends not after `upto`, in order, with their slots."""
        due = sorted(e for e in self._slots if e <= upto)
        return [(e, np.concatenate(self._slots.pop(e))) for e in due]


class WindowAggregateOperator(WindowOperator):
    def __init__(self, context: OperatorContext, node: WindowAggregate) -> None:
        super().__init__(context, node, len(node.inputs[0].schema))
        self.node = node
        self._aggregation = node.aggregation()
        self._at = node.keys.index(node.window_end)
        self._ends = Ends()

    def open(self) -> None:
        self._table = open_groups(self.context, self.node, self._aggregation)
        slots = self._table.slots()
        if len(slots):
            self._ends.add(fixed(self._table.keys(slots)[self._at]), slots)

    def step(self, inputs: list[Delta]) -> Delta:
        out = Delta(time=meet([d.time for d in inputs]))
        batch = concat(inputs[0].batches)
        if batch is not None:
            ends = batch.column(self.node.window_end)
            none = ~validity(ends) if ends.null_count else None
            late = fixed(ends) <= self._zone.passed(self.bounds(batch))
            self._take(self.without(batch, late if none is None else late & ~none, none))
        upto = out.time.of(self.node.domain)
        if upto > self._closed:
            self._closed = upto
            due = self._ends.take(self._zone.passed_at(upto))
            if due:
                self._emit(np.concatenate([s for _, s in due]), out)
        return out

    def _take(self, batch: pa.RecordBatch) -> None:
        if not batch.num_rows:
            return
        keys = [batch.column(k) for k in self.node.keys]
        slots, fresh = self._table.upsert(keys)
        new = slots[fresh]
        if len(new):
            self._aggregation.start(new)
            self._ends.add(fixed(keys[self._at])[fresh], new)
        given = signs(batch)
        order = hidden(batch, ORD)
        self._aggregation.add(slots, EVERY if given is None else given, batch, keys, order)
        self._table.touch(slots)

    def _emit(self, slots: Array, out: Delta) -> None:
        """Groups whose rows were all taken back are kept until here, and not emitted."""
        aggregation = self._aggregation
        alive = slots if aggregation.counted is None else slots[aggregation.rows_of(slots) > 0]
        if len(alive):
            columns = [*self._table.keys(alive), *aggregation.result(alive)]
            out.batches.append(pa.RecordBatch.from_arrays(columns, schema=self._schema))
        aggregation.free(slots)
        self._table.delete(slots)


@dataclass(frozen=True)
class SliceAggregate(WindowNode):
    """keys: input columns besides the window's. places: for each key column of the output the input column, or
    START, STOP, TIME of the window."""

    keys: tuple[int, ...]
    time_column: int
    spec: WindowSpec
    domain: str
    calls: tuple[AggCall, ...]
    output: Schema
    places: tuple[int, ...]
    name = "WindowAggregate"

    def __post_init__(self) -> None:
        if not self.inputs[0].traits.append_only or not can_share_slices(self.calls):
            raise InternalError("SliceAggregate: calls or input cannot share slices")
        if self.spec.kind not in ("TUMBLE", "HOP", "CUMULATE"):
            raise InternalError(f"SliceAggregate: {self.spec.kind} window")
        if STOP not in self.places and START not in self.places and TIME not in self.places:
            raise InternalError("SliceAggregate: no column of the window among the keys")
        self.derive(self.output, Traits(key=tuple(range(len(self.places)))))
        self.aggregation()

    def distribution(self) -> tuple[tuple[int, ...] | None, ...]:
        return (self.keys,)

    def details(self) -> str:
        schema = self.inputs[0].schema
        window = f"window=[{self.spec}, time={schema[self.time_column].name}]"
        return f"{window}, {aggregate_details(schema, self.keys, self.calls)}"

    def aggregation(self) -> Aggregation:
        arrival = self.inputs[0].traits.arrival
        return Aggregation(self.calls, self.inputs[0].schema, append_only=True, arrival=arrival)

    def states(self) -> tuple[StateSpec, ...]:
        schema = self.inputs[0].schema
        key = [(f"c{k}", schema[k].type.arrow()) for k in self.keys]
        # A row of a TUMBLE window is in one window: first is last.
        ends = [("last", pa.int64())] + ([] if self.spec.kind == "TUMBLE" else [("first", pa.int64())])
        return (
            StateSpec(
                "slices", pa.schema(key + ends), pa.schema(self.aggregation().fields()), len(self.keys)
            ),
        )  # fmt: skip

    def operator(self, context: OperatorContext) -> Operator:
        return SliceOperator(context, self)


class Assigner:
    """Which windows a time belongs to: those that end at first, first + step, … last; none when first > last."""

    def __init__(self, spec: WindowSpec) -> None:
        self.kind, self.size, self.offset = spec.kind, spec.size, spec.offset
        self.step = spec.size if spec.kind == "TUMBLE" else spec.slide

    def last(self, times: Array) -> Array:
        begin = self.size if self.kind == "CUMULATE" else self.step
        return np.asarray(times - (times - self.offset) % begin + self.size)

    def first(self, times: Array, last: Array) -> Array:
        """The first end after `times`, of the windows up to `last`."""
        origin = last - self.size if self.kind == "CUMULATE" else np.int64(self.offset + self.size)
        first: Array = np.asarray(times - (times - origin) % self.step + self.step)
        if self.kind == "CUMULATE":
            first = np.maximum(first, origin + self.step)
        return first

    def start(self, end: int, last: int) -> int:
        return (last if self.kind == "CUMULATE" else end) - self.size


class SliceOperator(WindowOperator):
    def __init__(self, context: OperatorContext, node: SliceAggregate) -> None:
        super().__init__(context, node, len(node.inputs[0].schema))
        self.node = node
        self._aggregation = node.aggregation()
        self._windows = Assigner(node.spec)
        self._single = node.spec.kind == "TUMBLE"
        # (first, last) -> slots
        self._slices: dict[tuple[int, int], list[Array]] = {}

    def open(self) -> None:
        self._table = self.context.state(self.node.states()[0])
        self._aggregation.open(self._table)
        slots = self._table.slots()
        if len(slots):
            ends = self._table.keys(slots)[len(self.node.keys) :]
            self._index(fixed(ends[-1]), fixed(ends[0]), slots)

    def step(self, inputs: list[Delta]) -> Delta:
        out = Delta(time=meet([d.time for d in inputs]))
        batch = concat(inputs[0].batches)
        if batch is not None:
            self._take(batch)
        upto = out.time.of(self.node.domain)
        if upto > self._closed:
            for end in self._due(self._zone.passed_at(self._closed), self._zone.passed_at(upto)):
                self._fire(end, out)
            self._closed = upto
        return out

    def _take(self, batch: pa.RecordBatch) -> None:
        column = batch.column(self.node.time_column)
        times = self._zone.local(fixed(column).astype(np.int64, copy=False))
        bounds = self._zone.passed(self.bounds(batch))
        last = self._windows.last(times)
        none = last <= times  # a HOP with gaps
        if column.null_count:
            none = none | ~validity(column)
        drop = (last <= bounds) | none
        if drop.any():
            batch = self.without(batch, (last <= bounds) & ~none, none)
            times, bounds, last = times[~drop], bounds[~drop], last[~drop]
        if not batch.num_rows:
            return
        keys = [batch.column(k) for k in self.node.keys]
        ends = [pa.array(last)]
        if self._single:
            first = last
        else:
            first = self._windows.first(np.maximum(times, np.minimum(bounds, END - self._windows.step)), last)
            ends.append(pa.array(first))
        slots, fresh = self._table.upsert([*keys, *ends])
        new = slots[fresh]
        if len(new):
            self._aggregation.start(new)
            self._index(first[fresh], last[fresh], new)
        self._aggregation.add(slots, EVERY, batch, keys, hidden(batch, ORD))
        self._table.touch(slots)

    def _index(self, first: Array, last: Array, slots: Array) -> None:
        for e in pc.unique(pa.array(last)).to_pylist():
            mine = last == e
            begins, some = first[mine], slots[mine]
            for f in pc.unique(pa.array(begins)).to_pylist():
                self._slices.setdefault((f, e), []).append(some[begins == f])

    def _due(self, after: int, upto: int) -> list[int]:
        """Ends of windows in (after, upto] that have rows."""
        step = self._windows.step
        due: set[int] = set()
        for first, last in self._slices:
            begin = first if first > after else first + ((after - first) // step + 1) * step
            due.update(range(begin, min(last, upto) + 1, step))
        return sorted(due)

    def _fire(self, end: int, out: Delta) -> None:
        members = [k for k in self._slices if k[0] <= end <= k[1]]
        slots = np.concatenate([s for k in members for s in self._slices[k]])
        width = len(self.node.keys)
        last = members[0][1]
        start = self._windows.start(end, last)
        if len(members) == 1:
            n, keys, results = len(slots), self._table.keys(slots)[:width], self._aggregation.result(slots)
        else:
            merged, keys, n = self._merged(slots)
            results = merged.result(np.arange(n))
            if self.node.spec.kind == "CUMULATE" and end < last:
                self._collapse(members, slots, merged, keys, n, end + self._windows.step, last)
        columns = window_columns(self.node.places, self.node.keys, keys, start, end, n, self._schema, self._zone)
        out.batches.append(pa.RecordBatch.from_arrays([*columns, *results], schema=self._schema))
        for k in [k for k in self._slices if k[1] <= end]:
            self._table.delete(np.concatenate(self._slices.pop(k)))

    def _merged(self, slots: Array) -> tuple[Aggregation, list[pa.Array], int]:
        """Partial results in `slots` merged by key, in memory; the keys and their number."""
        width = len(self.node.keys)
        keys = self._table.keys(slots)[:width]
        group, fresh = HashIndex([k.type for k in keys]).upsert(keys, len(slots))
        n = int(fresh.sum())
        merged = self.node.aggregation()
        merged.open(Scratch(merged.fields(), n))
        merged.start(np.arange(n))
        merged.merge(group, self._aggregation, slots)
        mask = pa.array(fresh)
        return merged, [k.filter(mask) for k in keys], n

    def _collapse(
        self, members: list[tuple[int, int]], slots: Array, merged: Aggregation, keys: list[pa.Array], n: int,
        first: int, last: int,
    ) -> None:  # fmt: skip
        """CUMULATE: from now on these rows belong to the same windows."""
        for k in members:
            del self._slices[k]
        self._table.delete(slots)
        ends = [pa.array(np.full(n, last)), pa.array(np.full(n, first))]
        into, fresh = self._table.upsert([*keys, *ends], n)
        self._aggregation.start(into[fresh])
        self._aggregation.merge(into, merged, np.arange(n))
        self._table.touch(into)
        if fresh.any():
            self._slices.setdefault((first, last), []).append(into[fresh])


def window_columns(
    places: Sequence[int],
    keys: Sequence[int],
    columns: list[pa.Array],
    start: int | Array,
    end: int | Array,
    n: int,
    schema: pa.Schema,
    zone: TimeZone,
) -> list[pa.Array]:
    """The key columns of n output rows: `columns` are those of `keys`, the window's are made."""
    out = []
    for i, place in enumerate(places):
        if place >= 0:
            out.append(columns[keys.index(place)])
            continue
        value = np.asarray({START: start, STOP: end, TIME: end - MILLISECOND}[place], np.int64)
        if place == TIME:
            value = zone.instants(value)
        out.append(from_fixed(np.broadcast_to(value, n).copy(), ALL, schema.field(i).type))
    return out


__all__ = [
    "SliceAggregate", "WindowAggregate", "WindowNode", "WindowOperator", "can_share_slices", "window_columns",
]  # fmt: skip
