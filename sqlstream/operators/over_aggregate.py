"""OverAggregate: OVER calls over append-only rows in time order, with frames that end at the current row.

Rows wait until time passes theirs, then they come out in time order with their results, once and for all. DuckDB
computes each epoch's rows in one statement. State:

    rows      rows that wait; and rows that later frames still reach: the last n of a partition (ROWS n PRECEDING,
              LAG n), those in reach of its last row (RANGE), or all (unbounded frames of calls with DISTINCT,
              LISTAGG, and VAR or STDDEV of doubles, which nothing shorter than their rows stands for)
    running   for calls from UNBOUNDED PRECEDING on: a row a partition with what they have come to, which takes part
              in the statement as one more row before the others

Frames by RANGE take in rows of equal time; ROWS and ROW_NUMBER order rows of equal time by arrival, if known, else
by their content. Rows without a time are dropped.

Late, as in Flink: where a frame is unbounded, a row that is not after the watermark it carries. Where all are bounded,
a row that is not after the last row of its partition that came out by that watermark. One that is behind the watermark
waits until time is past the watermark that it carries: then all rows are here that came out by then, whatever split
they are of (docs/decisions/018). Frames by RANGE forget a partition when the watermark is past its last row by one and
a half times the frame, which is when Flink clears its state: what comes then is taken as its first row.
With a time to live (over processing time) a partition is forgotten that had no row for so long, unless time alone says
which rows are kept.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from sqlstream.batches import END, NO_WATERMARK, ORD, Delta, concat, meet
from sqlstream.errors import InternalError
from sqlstream.operators.base import Operator, OperatorContext, Traits
from sqlstream.operators.distribution import Spread
from sqlstream.operators.evaluate import Evaluator
from sqlstream.operators.over_carried import BEFORE, CARRY, DUE
from sqlstream.operators.over_statement import Statement
from sqlstream.operators.window_operator import WindowNode, WindowOperator
from sqlstream.plan.nodes import TUNING, OverCall, SortKey, order_text
from sqlstream.plan.over_functions import OVER_FUNCTIONS
from sqlstream.rendering.overs import called
from sqlstream.state.arrays import Array, fixed, validity
from sqlstream.state.index import HashIndex
from sqlstream.state.multimap import MultiMap
from sqlstream.state.sets import ascending, numbered
from sqlstream.state.table import StateSpec
from sqlstream.state.time_index import TimeIndex
from sqlstream.state.uniques import Uniques
from sqlstream.types import PROCTIME, Column, Schema, as_type

FIRE = "_fire"  # a row that waits comes out when time is past this


@dataclass(frozen=True)
class OverAggregate(WindowNode):
    """Input columns, then one column a call. order: the time column, ascending, first."""

    partition: tuple[int, ...]
    order: tuple[SortKey, ...]
    calls: tuple[OverCall, ...]
    domain: str
    output: Schema
    ttl: int = field(default=0, kw_only=True, metadata=TUNING)
    name = "OverAggregate"
    changes = ""

    def __post_init__(self) -> None:
        traits = self.inputs[0].traits
        if not traits.append_only or not self.order or not self.order[0].ascending:
            raise InternalError("OverAggregate: needs append-only input in ascending order of time")
        for c in self.calls:
            if c.frame is not None and not c.frame.ends_now:
                raise InternalError("OverAggregate: a frame ends after the current row")
            if c.frame is None and (c.function not in OVER_FUNCTIONS or OVER_FUNCTIONS[c.function].ahead):
                raise InternalError(f"OverAggregate: {c.function} without a frame")
        self.derive(self.output, Traits(key=traits.key, arrival=traits.arrival))

    def distribution(self) -> tuple[tuple[int, ...] | None, ...]:
        return (self.partition,)

    def spread(self) -> Spread | None:
        return self.placed(0)

    def details(self) -> str:
        s = self.inputs[0].schema
        return (
            f"partition=[{', '.join(s[p].name for p in self.partition)}], order=[{order_text(s, self.order)}], "
            f"calls=[{', '.join(c.text(s) for c in self.calls)}]"
        )

    @property
    def bounded(self) -> bool:
        """Whether all frames begin at a distance from the current row."""
        return all(c.frame is not None and c.frame.preceding is not None for c in self.calls)

    def kept(self) -> list[pa.Field]:
        """What is kept of a row."""
        columns, traits = self.inputs[0].schema.arrow(), self.inputs[0].traits
        hidden = [*([ORD] if traits.arrival else []), *([FIRE] if self.bounded else [])]
        return [*columns, *(pa.field(name, pa.int64()) for name in hidden)]

    def statement(self, lives: bool = False) -> Statement:
        """The SQL of an epoch. `lives`: for rows of more than one life of their partitions."""
        rows = self.inputs[0]
        return Statement(rows.schema, self.partition, self.order, self.calls, rows.traits.arrival, lives)

    def states(self) -> tuple[StateSpec, ...]:
        columns = self.inputs[0].schema.arrow()
        keys = [(f"k{p}", columns.field(p).type) for p in self.partition]
        statement = self.statement()
        rows = StateSpec(
            "rows",
            pa.schema([*keys, ("id", pa.int64())]),
            pa.schema([*self.kept(), pa.field("done", pa.bool_())]),
            len(self.partition),
        )
        if statement.keeps and not statement.expires:
            rows = rows.living(self.ttl)
        if not statement.partials:
            return (rows,)
        partials = pa.schema([(p.name, p.type) for p in statement.partials])
        running = StateSpec("running", pa.schema(keys), partials)
        return (rows, running.living(self.ttl))

    def state_column(self, state: str, name: str) -> Column | None:
        return super().state_column(state, f"c{name[1:]}" if name[:1] == "k" else name)

    def lifetimes(self) -> tuple[tuple[str, int], ...]:
        s = self.statement()
        idle = bool(s.partials) or (s.keeps and not s.expires)
        return (("overState", self.ttl),) if self.domain == PROCTIME and idle else ()

    def operator(self, context: OperatorContext) -> Operator:
        return OverOperator(context, self)


class OverOperator(WindowOperator):
    """The running half: rows wait by time, and each epoch those that are due go through the statement."""

    def __init__(self, context: OperatorContext, node: OverAggregate) -> None:
        super().__init__(context, node)
        self._width = len(node.inputs[0].schema)
        self.node = node
        self._time = node.order[0].column
        self._statement = node.statement()
        self._evaluator = Evaluator.of(self._statement.sql, context.time_zone, called(node.calls))
        self._next = max((int(s["rows"]) for s in context.restored), default=0)
        self._waiting, self._old = TimeIndex(), TimeIndex()
        self._uniques = Uniques()
        schema = node.inputs[0].schema
        # Partitions that have rows that came out before, and those rows.
        self._partitions = HashIndex([schema[p].type.arrow() for p in node.partition])
        self._chains = MultiMap()
        self._arrival = node.inputs[0].traits.arrival
        # A row in an epoch: what is kept of it, what it is, its slot or -1, its partition's life.
        marks = [pa.field("_s", pa.int8()), pa.field("_slot", pa.int64()), pa.field("_life", pa.int64())]
        self._row = pa.schema([*node.kept(), *marks])
        self._kept = len(node.kept())
        columns = [self._row.field(i) for i in self._statement.columns]
        marks = [pa.field("_s", pa.int8()), pa.field("_i", pa.int64())]
        partials = [pa.field(p.name, p.type) for p in self._statement.partials]
        self._asked = pa.schema([*columns, *marks, *partials])
        sorting = self._statement.sorting
        self._sorter = None if sorting is None else Evaluator.of(sorting, context.time_zone)
        self._of_lives: Evaluator | None = None  # the statement for rows of more than one life

    def open(self) -> None:
        specs = self.node.states()
        self._table = self.context.state(specs[0])
        self._running = self.context.state(specs[1]) if len(specs) > 1 else None
        slots = self._table.slots()
        if not len(slots):
            return
        done = self._table.fixed("done").data[slots]
        self._waiting.add(self._fires(slots[~done]), slots[~done])
        self._remember(slots[done])

    def snapshot(self) -> dict[str, Any]:
        return super().snapshot() | {"rows": self._next}

    def close(self) -> None:
        self._evaluator.close()
        for e in (self._sorter, self._of_lives):
            if e is not None:
                e.close()

    def step(self, inputs: list[Delta]) -> Delta:
        out = Delta(time=meet([d.time for d in inputs]))
        self._end_lives()
        upto = out.time.of(self.node.domain)
        # A row that carries no watermark may have the time's own: it waits until time is past it.
        upto = max(upto if self._judges or upto == END else max(upto, -END) - 1, self._closed)
        batch = concat(inputs[0].batches)
        due: list[pa.RecordBatch] = []
        if batch is not None:
            column = batch.column(self._time)
            none = ~validity(column) if column.null_count else np.zeros(batch.num_rows, np.bool_)
            bounds = self.bounds(batch)
            behind = (fixed(column) <= bounds) & ~none
            fire = np.where(behind, bounds, fixed(column) - 1)
            late = np.zeros_like(behind) if self.node.bounded else behind
            batch, fire = self.without(batch, bounds, late, none), fire[~(late | none)]
            if batch.num_rows:
                now = fire < upto
                self._wait(batch.filter(pa.array(~now)), fire[~now])
                if now.any():
                    rows = batch.filter(pa.array(now))
                    due.append(self._given(self._columns(rows, fire[now]), DUE, np.full(rows.num_rows, -1)))
        if upto > self._closed:
            self._closed = upto
            slots = self._waiting.take(upto - 1)
            if len(slots):
                due.append(self._given(self._stored(slots), DUE, slots))
        if due:
            rows = self._evaluate(due)
            if rows.num_rows:
                out.batches.append(rows)
        self._expire()
        return out

    # --- rows in the state -------------------------------------------------------------------------------

    def _columns(self, batch: pa.RecordBatch, fire: Array) -> list[pa.Array]:
        """What is kept of input rows: the visible columns, the arrival, and when they come out."""
        columns = [batch.column(i) for i in range(self._width)]
        if self._arrival:
            columns.append(batch.column(batch.schema.get_field_index(ORD)))
        return [*columns, pa.array(fire)] if self.node.bounded else columns

    def _stored(self, slots: Array) -> list[pa.Array]:
        return self._table.values(slots).columns[: self._kept]  # type: ignore[no-any-return]

    def _times(self, slots: Array) -> Array:
        return self._table.fixed(f"c{self._time}").data[slots]

    def _fires(self, slots: Array) -> Array:
        return self._table.fixed(FIRE).data[slots] if self.node.bounded else self._times(slots) - 1

    def _insert(self, columns: list[pa.Array], done: bool) -> Array:
        n = len(columns[0])
        keys = [columns[p] for p in self.node.partition]
        slots, _ = self._table.upsert([*keys, pa.array(np.arange(self._next, self._next + n))])
        self._next += n
        self._table.put(slots, [*columns, pa.array(np.full(n, done))])
        return slots

    def _wait(self, batch: pa.RecordBatch, fire: Array) -> None:
        if batch.num_rows:
            self._waiting.add(fire, self._insert(self._columns(batch, fire), False))

    def _remember(self, slots: Array) -> None:
        """Rows that came out and that later frames reach."""
        owner, _ = self._partitions.upsert(self._table.keys(slots)[:-1], len(slots))
        self._chains.add(owner, slots)
        if self._statement.expires:
            self._old.add(self._times(slots), slots)

    def _forget(self, slots: Array) -> None:
        if not len(slots):
            return
        owner = self._partitions.find(self._table.keys(slots)[:-1], len(slots))
        self._chains.remove(owner, slots)
        self._table.delete(slots)
        owner = ascending(owner[owner >= 0])
        self._partitions.delete(owner[self._chains.counts(owner) == 0])

    # --- the statement -----------------------------------------------------------------------------------

    def _given(self, columns: list[pa.Array], what: int, slots: Array) -> pa.RecordBatch:
        life = pa.array(np.zeros(len(slots), np.int64))
        arrays = [*columns, pa.array(np.full(len(slots), what, np.int8)), pa.array(slots), life]
        return pa.RecordBatch.from_arrays(arrays, schema=self._row)

    def _evaluate(self, due: list[pa.RecordBatch]) -> pa.RecordBatch:
        rows = pa.concat_batches(due)
        if self._statement.keeps:
            owner = self._partitions.find([rows.column(p) for p in self.node.partition], rows.num_rows)
            _, slots = self._chains.probe(ascending(owner[owner >= 0]))
            if len(slots):
                rows = pa.concat_batches([rows, self._given(self._stored(slots), BEFORE, slots)])
        if self.node.bounded:
            rows = self._not_late(rows)
        rows = self._in_order(rows)
        is_due = fixed(rows.column(self._kept)) == DUE
        came = rows.filter(pa.array(is_due))
        made = self._results(rows, came)
        made = made.take(pa.array(np.argsort(fixed(made.column(0)), kind="stable")))
        calls = len(self.node.calls)
        if self._running is not None:
            # Of each partition the last row's running values hold.
            slots, _ = self._running.upsert([came.column(p) for p in self.node.partition], came.num_rows)
            values = made.columns[1 + calls :]
            types = [p.type for p in self._statement.partials]
            self._running.put(slots, [as_type(v, t) for v, t in zip(values, types, strict=True)])
        if self._statement.keeps:
            self._retain(rows)
        else:
            slots = fixed(came.column(self._kept + 1))
            self._table.delete(slots[slots >= 0])
        arrays = [
            *came.columns[: self._width],
            *made.columns[1 : 1 + calls],
            *came.columns[self._width : self._width + self._arrival],
        ]
        return pa.RecordBatch.from_arrays(
            [as_type(a, f.type) for a, f in zip(arrays, self._schema, strict=True)],
            schema=self._schema,
        )

    def _not_late(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """Without the late rows, which are reported; and each row's life: the same as that of the row of its partition
        that comes out before, unless the partition was forgotten in between."""
        n, times, fire = rows.num_rows, fixed(rows.column(self._time)), fixed(rows.column(self._kept - 1))
        due = fixed(rows.column(self._kept)) == DUE
        behind = due & (times <= fire)
        if not behind.any():
            return rows
        # In the order in which rows come out. One that is behind the watermark comes before one that the next
        # watermark brings, and together with those that came with its watermark.
        fire = np.where(due, fire, NO_WATERMARK)
        owner = self._owners(rows)
        order = np.lexsort((~behind, fire, owner))
        owner, fire, behind = owner[order], fire[order], behind[order]
        begins = np.diff(owner, prepend=-1) != 0
        group = begins | (np.diff(fire, prepend=0) != 0) | (np.diff(behind, prepend=False) != 0)
        before = np.maximum.accumulate(np.where(group, np.arange(n), 0)) - 1
        # The greatest time up to each row of its partition, by rank: partitions then follow each other.
        values, ranks = np.unique(times[order], return_inverse=True)
        greatest = np.maximum.accumulate(owner * n + ranks)[before] - owner * n
        first = (before < 0) | (greatest < 0)
        last = values[np.where(first, 0, greatest)]
        forgotten = behind & ~first & (fire > last + self._remembers)
        late = behind & ~first & ~forgotten & (times[order] <= last)
        life = np.empty(n, np.int64)
        life[order] = np.cumsum(forgotten & group)
        dropped = np.zeros(n, np.bool_)
        dropped[order] = late
        rows = rows.set_column(rows.num_columns - 1, "_life", pa.array(life))
        if late.any():
            gone = rows.filter(pa.array(dropped))
            self.context.late(gone, fixed(gone.column(self._kept - 1)))
            slots = fixed(gone.column(self._kept + 1))
            self._table.delete(slots[slots >= 0])
        return rows.filter(pa.array(~dropped))

    def _owners(self, rows: pa.RecordBatch) -> Array:
        """Each row's partition, as a small number."""
        keys = [rows.column(p) for p in self.node.partition]
        return HashIndex([k.type for k in keys]).upsert(keys, rows.num_rows)[0]

    def _results(self, rows: pa.RecordBatch, came: pa.RecordBatch) -> pa.RecordBatch:
        """The statement's, for rows in order."""
        asked = self._asked_of(rows, came)
        life = rows.column(self._kept + 2)
        if not fixed(life).any():
            return self._evaluator.run(asked)
        if self._of_lives is None:
            self._of_lives = Evaluator.of(
                self.node.statement(lives=True).sql, self.context.time_zone, called(self.node.calls)
            )
        return self._of_lives.run(asked.append_column("_life", life))

    def _in_order(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """By the OVER's order; rows that tie by arrival, else by content."""
        if self._sorter is None:
            times = fixed(rows.column(self._time))
            order = pa.array(np.lexsort((fixed(rows.column(self._width)), times)))
        else:
            numbered = rows.append_column("_row", pa.array(np.arange(rows.num_rows)))
            order = self._sorter.run(numbered).column(0)
        return rows.take(order)

    def _asked_of(self, rows: pa.RecordBatch, came: pa.RecordBatch) -> pa.RecordBatch:
        """What the statement is over: `rows` in order, and what the partitions of `came` have come to."""
        n, columns = rows.num_rows, self._statement.columns
        arrays = [rows.column(c) for c in columns]
        arrays += [rows.column(self._kept), pa.array(np.arange(1, n + 1))]
        arrays += [pa.nulls(n, p.type) for p in self._statement.partials]
        batch = pa.RecordBatch.from_arrays(arrays, schema=self._asked)
        if self._running is None:
            return batch
        keys = [came.column(p) for p in self.node.partition]
        slots, _ = self._running.upsert(keys, came.num_rows)
        touched, _ = self._uniques.of(slots, self._running.capacity)
        carry = dict(zip(self.node.partition, self._running.keys(touched), strict=True))
        n = len(touched)
        arrays = [carry[c] if c in carry else pa.nulls(n, rows.column(c).type) for c in columns]
        arrays += [pa.array(np.full(n, CARRY, np.int8)), pa.array(np.zeros(n, np.int64))]
        arrays += self._running.values(touched).columns[: len(self._statement.partials)]
        return pa.concat_batches([batch, pa.RecordBatch.from_arrays(arrays, schema=self._asked)])

    def _retain(self, rows: pa.RecordBatch) -> None:
        """Keeps what later frames reach, of the partitions at hand."""
        statement = self._statement
        s, slots = fixed(rows.column(self._kept)), fixed(rows.column(self._kept + 1))
        keep = np.full(len(s), statement.reach_all)
        if not statement.reach_all:
            owner, life = self._owners(rows), fixed(rows.column(self._kept + 2))
            if statement.reach_rows:
                keep |= last_of(owner, statement.reach_rows)
            if statement.reach_time >= 0:
                times, last = fixed(rows.column(self._time)), np.empty(len(s), np.int64)
                order = np.argsort(life, kind="stable")
                last[owner[order]] = times[order]  # the last of each stays
                last = last[owner]
                keep |= times >= last - statement.reach_time
                if life.any():
                    lives = np.zeros(len(s), np.int64)
                    np.maximum.at(lives, owner, life)
                    keep &= life == lives[owner]
                if statement.expires:
                    keep &= last >= self._bound()
        stored = slots >= 0
        self._forget(slots[stored & ~keep])
        if self._table.spec.ttl:  # a partition's rows live on with each that comes
            self._table.touch(slots[stored & keep])
        stays = slots[stored & keep & (s == DUE)]
        if len(stays):
            self._table.writing(stays)
            self._table.fixed("done").data[stays] = True
            self._table.touch(stays)
            self._remember(stays)
        fresh = rows.filter(pa.array(~stored & keep))
        if fresh.num_rows:
            self._remember(self._insert(fresh.columns[: self._kept], True))

    def _end_lives(self) -> None:
        """Forgets the partitions whose time to live is over; rows that wait have not begun theirs."""
        if self._running is not None:
            self._running.expire()
        slots = self._table.expired()
        if len(slots):
            done = self._table.fixed("done").data[slots]
            self._table.renew(slots[~done])
            self._forget(slots[done])

    def _bound(self) -> int:
        """Partitions whose last row is before this time are forgotten."""
        return self._closed - self._remembers if self._closed > -END // 2 else self._closed

    @property
    def _remembers(self) -> int:
        return self._statement.remembered if self._statement.expires else END // 4

    def _expire(self) -> None:
        """RANGE alone: partitions that get no rows any more."""
        if not self._statement.expires:
            return
        slots = self._old.take(self._bound() - 1)
        slots = slots[self._table.fixed("done").data[slots]]
        slots = slots[self._times(slots) < self._bound()]
        if not len(slots):
            return
        # A row goes with its partition's last.
        owner = self._partitions.find(self._table.keys(slots)[:-1], len(slots))
        owners, at = numbered(owner)
        where, rows = self._chains.probe(owners)
        last = np.full(len(owners), NO_WATERMARK)
        np.maximum.at(last, where, self._times(rows))
        last = last[at]
        stays = last >= self._bound()
        self._old.add(last[stays], slots[stays])
        self._forget(slots[~stays])


def last_of(owner: Array, n: int) -> Array:
    """True for the last n rows of each owner."""
    order = np.argsort(owner, kind="stable")
    size = np.bincount(owner)
    end = np.cumsum(size)[owner[order]]
    out = np.empty(len(owner), np.bool_)
    out[order] = end - np.arange(len(owner)) <= n
    return out
