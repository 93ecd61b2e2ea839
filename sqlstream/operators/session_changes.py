"""SessionChangesAggregate: GROUP BY a SESSION window of rows that change. A row that goes may part a session, so the rows of
open sessions are kept, equal ones once with their number, and a session is computed from them when time has passed its end.

A row that comes is late when time had passed its own session, [t, t + gap], by the watermark that it carries, whatever else is
there: unlike rows that only come (`session_window.py`), it does not join one that is still open. A row that goes is late
when the session that it is in had ended by then: what was given stays.

Which sessions a key has is found anew when its rows change, and when the first of them is due.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from sqlstream.batches import Delta, concat, meet, signs
from sqlstream.operators import session_kernels as kernels
from sqlstream.operators.aggregation import Aggregation
from sqlstream.operators.base import Operator, OperatorContext, Traits
from sqlstream.operators.row_store import COUNT, Layout, RowStore, distinct
from sqlstream.operators.session_rows import computed
from sqlstream.operators.session_window import SessionTime, SessionWindowAggregate
from sqlstream.operators.window_operator import window_columns
from sqlstream.state.arrays import Array, fixed
from sqlstream.state.index import HashIndex
from sqlstream.state.multimap import MultiMap
from sqlstream.state.sets import ascending
from sqlstream.state.table import StateSpec
from sqlstream.state.time_index import TimeIndex


@dataclass(frozen=True)
class SessionChangesAggregate(SessionWindowAggregate):
    """As SessionWindowAggregate has it, over rows that change."""

    name = "SessionWindowAggregate"

    def __post_init__(self) -> None:
        count = len(self.output) - len(self.calls)
        self.derive(self.output, Traits(key=tuple(range(count))))
        self.aggregation()

    def aggregation(self) -> Aggregation:
        return Aggregation(self.calls, self.inputs[0].schema, append_only=False, arrival=False)

    def layout(self) -> Layout:
        """How rows are kept: equal ones once."""
        columns = self.inputs[0].schema.arrow()
        identity = tuple(i for i in range(len(columns)) if i not in self.keys)
        return Layout("rows", columns, self.keys, identity, counted=True)

    def states(self) -> tuple[StateSpec, ...]:
        return (self.layout().spec(),)

    def operator(self, context: OperatorContext) -> Operator:
        return SessionChangesOperator(context, self)


@dataclass(frozen=True)
class Sessions:
    """Rows in the order of their sessions, and the sessions."""

    slots: Array  # of the rows
    of: Array  # the session of each
    first: Array  # the row that each session begins with
    owner: Array  # the slot of its key
    start: Array  # in local time, as the end
    end: Array


class SessionChangesOperator(SessionTime):
    """The running half."""

    def __init__(self, context: OperatorContext, node: SessionChangesAggregate) -> None:
        super().__init__(context, node)
        schema = node.inputs[0].schema
        self._layout = node.layout()
        self._keys = HashIndex([schema[k].type.arrow() for k in node.keys])
        self._chains = MultiMap()
        self._due = TimeIndex()  # keys by the ends of their sessions; also by ends that are none any more

    def open(self) -> None:
        self._rows = RowStore(self._layout, self.context.state(self._layout.spec()))
        slots = self._rows.table.slots()
        if len(slots):
            owner, _ = self._keys.upsert(self._rows.partition(slots), len(slots))
            self._chains.add(owner, slots)
            found = self._sessions(ascending(owner))
            self._due.add(found.end, found.owner)

    def step(self, inputs: list[Delta]) -> Delta:
        time = meet([d.time for d in inputs])
        out = Delta(time=self._held_time(time))
        upto = out.time.of(self.node.domain)
        touched = self._take(inputs[0])
        if upto > self._closed:
            self._closed = upto
            touched = np.union1d(touched, self._due.take(int(self._passed(np.array([upto]))[0])))
        if len(touched):
            self._emit(self._sessions(touched), out)
            self._keys.delete(touched[self._chains.counts(touched) == 0])
        return out

    def _take(self, delta: Delta) -> Array:
        """Puts the rows that come among the others and takes those away that go; the keys that have changed."""
        nothing: Array = np.empty(0, np.int64)
        batch = concat(delta.batches)
        if batch is None or not (batch := self._with_a_time(batch)).num_rows:
            return nothing
        passed = self._passed(self.bounds(batch))
        sign = signs(batch)
        goes = np.zeros(batch.num_rows, np.bool_) if sign is None else sign < 0
        late = ~goes & (self._local(batch) + self.node.gap <= passed)
        comes, part = self._part(batch, ~goes & ~late)
        slots = self._rows.add(part, np.bincount(comes, minlength=part.num_rows).astype(np.int64))
        added, _ = self._keys.upsert(self._rows.partition(slots), len(slots))
        self._chains.add(added, slots)
        taken = nothing
        if goes.any():
            of, part = self._part(batch, goes)
            own = (self._local(batch) + self.node.gap)[goes]
            taken, gone_late = self._take_away(of, part, own, passed[goes])
            late[np.flatnonzero(goes)[gone_late]] = True
        if late.any():
            self.context.late(batch.filter(pa.array(late)), self.bounds(batch)[late])
        return np.union1d(added, taken)

    def _part(self, batch: pa.RecordBatch, which: Array) -> tuple[Array, pa.RecordBatch]:
        """Some rows of a batch, equal ones once, and for each of `which` its number there."""
        width = len(self.node.inputs[0].schema)
        rows = batch.filter(pa.array(which)).select(list(range(width)))
        of, first = distinct(rows.columns, rows.num_rows)
        return of, rows.filter(pa.array(first))

    def _take_away(self, of: Array, rows: pa.RecordBatch, own: Array, passed: Array) -> tuple[Array, Array]:
        """Takes rows away that are there: row `of[i]` once for each i. The keys, and which i are late: the row's session, or
        where it is not there its `own`, had ended at `passed[i]`."""
        slots = self._rows.find(rows)
        there = slots >= 0
        owner = np.full(len(slots), -1, np.int64)
        owner[there] = self._keys.find(self._rows.partition(slots[there]), int(there.sum()))
        ends = np.empty(len(slots), np.int64)
        found = self._sessions(ascending(owner[there]))
        place = np.argsort(found.slots)
        at = place[np.searchsorted(found.slots[place], slots[there])]
        ends[there] = found.end[found.of[at]]
        late = np.where(there[of], ends[of], own) <= passed
        # No more than there are.
        copies = np.where(there, self._rows.copies(np.maximum(slots, 0)), 0)
        asked = np.bincount(of[~late], minlength=len(slots)).astype(np.int64)
        self.context.lost(int(np.maximum(asked - copies, 0).sum()))
        count = np.minimum(asked, copies)
        some = count > 0
        slots, owner, count = slots[some], owner[some], count[some]
        empty = self._rows.remove(slots, count)
        self._chains.remove(owner[empty], slots[empty])
        self._rows.delete(slots[empty])
        return ascending(owner), late

    def _sessions(self, owners: Array) -> Sessions:
        """All sessions of these keys."""
        at, slots = self._chains.probe(owners)
        (column,) = self._rows.columns(slots, [self.node.time_column])
        times = self._zone.local(fixed(column).astype(np.int64, copy=False))
        order = np.lexsort((times, at))
        at, slots, times = at[order], slots[order], times[order]
        of, last = np.empty(len(at), np.int64), np.empty(len(at), np.int64)
        n = kernels.join_sessions(at, times, times + self.node.gap, of, last)
        first = np.flatnonzero(np.diff(of, prepend=-1))
        return Sessions(slots, of, first, owners[at[first]], times[first], last[:n])

    def _emit(self, found: Sessions, out: Delta) -> None:
        """The sessions that have ended; their rows go."""
        closed = found.end <= self._passed(np.array([self._closed]))[0]
        self._due.add(found.end[~closed], found.owner[~closed])
        if not closed.any():
            return
        mine = closed[found.of]
        slots = found.slots[mine]
        number = np.cumsum(closed) - 1
        of = np.repeat(number[found.of[mine]], self._rows.copies(slots))
        rows = np.repeat(slots, self._rows.copies(slots))
        arguments = self.node.arguments()
        columns = dict(zip(arguments, self._rows.columns(rows, list(arguments)), strict=True))
        n = int(closed.sum())
        results = computed(self.node.aggregation(), of, n, columns, None)
        keys = self._rows.partition(found.slots[found.first[closed]])
        window = window_columns(
            self.node.places, self.node.keys, keys, found.start[closed], found.end[closed], n, self._schema, self._zone
        )
        out.batches.append(pa.RecordBatch.from_arrays([*window, *results], schema=self._schema))
        self._chains.remove(found.owner[found.of[mine]], slots)
        self._rows.table.fixed(COUNT).data[slots] = 0
        self._rows.delete(slots)
