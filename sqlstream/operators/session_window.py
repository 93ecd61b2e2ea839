"""SessionWindowAggregate: GROUP BY a SESSION window. Rows of a key whose times are no more than `gap` apart (they
overlap or touch as [t, t + gap)) are one session; it is emitted once, when time passes its end.

In: append-only rows (`session_changes.py` takes others). State: a row an open session, with its start, end and
accumulators; sessions that a new row joins are merged into the earliest. Where values are kept anyhow (DISTINCT, LISTAGG) aggregates keep the rows of open sessions in a table of
their own instead (`session_rows.py`), and are computed when the session closes.

Late, as in Flink: a row that touches no session of its key that is open, and whose own has closed, by the watermark
that the row carries. A row that is not late may be behind that watermark: then it joins a session that is open, or
opens one, which may lie beside one that was emitted. What is open by a row's watermark depends on the rows of its key
that came with smaller ones, whatever split they are of. So rows behind the watermark are held back until time is past
the watermark that they carry, which is when all those are here; then they are taken one after the other, in the order
of their watermarks, and of arrival where these are equal. Rows that are not behind are taken as they come: by their
time they can touch neither a session that any such row finds closed, nor make it find one open that was not
(docs/decisions/018).

Rows that carry no watermark may have the watermark's own time, so sessions wait until time is past their end, and the
output's time is one microsecond behind.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from sqlstream.aggregates.streaming.part import EVERY
from sqlstream.batches import END, NO_WATERMARK, ORD, WM, Delta, Time, concat, hidden, meet, visible
from sqlstream.errors import InternalError
from sqlstream.literals import interval_text
from sqlstream.operators import session_kernels as kernels
from sqlstream.operators.aggregation import Aggregation
from sqlstream.operators.base import Operator, OperatorContext, Traits
from sqlstream.operators.distribution import Spread, places_in
from sqlstream.operators.group_aggregate import aggregate_details
from sqlstream.operators.row_store import Layout, RowStore
from sqlstream.operators.session_rows import SessionRows
from sqlstream.operators.window_operator import START, STOP, TIME, WindowNode, WindowOperator, window_columns
from sqlstream.plan.nodes import AggCall
from sqlstream.state.arrays import Array, fixed, validity
from sqlstream.state.index import HashIndex
from sqlstream.state.multimap import MultiMap
from sqlstream.state.sets import ascending
from sqlstream.state.table import StateSpec
from sqlstream.state.time_index import TimeIndex
from sqlstream.state.uniques import Uniques
from sqlstream.types import Schema


@dataclass(frozen=True)
class SessionWindowAggregate(WindowNode):
    """keys: input columns besides the window's, in the output's order. output: keys, calls; the positions are
    those of the window's columns among its keys, or None."""

    keys: tuple[int, ...]
    time_column: int
    gap: int
    domain: str
    calls: tuple[AggCall, ...]
    window_start_position: int | None
    window_end_position: int | None
    window_time_position: int | None
    output: Schema
    name = "SessionWindowAggregate"
    changes = ""

    def __post_init__(self) -> None:
        if not self.inputs[0].traits.append_only:
            raise InternalError("SessionWindowAggregate takes append-only rows")
        count = len(self.output) - len(self.calls)
        self.derive(self.output, Traits(key=tuple(range(count))))
        self.aggregation()

    def distribution(self) -> tuple[tuple[int, ...] | None, ...]:
        return (self.keys,)

    def spread(self) -> Spread | None:
        below = self.placed(0)
        return None if below is None else below.moved(places_in(self.places))

    def details(self) -> str:
        schema = self.inputs[0].schema
        window = f"window=[SESSION, gap={interval_text(self.gap)}, time={schema[self.time_column].name}]"
        return f"{window}, {aggregate_details(schema, self.keys, self.calls)}"

    def aggregation(self) -> Aggregation:
        """The calls over sessions: a new one each time, that holds no rows yet."""
        arrival = self.inputs[0].traits.arrival
        return Aggregation(self.calls, self.inputs[0].schema, append_only=True, arrival=arrival, merging=True)

    @property
    def merges(self) -> bool:
        """Whether partial results of all calls are less than their rows, so that no rows need be kept."""
        return not self.aggregation().indexes

    @property
    def places(self) -> tuple[int, ...]:
        """For each key column of the output the input column, or START, STOP, TIME."""
        marks = {
            self.window_start_position: START,
            self.window_end_position: STOP,
            self.window_time_position: TIME,
        }
        others = iter(self.keys)
        return tuple(marks[i] if i in marks else next(others) for i in range(len(self.output) - len(self.calls)))

    def arguments(self) -> tuple[int, ...]:
        """Input columns that the calls read."""
        return tuple(sorted({a for c in self.calls for a in c.reads}))

    def states(self) -> tuple[StateSpec, ...]:
        schema = self.inputs[0].schema
        key = [(f"c{k}", schema[k].type.arrow()) for k in self.keys]
        fields = self.aggregation().fields() if self.merges else []
        sessions = StateSpec(
            "sessions",
            # A session that closed and one beside it may have one start, within an epoch.
            pa.schema([*key, ("id", pa.int64())]),
            pa.schema([pa.field("start", pa.int64()), pa.field("end", pa.int64()), *fields]),
            len(self.keys),
        )
        behind = self.behind().spec()
        if self.merges:
            return (sessions, behind)
        kept = [(f"c{a}", schema[a].type.arrow()) for a in self.arguments()]
        if self.inputs[0].traits.arrival:
            kept.append((ORD, pa.int64()))
        rows = StateSpec(
            "rows", pa.schema([*key, ("id", pa.int64())]), pa.schema([("t", pa.int64()), *kept]), len(self.keys)
        )
        return (sessions, behind, rows)

    def behind(self) -> Layout:
        """Rows that are held back, with what they are ordered by."""
        order = [(WM, pa.int64()), *([(ORD, pa.int64())] if self.inputs[0].traits.arrival else [])]
        return Layout.of("behind", self.inputs[0], self.keys, tuple(order))

    def operator(self, context: OperatorContext) -> Operator:
        return SessionOperator(context, self)


class SessionTime(WindowOperator):
    """What time is where sessions close."""

    node: SessionWindowAggregate

    def __init__(self, context: OperatorContext, node: SessionWindowAggregate) -> None:
        super().__init__(context, node)
        self.node = node
        self._held = 0 if self._judges else 1

    def _with_a_time(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Without the rows that are in no window."""
        column = batch.column(self.node.time_column)
        return batch.filter(pa.array(validity(column))) if column.null_count else batch

    def _passed(self, upto: Array) -> Array:
        """The greatest ends of sessions that have closed when time has come to `upto`."""
        marks = (upto == END) | (upto == NO_WATERMARK)
        return np.where(marks, upto, self._zone.passed(np.where(marks, 0, upto) + 1) - 1)

    def _held_time(self, time: Time) -> Time:
        def held(t: int) -> int:
            return t if t in (END, NO_WATERMARK) else t - self._held

        return Time(held(time.watermark), held(time.proctime), time.idle)

    def _local(self, rows: pa.RecordBatch) -> Array:
        return self._zone.local(fixed(rows.column(self.node.time_column)).astype(np.int64, copy=False))


class SessionOperator(SessionTime):
    """The running half: the epoch's rows to sessions, those joined with open ones, closed ones out."""

    def __init__(self, context: OperatorContext, node: SessionWindowAggregate) -> None:
        super().__init__(context, node)
        self._width = len(node.inputs[0].schema)
        self._aggregation = node.aggregation()
        self._uniques = Uniques()
        schema = node.inputs[0].schema
        # Keys that have open sessions, and their sessions.
        self._keys = HashIndex([schema[k].type.arrow() for k in node.keys])
        self._chains = MultiMap()
        self._least = END  # no open session ends before
        self._next = max((int(r["sessions"]) for r in context.restored), default=0)
        self._due = TimeIndex()  # rows that are held back, by watermark
        self._rows: SessionRows | None = None

    def open(self) -> None:
        specs = self.node.states()
        self._table = table = self.context.state(specs[0])
        self._start, self._end = table.fixed("start"), table.fixed("end")
        if self.node.merges:
            self._aggregation.open(table)
        slots = table.slots()
        owner, _ = self._keys.upsert(table.keys(slots)[:-1], len(slots))
        self._chains.add(owner, slots)
        if len(slots):
            self._least = int(self._end.data[slots].min())
        self._behind = RowStore(self.node.behind(), self.context.state(specs[1]))
        held = self._behind.table.slots()
        self._due.add(self._behind.table.fixed(WM).data[held], held)
        if not self.node.merges:
            first = max((int(s["rows"]) for s in self.context.restored), default=0)
            arrival = self.node.inputs[0].traits.arrival
            arguments, state = self.node.arguments(), self.context.state(specs[2])
            self._rows = SessionRows(arguments, self.node.aggregation, arrival, state, first)
            self._rows.open(self._keys, owner, self._start.data[slots], slots)

    def snapshot(self) -> dict[str, Any]:
        numbers = {"sessions": self._next} | ({} if self._rows is None else {"rows": self._rows.next})
        return super().snapshot() | numbers

    def step(self, inputs: list[Delta]) -> Delta:
        time = meet([d.time for d in inputs])
        out = Delta(time=self._held_time(time))
        batch = concat(inputs[0].batches)
        if batch is not None:
            batch = self._with_a_time(batch)
            bounds = self.bounds(batch)
            behind = fixed(batch.column(self.node.time_column)) <= bounds
            if behind.any():
                self._hold(batch.filter(pa.array(behind)), bounds[behind])
                batch = batch.filter(pa.array(~behind))
            if batch.num_rows:
                self._take(batch)
        upto = out.time.of(self.node.domain)
        if upto > self._closed:
            due = self._due.take(upto - 1)
            if len(due):
                self._take_behind(due)
            self._closed = upto
            local = int(self._passed(np.array([upto]))[0])
            if self._least <= local:
                self._emit(local, out)
        return out

    def _take(self, batch: pa.RecordBatch) -> None:
        """Rows that are not behind the watermark that they carry."""
        node = self.node
        keys, times = [batch.column(k) for k in node.keys], self._local(batch)
        owner, _ = self._keys.upsert(keys, batch.num_rows)
        owners, local = self._uniques.of(owner, self._keys.index.capacity)
        at, open_ = self._chains.probe(owners)  # sessions that are open, of the keys at hand
        n = len(open_)
        local = np.concatenate([at, local])
        starts = np.concatenate([self._start.data[open_], times])
        ends = np.concatenate([self._end.data[open_], times + node.gap])
        # Stable, so that an open session comes before a row that begins with it.
        order = np.lexsort((starts, local))
        joined, last = np.empty(len(order), np.int64), np.empty(len(order), np.int64)
        count = kernels.join_sessions(local[order], starts[order], ends[order], joined, last)
        first = order[np.flatnonzero(np.diff(joined, prepend=-1))]
        session = np.empty(len(order), np.int64)
        session[order] = joined
        # A session is the open one that it begins with, or new.
        new = first >= n
        number = np.where(new, n - 1 + np.cumsum(new), first)
        begins = first[new] - n
        spans = np.empty((2, n + len(begins)), np.int64)
        spans[:, number] = starts[first], last[:count]
        mine = number[session[n:]]
        arrival = hidden(batch, ORD)
        self._join(batch, keys, times, arrival, owner, mine, begins, owners[at], open_, number[session[:n]], spans)

    def _hold(self, batch: pa.RecordBatch, marks: Array) -> None:
        arrival = hidden(batch, ORD)
        extras = [pa.array(x) for x in (marks, arrival) if x is not None]
        self._due.add(marks, self._behind.add(visible(batch, self._width), None, extras))

    def _take_behind(self, slots: Array) -> None:
        """Rows that were held back, and before which all has come that is before them."""
        node, held = self.node, self._behind.table
        rows, marks = self._behind.rows(slots), held.fixed(WM).data[slots]
        arrival = held.fixed(ORD).data[slots] if node.inputs[0].traits.arrival else None
        self._behind.delete(slots)
        keys, times = [rows.column(k) for k in node.keys], self._local(rows)
        owner, _ = self._keys.upsert(keys, rows.num_rows)
        owners, local = self._uniques.of(owner, self._keys.index.capacity)
        at, open_ = self._chains.probe(owners)
        n, room = len(open_), len(open_) + rows.num_rows
        # Where arrival is not known rows of one watermark are taken as if they came at once: the latest first, as
        # only a later one can hold a row's session open.
        order = np.lexsort((-times if arrival is None else arrival, marks, local))
        spans = np.empty((2, room), np.int64)
        spans[:, :n] = self._start.data[open_], self._end.data[open_]
        head, link, into = np.full(len(owners), -1), np.empty(room, np.int64), np.empty(room, np.int64)
        session = np.empty(rows.num_rows, np.int64)
        count = kernels.join_behind(
            local[order], times[order], self._passed(marks)[order], node.gap, at, *spans, head, link, into, session
        )
        late = session < 0
        if late.any():
            self.context.late(rows.take(pa.array(order[late])), marks[order[late]])
        order, session = order[~late], session[~late]
        # Those that were open keep their numbers, new ones that are still there after all rows are numbered anew.
        new = n + np.flatnonzero(into[n:count] == np.arange(n, count))
        number = np.arange(count)
        number[new] = np.arange(n, n + len(new))
        found, first = np.unique(session, return_index=True)
        if len(order):
            taken = pa.array(order)
            self._join(
                rows.take(taken), [k.take(taken) for k in keys], times[order],
                None if arrival is None else arrival[order], owner[order], number[session], first[found >= n],
                owners[at], open_, number[into[:n]], spans[:, np.concatenate([np.arange(n), new])],
            )  # fmt: skip
        self._keys.delete(owners[self._chains.counts(owners) == 0])

    def _join(
        self,
        rows: pa.RecordBatch,
        keys: list[pa.Array],
        times: Array,
        arrival: Array | None,
        owner: Array,
        sessions: Array,
        begins: Array,
        owners: Array,
        open_: Array,
        into: Array,
        spans: Array,
    ) -> None:
        """Puts rows into sessions, by number: first those that are open, then one for each of the rows `begins`.

        owner     the key of each row; `owners` of each open session
        into      the number of the session that an open one becomes part of: its own, if it stays
        spans     start and end of each session that stays
        """
        table, n = self._table, len(open_)
        ids = pa.array(np.arange(self._next, self._next + len(begins)))
        self._next += len(begins)
        new, _ = table.upsert([*(k.take(pa.array(begins)) for k in keys), ids])
        slots = np.concatenate([open_, new])
        moved = into != np.arange(n)
        stays = np.concatenate([~moved, np.ones(len(new), np.bool_)])
        table.writing(slots[stays])
        for column, span in ((self._start, spans[0]), (self._end, spans[1])):
            column.valid[new] = True
            column.data[slots[stays]] = span[stays]
        self._least = min(self._least, int(spans[1][stays].min(initial=END)))
        self._chains.add(owner[begins], new)
        gone, target = open_[moved], slots[into[moved]]
        if self._rows is None:
            self._aggregation.start(new)
            self._aggregation.merge(target, self._aggregation, gone, [])
            self._aggregation.add(slots[sessions], EVERY, rows, keys, arrival)
        else:
            self._rows.move(gone, target)
            self._rows.add(slots[sessions], rows, keys, times, arrival)
        table.touch(slots[stays])
        self._chains.remove(owners[moved], gone)
        table.delete(gone)

    def _emit(self, upto: int, out: Delta) -> None:
        table = self._table
        slots = table.slots()
        ends = self._end.data[slots]
        closed = ends <= upto
        self._least = int(ends[~closed].min()) if not closed.all() else END
        slots, ends = slots[closed], ends[closed]
        if not len(slots):
            return
        keys = table.keys(slots)[:-1]
        results = self._aggregation.result(slots) if self._rows is None else self._rows.result(slots)
        columns = window_columns(
            self.node.places, self.node.keys, keys, self._start.data[slots], ends, len(slots), self._schema, self._zone
        )
        out.batches.append(pa.RecordBatch.from_arrays([*columns, *results], schema=self._schema))
        owners = self._keys.find(keys, len(slots))
        self._chains.remove(owners, slots)
        table.delete(slots)
        owners = ascending(owners)
        self._keys.delete(owners[self._chains.counts(owners) == 0])
