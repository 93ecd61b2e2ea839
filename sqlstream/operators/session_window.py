"""SessionWindowAggregate: GROUP BY a SESSION window. Rows of a key whose times are no more than `gap` apart (they
overlap or touch as [t, t + gap)) are one session; it is emitted once, when time passes its end.

In: append-only rows. State: a row an open session, keyed by its key and start, with its end and accumulators;
sessions that a new row joins are merged into the earliest. Calls that do not merge (DISTINCT, LISTAGG) keep the
rows of open sessions in a second table instead, and are computed when the session closes.

Late: a row that is not after the watermark it carries. Flink drops fewer (those with t + gap <= watermark), but
then a row could extend a session that was emitted, or not, depending on how far other splits are; by this rule
no row that is on time can touch a session that was closed, and the answer is the batch answer over the rows
that were on time. Rows that carry no watermark may have the watermark's own time, so sessions wait until time is
past their end, and the output's time is one microsecond behind.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from sqlstream.batches import END, NO_WATERMARK, ORD, Delta, Time, concat, hidden, meet
from sqlstream.errors import NotSupported
from sqlstream.operators import aggregate_kernels as kernels
from sqlstream.operators.accumulators import EVERY, Array, Uniques
from sqlstream.operators.aggregation import Aggregation, can_share_slices
from sqlstream.operators.base import Operator, OperatorContext, Traits
from sqlstream.operators.group_aggregate import aggregate_details
from sqlstream.operators.window_aggregate import START, STOP, TIME, WindowNode, WindowOperator, window_columns
from sqlstream.plan.nodes import AggCall
from sqlstream.state.arrays import fixed, validity
from sqlstream.state.index import HashIndex
from sqlstream.state.multimap import MultiMap
from sqlstream.state.table import StateSpec, StateTable
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
    output: Schema
    window_start_position: int | None = None
    window_end_position: int | None = None
    window_time_position: int | None = None
    name = "SessionWindowAggregate"

    def __post_init__(self) -> None:
        if not self.inputs[0].traits.append_only:
            raise NotSupported(
                "a SESSION window over rows that change cannot run as a stream",
                hint="put the window below what makes rows change (GROUP BY, top-N, outer JOIN)",
            )
        count = len(self.output) - len(self.calls)
        self.derive(self.output, Traits(key=tuple(range(count))))
        self.aggregation()

    def distribution(self) -> tuple[tuple[int, ...] | None, ...]:
        return (self.keys,)

    def details(self) -> str:
        schema = self.inputs[0].schema
        window = f"window=[SESSION, gap={self.gap / 1e6:g} s, time={schema[self.time_column].name}]"
        return f"{window}, {aggregate_details(schema, self.keys, self.calls)}"

    def aggregation(self) -> Aggregation:
        arrival = self.inputs[0].traits.arrival
        return Aggregation(self.calls, self.inputs[0].schema, append_only=True, arrival=arrival)

    @property
    def merges(self) -> bool:
        return can_share_slices(self.calls)

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
        used = {a for c in self.calls for a in c.args} | {c.filter for c in self.calls if c.filter is not None}
        return tuple(sorted(used))

    def states(self) -> tuple[StateSpec, ...]:
        schema = self.inputs[0].schema
        key = [(f"c{k}", schema[k].type.arrow()) for k in self.keys]
        fields = self.aggregation().fields() if self.merges else []
        sessions = StateSpec(
            "sessions",
            pa.schema([*key, ("start", pa.int64())]),
            pa.schema([pa.field("end", pa.int64()), *fields]),
            len(self.keys),
        )
        if self.merges:
            return (sessions,)
        kept = [(f"c{a}", schema[a].type.arrow()) for a in self.arguments()]
        if self.inputs[0].traits.arrival:
            kept.append((ORD, pa.int64()))
        rows = StateSpec(
            "rows", pa.schema([*key, ("id", pa.int64())]), pa.schema([("t", pa.int64()), *kept]), len(self.keys)
        )
        return (sessions, rows)

    def operator(self, context: OperatorContext) -> Operator:
        return SessionOperator(context, self)


class SessionOperator(WindowOperator):
    def __init__(self, context: OperatorContext, node: SessionWindowAggregate) -> None:
        super().__init__(context, node, len(node.inputs[0].schema))
        self.node = node
        self._aggregation = node.aggregation()
        self._held = 0 if self._judges else 1
        self._uniques = Uniques()
        schema = node.inputs[0].schema
        # Keys that have open sessions, and their sessions.
        self._keys = HashIndex([schema[k].type.arrow() for k in node.keys])
        self._chains = MultiMap()
        self._least = END  # no open session ends before
        self._rows: Rows | None = None

    def open(self) -> None:
        specs = self.node.states()
        self._table = table = self.context.state(specs[0])
        self._end = table.fixed("end")
        if self.node.merges:
            self._aggregation.open(table)
        slots = table.slots()
        *keys, start = table.keys(slots)
        owner, _ = self._keys.upsert(keys, len(slots))
        self._chains.add(owner, slots)
        if len(slots):
            self._least = int(self._end.data[slots].min())
        if not self.node.merges:
            first = max((int(s["rows"]) for s in self.context.restored), default=0)
            self._rows = Rows(self.node, self.context.state(specs[1]), first)
            self._rows.open(self._keys, owner, fixed(start), slots)

    def snapshot(self) -> dict[str, Any]:
        return super().snapshot() | ({} if self._rows is None else {"rows": self._rows.next})

    def step(self, inputs: list[Delta]) -> Delta:
        time = meet([d.time for d in inputs])
        out = Delta(time=self._behind(time))
        batch = concat(inputs[0].batches)
        if batch is not None:
            column = batch.column(self.node.time_column)
            none = ~validity(column) if column.null_count else None
            late = fixed(column) <= self.bounds(batch)
            batch = self.without(batch, late if none is None else late & ~none, none)
            if batch.num_rows:
                self._take(batch)
        upto = out.time.of(self.node.domain)
        if upto > self._closed:
            self._closed = upto
            local = self._passed(upto)
            if self._least <= local:
                self._emit(local, out)
        return out

    def _passed(self, upto: int) -> int:
        """The greatest end of a session that no later row can touch."""
        return upto if upto in (END, NO_WATERMARK) else self._zone.passed_at(upto + 1) - 1

    def _behind(self, time: Time) -> Time:
        def held(t: int) -> int:
            return t if t in (END, NO_WATERMARK) else t - self._held

        return Time(held(time.watermark), held(time.proctime), time.idle)

    def _take(self, batch: pa.RecordBatch) -> None:
        node, table = self.node, self._table
        keys = [batch.column(k) for k in node.keys]
        times = self._zone.local(fixed(batch.column(node.time_column)).astype(np.int64, copy=False))
        owner, _ = self._keys.upsert(keys, batch.num_rows)
        owners, local = self._uniques.of(owner, self._keys.index.capacity)
        at, open_ = self._chains.probe(owners)  # sessions that are open, of the keys at hand
        n = len(open_)
        local = np.concatenate([at, local])
        starts = np.concatenate([fixed(table.keys(open_)[-1]), times])
        ends = np.concatenate([self._end.data[open_], times + node.gap])
        # Stable, so that an open session comes before a row that begins with it.
        order = np.lexsort((starts, local))
        joined, last = np.empty(len(order), np.int64), np.empty(len(order), np.int64)
        count = kernels.join_sessions(local[order], starts[order], ends[order], joined, last)
        first = order[np.flatnonzero(np.diff(joined, prepend=-1))]
        session = np.empty(len(order), np.int64)
        session[order] = joined

        into = np.empty(count, np.int64)
        known = first < n
        into[known] = open_[first[known]]
        rows = first[~known] - n
        new, _ = table.upsert([*(k.take(pa.array(rows)) for k in keys), pa.array(times[rows])])
        into[~known] = new
        self._end.valid[new] = True
        self._end.data[into] = last[:count]
        self._least = min(self._least, int(last[:count].min()))
        self._chains.add(owner[rows], new)
        mine = into[session[n:]]
        moved = into[session[:n]] != open_
        gone, target = open_[moved], into[session[:n]][moved]
        arrival = hidden(batch, ORD)
        if self._rows is None:
            self._aggregation.start(new)
            self._aggregation.merge(target, self._aggregation, gone)
            self._aggregation.add(mine, EVERY, batch, keys, arrival)
        else:
            self._rows.move(gone, target)
            self._rows.add(mine, batch, keys, times, arrival)
        table.touch(into)
        self._chains.remove(owners[at[moved]], gone)
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
        *keys, start = table.keys(slots)
        results = self._aggregation.result(slots) if self._rows is None else self._rows.result(slots)
        columns = window_columns(
            self.node.places, self.node.keys, keys, fixed(start), ends, len(slots), self._schema, self._zone
        )
        out.batches.append(pa.RecordBatch.from_arrays([*columns, *results], schema=self._schema))
        owners = self._keys.find(keys, len(slots))
        self._chains.remove(owners, slots)
        table.delete(slots)
        owners = np.unique(owners)
        self._keys.delete(owners[self._chains.counts(owners) == 0])


class Columns:
    """Some columns of the input under their positions, for an Aggregation."""

    def __init__(self, columns: dict[int, pa.Array]) -> None:
        self._columns = columns

    def column(self, i: int) -> pa.Array:
        return self._columns[i]


class Rows:
    """The rows of open sessions, by session slot; for calls whose partial results do not merge."""

    def __init__(self, node: SessionWindowAggregate, table: StateTable, first: int) -> None:
        self.node, self.table, self.next = node, table, first
        self._arguments = node.arguments()
        self._chains = MultiMap()

    def open(self, index: HashIndex, owners: Array, starts: Array, sessions: Array) -> None:
        """Each row belongs to the last session of its key that begins not after it."""
        rows = self.table.slots()
        if not len(rows):
            return
        times = self.table.fixed("t").data[rows]
        owner = index.find(self.table.keys(rows)[:-1], len(rows))
        n = len(sessions)
        order = np.lexsort((np.concatenate([starts, times]), np.concatenate([owners, owner])))
        held = np.maximum.accumulate(np.where(order < n, np.arange(len(order)), 0))
        is_row = order >= n
        self._chains.add(sessions[order[held[is_row]]], rows[order[is_row] - n])

    def add(
        self, sessions: Array, batch: pa.RecordBatch, keys: list[pa.Array], times: Array, arrival: Array | None
    ) -> None:
        n = batch.num_rows
        slots, _ = self.table.upsert([*keys, pa.array(np.arange(self.next, self.next + n))])
        self.next += n
        values = [pa.array(times), *(batch.column(a) for a in self._arguments)]
        self.table.put(slots, values if arrival is None else [*values, pa.array(arrival)])
        self._chains.add(sessions, slots)

    def move(self, sessions: Array, into: Array) -> None:
        at, rows = self._chains.probe(sessions)
        self._chains.remove(sessions[at], rows)
        self._chains.add(into[at], rows)

    def result(self, sessions: Array) -> list[pa.Array]:
        """The calls' columns; forgets the rows."""
        at, rows = self._chains.probe(sessions)
        order = np.argsort(at, kind="stable")
        at, rows = at[order], rows[order]
        aggregation = self.node.aggregation()
        group = [pa.array(at)]
        table = StateTable(StateSpec("g", pa.schema([("s", pa.int64())]), pa.schema(aggregation.fields())))
        aggregation.open(table, StateTable)
        all_groups, _ = table.upsert([pa.array(np.arange(len(sessions)))])
        aggregation.start(all_groups)
        columns = {a: self.table.column(f"c{a}").get(rows) for a in self._arguments}
        given = self.node.inputs[0].traits.arrival
        arrival = self.table.fixed(ORD).data[rows] if given else None
        aggregation.add(all_groups[at], EVERY, Columns(columns), group, arrival)
        results = aggregation.result(all_groups)
        self._chains.remove(sessions[at], rows)
        self.table.delete(rows)
        return results
