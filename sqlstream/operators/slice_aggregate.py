"""SliceAggregate: a group by a window function over rows that only come; each group is emitted once, when time passes
its window's end, and its state is freed.

It fuses TUMBLE, HOP or CUMULATE with the aggregate. Rows that belong to the same windows, those that end in
first..last, share a partial result; a window's result is merged from the partial results whose range has its end in
it. A row begins at the first window that was still open by the watermark that the row carries, so a row that is late
for some of its windows counts in the others only, whatever other splits do.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sqlstream.aggregates.streaming.part import EVERY
from sqlstream.batches import END, ORD, Delta, concat, hidden, meet
from sqlstream.errors import InternalError
from sqlstream.operators.aggregation import Aggregation
from sqlstream.operators.base import Operator, OperatorContext, Traits
from sqlstream.operators.distribution import Spread, places_in
from sqlstream.operators.group_aggregate import aggregate_details, open_groups
from sqlstream.operators.window_operator import (
    START,
    STOP,
    TIME,
    WindowNode,
    WindowOperator,
    window_columns,
)
from sqlstream.plan.nodes import AggCall, WindowSpec
from sqlstream.state.arrays import Array, fixed, validity
from sqlstream.state.index import HashIndex
from sqlstream.state.table import StateSpec
from sqlstream.types import Schema


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
    changes = ""

    def __post_init__(self) -> None:
        if not self.inputs[0].traits.append_only:
            raise InternalError("SliceAggregate: rows that change cannot share slices")
        if self.spec.kind not in ("TUMBLE", "HOP", "CUMULATE"):
            raise InternalError(f"SliceAggregate: {self.spec.kind} window")
        if STOP not in self.places and START not in self.places and TIME not in self.places:
            raise InternalError("SliceAggregate: no column of the window among the keys")
        self.derive(self.output, Traits(key=tuple(range(len(self.places)))))
        self.aggregation()

    def distribution(self) -> tuple[tuple[int, ...] | None, ...]:
        return (self.keys,)

    def spread(self) -> Spread | None:
        below = self.placed(0)
        return None if below is None else below.moved(places_in(self.places))

    def details(self) -> str:
        schema = self.inputs[0].schema
        window = f"window=[{self.spec}, time={schema[self.time_column].name}]"
        return f"{window}, {aggregate_details(schema, self.keys, self.calls)}"

    def aggregation(self) -> Aggregation:
        """The calls over slices: a new one each time, that holds no rows yet."""
        arrival = self.inputs[0].traits.arrival
        merging = self.spec.kind != "TUMBLE"
        return Aggregation(
            self.calls, self.inputs[0].schema, append_only=True, arrival=arrival, freed=True, merging=merging
        )

    def states(self) -> tuple[StateSpec, ...]:
        schema = self.inputs[0].schema
        key = [(f"c{k}", schema[k].type.arrow()) for k in self.keys]
        # A row of a TUMBLE window is in one window: first is last.
        ends = [("last", pa.int64())] + ([] if self.spec.kind == "TUMBLE" else [("first", pa.int64())])
        keys, aggregation = pa.schema(key + ends), self.aggregation()
        slices = StateSpec("slices", keys, pa.schema(aggregation.fields()), len(self.keys))
        return (slices, *aggregation.specs(keys, len(self.keys)))

    def operator(self, context: OperatorContext) -> Operator:
        return SliceOperator(context, self)


class Assigner:
    """Which windows a time belongs to: those that end at first, first + step, … last; none when first > last."""

    def __init__(self, spec: WindowSpec) -> None:
        self.kind, self.size, self.offset = spec.kind, spec.size, spec.offset
        self.step = spec.size if spec.kind == "TUMBLE" else spec.slide

    def last(self, times: Array) -> Array:
        """The end of the last window that begins not after each time (µs). It is not after a time in no window."""
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
        """Where the window that ends at `end` begins. `last`: the last end of its slices."""
        return (last if self.kind == "CUMULATE" else end) - self.size


class SliceOperator(WindowOperator):
    """The running half: the epoch's rows to slices, and each window whose end has passed from its slices."""

    def __init__(self, context: OperatorContext, node: SliceAggregate) -> None:
        super().__init__(context, node)
        self.node = node
        self._aggregation = node.aggregation()
        self._windows = Assigner(node.spec)
        self._single = node.spec.kind == "TUMBLE"
        # (first, last) -> slots
        self._slices: dict[tuple[int, int], list[Array]] = {}

    def open(self) -> None:
        self._table = open_groups(self.context, self.node, self._aggregation)
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
        marks = self.bounds(batch)
        bounds = self._zone.passed(marks)
        last = self._windows.last(times)
        none = last <= times  # a HOP with gaps
        if column.null_count:
            none = none | ~validity(column)
        drop = (last <= bounds) | none
        if drop.any():
            batch = self.without(batch, marks, (last <= bounds) & ~none, none)
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
        self._aggregation.add(slots, EVERY, batch, [*keys, *ends], hidden(batch, ORD))
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
            merged, groups, keys = self._merged(slots)
            n, results = len(groups), merged.result(groups)
            if self.node.spec.kind == "CUMULATE" and end < last:
                self._collapse(members, slots, merged, groups, keys, end + self._windows.step, last)
        columns = window_columns(self.node.places, self.node.keys, keys, start, end, n, self._schema, self._zone)
        out.batches.append(pa.RecordBatch.from_arrays([*columns, *results], schema=self._schema))
        for k in [k for k in self._slices if k[1] <= end]:
            self._drop(np.concatenate(self._slices.pop(k)))

    def _drop(self, slots: Array) -> None:
        self._aggregation.free(slots)
        self._table.delete(slots)

    def _merged(self, slots: Array) -> tuple[Aggregation, Array, list[pa.Array]]:
        """Partial results in `slots` merged by key, in memory; its groups and their keys."""
        width = len(self.node.keys)
        keys = self._table.keys(slots)[:width]
        group, fresh = HashIndex([k.type for k in keys]).upsert(keys, len(slots))
        merged = self.node.aggregation()
        groups, (numbers,) = merged.open_scratch(int(fresh.sum()))
        # Slots of a new index are numbered as they appear.
        merged.merge(groups[group], self._aggregation, slots, [numbers.take(pa.array(group))])
        mask = pa.array(fresh)
        return merged, groups, [k.filter(mask) for k in keys]

    def _collapse(
        self, members: list[tuple[int, int]], slots: Array, merged: Aggregation, groups: Array, keys: list[pa.Array],
        first: int, last: int,
    ) -> None:  # fmt: skip
        """CUMULATE: from now on these rows belong to the same windows."""
        for k in members:
            del self._slices[k]
        self._drop(slots)
        n = len(groups)
        keys = [*keys, pa.array(np.full(n, last)), pa.array(np.full(n, first))]
        into, fresh = self._table.upsert(keys, n)
        self._aggregation.start(into[fresh])
        self._aggregation.merge(into, merged, groups, keys)
        self._table.touch(into)
        if fresh.any():
            self._slices.setdefault((first, last), []).append(into[fresh])
