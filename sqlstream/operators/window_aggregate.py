"""WindowAggregate: a group by a window; each group is emitted once, when time passes its window's end, and its state
is freed.

It takes rows that carry their window as columns: from a window function (a row for each window), or from another
window aggregate. State: a row a group. Its input may be a changelog. `slice_aggregate.py` has what needs less.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sqlstream.aggregates.streaming.part import EVERY
from sqlstream.batches import ORD, Delta, concat, hidden, meet, signs
from sqlstream.errors import InternalError
from sqlstream.operators.aggregation import Aggregation
from sqlstream.operators.base import Operator, OperatorContext, Traits
from sqlstream.operators.distribution import Spread, places_in
from sqlstream.operators.group_aggregate import aggregate_details, group_states, open_groups
from sqlstream.operators.window_operator import (
    WindowNode,
    WindowOperator,
)
from sqlstream.plan.nodes import AggCall
from sqlstream.state.arrays import Array, fixed, validity
from sqlstream.state.table import StateSpec
from sqlstream.types import Schema


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
    changes = ""

    def __post_init__(self) -> None:
        if self.window_end not in self.keys:
            raise InternalError("WindowAggregate: the window's end is not among the keys")
        self.derive(self.output, Traits(key=tuple(range(len(self.keys)))))
        self.aggregation()

    def distribution(self) -> tuple[tuple[int, ...] | None, ...]:
        return (self.keys,)

    def spread(self) -> Spread | None:
        below = self.placed(0)
        return None if below is None else below.moved(places_in(self.keys))

    def details(self) -> str:
        schema = self.inputs[0].schema
        return f"windowEnd={schema[self.window_end].name}, {aggregate_details(schema, self.keys, self.calls)}"

    def aggregation(self) -> Aggregation:
        """The calls over groups: a new one each time, that holds no rows yet."""
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
        """More slots, each with its window's end, in µs."""
        for end in pc.unique(pa.array(ends, pa.int64())).to_pylist():
            self._slots.setdefault(end, []).append(slots[ends == end])

    def take(self, upto: int) -> list[tuple[int, Array]]:
        """Ends not after `upto`, in order, with their slots."""
        due = sorted(e for e in self._slots if e <= upto)
        return [(e, np.concatenate(self._slots.pop(e))) for e in due]


class WindowAggregateOperator(WindowOperator):
    """The running half: the epoch's rows to groups, and the groups whose end has passed out of the state."""

    def __init__(self, context: OperatorContext, node: WindowAggregate) -> None:
        super().__init__(context, node)
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
            bounds = self.bounds(batch)
            late = fixed(ends) <= self._zone.passed(bounds)
            self._take(self.without(batch, bounds, late if none is None else late & ~none, none))
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
