"""GroupWindowAggregate: a group by a window that tells its result before the window ends, and after it.

It takes rows that carry their window as columns, and may be changes. State: a row a group, with what was told of it last;
until the window's end, and the lateness that is allowed, have passed. Out: +I when a group is told first, -U (where it is
wanted) and +U when its result is another one, -D when it has no rows any more. When the window ends, each group is told
as it is then: without late rows that is the row that it would have had without all this.

What was told is kept, and not which group has changed since: after a restart all are compared with what was told.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from sqlstream.aggregates.streaming.part import EVERY
from sqlstream.batches import END, NO_WATERMARK, ORD, Delta, Kind, concat, hidden, meet, signs
from sqlstream.errors import InternalError
from sqlstream.operators.aggregation import Aggregation
from sqlstream.operators.base import Operator, OperatorContext, PhysicalNode, Traits
from sqlstream.operators.distribution import Spread, places_in
from sqlstream.operators.group_aggregate import (
    aggregate_details,
    changelog,
    different,
    group_states,
    interleaved,
    kept,
    open_groups,
)
from sqlstream.operators.row_store import EMPTY
from sqlstream.operators.window_aggregate import Ends
from sqlstream.operators.window_operator import WindowNode, WindowOperator
from sqlstream.plan.nodes import AggCall, Emission
from sqlstream.state.arrays import Array, fixed, validity
from sqlstream.state.sets import among, ascending
from sqlstream.state.table import StateSpec
from sqlstream.types import Schema

TOLD = "_told"


@dataclass(frozen=True)
class GroupWindowAggregate(WindowNode):
    """keys: input columns, among them window_end. output: keys, calls. before: whether -U are wanted."""

    keys: tuple[int, ...]
    window_end: int
    domain: str
    calls: tuple[AggCall, ...]
    emission: Emission
    output: Schema
    before: bool = True
    name = "GroupWindowAggregate"
    once = (
        "let windows tell their results once: EMIT ON WINDOW CLOSE behind the query, or without EMIT CHANGES and "
        "'table.exec.emit.*'"
    )

    @property
    def changes(self) -> str:  # type: ignore[override]
        """In a word for messages."""
        return "early results of windows" if self.emission.early is not None else "late results of windows"

    def __post_init__(self) -> None:
        if self.window_end not in self.keys:
            raise InternalError("GroupWindowAggregate: the window's end is not among the keys")
        if self.emission.once:
            raise InternalError("GroupWindowAggregate: nothing is told but what WindowAggregate tells")
        self.derive(self.output, Traits(False, tuple(range(len(self.keys))), paired=True, before=self.before))
        self.aggregation()

    def identity(self) -> tuple[Any, ...]:
        # how often it tells is no part of what it keeps
        e = self.emission
        bare = Emission(None if e.early is None else 0, None if e.late is None else 0, e.lateness)
        return super().identity() if e == bare else replace(self, emission=bare).identity()

    def meaning(self) -> tuple[Any, ...]:
        return replace(self, before=True).identity()

    def distribution(self) -> tuple[tuple[int, ...] | None, ...]:
        return (self.keys,)

    def spread(self) -> Spread | None:
        below = self.placed(0)
        return None if below is None else below.moved(places_in(self.keys))

    def details(self) -> str:
        schema = self.inputs[0].schema
        what = aggregate_details(schema, self.keys, self.calls)
        return f"windowEnd={schema[self.window_end].name}, {what}, emit=[{self.emission}]"

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

    @property
    def results(self) -> list[str]:
        """The columns of the state that have what was told."""
        return [f"told_{i}" for i in range(len(self.calls))]

    def states(self) -> tuple[StateSpec, ...]:
        groups, *further = group_states(self.aggregation(), self.inputs[0].schema, self.keys, len(self.keys))
        told = [pa.field(n, c.column.type.arrow()) for n, c in zip(self.results, self.calls, strict=True)]
        value = pa.schema([*groups.value, pa.field(TOLD, pa.int8()), *told])
        return (replace(groups, value=value), *further)

    def without_before(self) -> PhysicalNode:
        return replace(self, before=False)

    def operator(self, context: OperatorContext) -> Operator:
        return GroupWindowAggregateOperator(context, self)


class GroupWindowAggregateOperator(WindowOperator):
    """The running half. `_open`: groups by the end of their window, until it has passed; `_ended`: from then on, until they are
    forgotten."""

    def __init__(self, context: OperatorContext, node: GroupWindowAggregate) -> None:
        super().__init__(context, node)
        self.node = node
        self._aggregation = node.aggregation()
        self._at = node.keys.index(node.window_end)
        self._open, self._ended = Ends(), Ends()
        self._early = Firing(node.emission.early)
        self._late = Firing(node.emission.late)

    def open(self) -> None:
        self._table = open_groups(self.context, self.node, self._aggregation)
        slots = self._table.slots()
        if not len(slots):
            return
        ends = fixed(self._table.keys(slots)[self._at])
        ended = ends <= self._zone.passed_at(self._closed)
        self._open.add(ends[~ended], slots[~ended])
        self._ended.add(ends[ended], slots[ended])
        self._early.add(slots[~ended])
        self._late.add(slots[ended])

    def step(self, inputs: list[Delta]) -> Delta:
        out = Delta(time=meet([d.time for d in inputs]))
        batch = concat(inputs[0].batches)
        touched = ends = EMPTY
        if batch is not None:
            touched, ends = self._take(batch)
        self._closed = max(self._closed, out.time.of(self.node.domain))
        passed = self._zone.passed_at(self._closed)
        due = [s for e, s in self._due(self._open, passed)]
        ended = ends <= passed
        self._early.add(touched[~ended])
        self._late.add(touched[ended])
        over = [s for _, s in self._ended.take(self._zone.passed_at(self._late_bound(self._closed)))]
        now = out.time.proctime
        gone = np.concatenate(over) if over else EMPTY
        fired = ascending(np.concatenate([*due, *over, self._early.fire(now), self._late.fire(now)]))
        if len(fired):
            made = self._tell(fired)
            if made is not None:
                out.batches.append(made)
        if len(gone):
            self._early.forget(gone)
            self._late.forget(gone)
            self._aggregation.free(gone)
            self._table.delete(gone)
        return out

    def _due(self, open_: Ends, passed: int) -> list[tuple[int, Array]]:
        """The groups whose windows end; they are kept on for late rows."""
        due = open_.take(passed)
        for end, slots in due:
            self._ended.add(np.full(len(slots), end), slots)
        return due

    def _late_bound(self, mark: int) -> int:
        """The time up to which windows must have ended, when it is `mark`, for rows of them to be too late."""
        return int(self._late_bounds(np.array([mark]))[0])

    def _late_bounds(self, marks: Array) -> Array:
        allowed = self.node.emission.lateness
        never = marks < NO_WATERMARK + allowed
        return np.where(marks == END, END, np.where(never, NO_WATERMARK, marks - np.where(never, 0, allowed)))

    def _take(self, batch: pa.RecordBatch) -> tuple[Array, Array]:
        """Takes rows in; the groups that have some, and where their windows end."""
        column = batch.column(self.node.window_end)
        none = ~validity(column) if column.null_count else None
        marks = self.bounds(batch)
        late = fixed(column) <= self._zone.passed(self._late_bounds(marks))
        batch = self.without(batch, marks, late if none is None else late & ~none, none)
        if not batch.num_rows:
            return EMPTY, EMPTY
        keys = [batch.column(k) for k in self.node.keys]
        slots, fresh = self._table.upsert(keys)
        ends = fixed(keys[self._at])
        new = slots[fresh]
        if len(new):
            self._aggregation.start(new)
            self._open.add(ends[fresh], new)
        given = signs(batch)
        self._aggregation.add(slots, EVERY if given is None else given, batch, keys, hidden(batch, ORD))
        self._table.touch(slots)
        touched, first = np.unique(slots, return_index=True)
        return touched, np.asarray(ends[first], np.int64)

    def _tell(self, slots: Array) -> pa.RecordBatch | None:
        """What has changed of these groups since they were told last; it is told now."""
        table, aggregation, node = self._table, self._aggregation, self.node
        table.writing(slots)
        there = np.ones(len(slots), np.bool_) if aggregation.counted is None else aggregation.rows_of(slots) > 0
        told = table.fixed(TOLD).data[slots] > 0
        goes, stays, comes = slots[told & ~there], slots[told & there], slots[~told & there]
        old, new = self._told(stays), aggregation.result(stays)
        changed = different(old, new, len(stays))
        stays, old, new = stays[changed], kept(old, changed), kept(new, changed)
        first = aggregation.result(comes)
        parts = [(Kind.DELETE, [*table.keys(goes), *self._told(goes)])]
        if node.before:
            pairs = [interleaved(a, b) for a, b in zip(old, new, strict=True)]
            parts.append((Kind.UPDATE_BEFORE, [*table.keys(np.repeat(stays, 2)), *pairs]))
        else:
            parts.append((Kind.UPDATE_AFTER, [*table.keys(stays), *new]))
        parts.append((Kind.INSERT, [*table.keys(comes), *first]))
        for name, a, b in zip(node.results, new, first, strict=True):
            table.column(name).set(stays, a)
            table.column(name).set(comes, b)
        flags = table.column(TOLD)
        flags.set(comes, pa.array(np.ones(len(comes), np.int8)))
        flags.set(goes, pa.array(np.zeros(len(goes), np.int8)))
        table.touch(np.concatenate([goes, stays, comes]))
        return changelog(parts, self._schema)

    def _told(self, slots: Array) -> list[pa.Array]:
        return [self._table.column(name).get(slots) for name in self.node.results]


class Firing:
    """The groups that have changed since they were told, and when they are told next: every `delay` µs of processing time, from
    the first that changed on. None: never."""

    def __init__(self, delay: int | None) -> None:
        self._delay = delay
        self._changed: list[Array] = []
        self._next: int | None = None

    def add(self, slots: Array) -> None:
        """These have changed."""
        if self._delay is not None and len(slots):
            self._changed.append(slots)

    def fire(self, now: int) -> Array:
        """Those that are told when the time is `now`."""
        if not self._changed or self._delay is None:
            return EMPTY
        if self._next is None and self._delay:
            self._next = now + self._delay if now < END - self._delay else now
        if self._next is not None and now < self._next:
            return EMPTY
        fired, self._changed, self._next = np.concatenate(self._changed), [], None
        return fired

    def forget(self, slots: Array) -> None:
        """These are gone."""
        self._changed = [left for s in self._changed if len(left := s[~among(s, slots)])]
