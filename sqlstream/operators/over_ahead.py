"""OverAhead: OVER calls over append-only rows in order of event time, with frames that end behind the row.

A row comes out once and for all when the watermark is past its frame: when all rows are there that RANGE … n FOLLOWING
reaches, and, for ROWS … n FOLLOWING and LEAD, n rows after it (or the input's end). State: the rows that have not come
out, and those that frames of these, or of rows to come, still reach. DuckDB computes the partitions in which a row is due,
as far as they are kept.

Late: a row that is not after the watermark that it carries, as where OVER's frames have no beginning. Rows without a time
are dropped. Rows come out behind the watermark, so it is held back by what RANGE frames reach ahead. Of ROWS frames nobody
can say by how much, and of tasks each another time: where an operator behind waits for the watermark, the planner has
an OverChangelog for those.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from sqlstream.batches import END, NO_WATERMARK, ORD, Delta, Time, concat, meet
from sqlstream.errors import InternalError
from sqlstream.operators.base import Operator, OperatorContext, Traits
from sqlstream.operators.distribution import Spread
from sqlstream.operators.evaluate import Evaluator
from sqlstream.operators.window_operator import WindowNode, WindowOperator
from sqlstream.plan import nodes
from sqlstream.plan.nodes import OverCall, SortKey, order_text
from sqlstream.plan.nodes.order import Reach
from sqlstream.rendering.overs import called, over_sql, partition_sql, placed, sort_sql
from sqlstream.state.arrays import Array, fixed, validity
from sqlstream.state.index import HashIndex
from sqlstream.state.multimap import MultiMap
from sqlstream.state.sets import ascending, numbered
from sqlstream.state.table import StateSpec
from sqlstream.state.time_index import TimeIndex
from sqlstream.types import ROWTIME, Column, Schema, as_type


@dataclass(frozen=True)
class OverAhead(WindowNode):
    """Input columns, then one column a call. `order`: the time column, ascending, first."""

    partition: tuple[int, ...]
    order: tuple[SortKey, ...]
    calls: tuple[OverCall, ...]
    reach: Reach
    output: Schema
    name = "OverAggregate"
    changes = ""
    domain = ROWTIME

    def __post_init__(self) -> None:
        traits = self.inputs[0].traits
        if not traits.append_only or not self.order or not self.order[0].ascending:
            raise InternalError("OverAhead: needs append-only input in ascending order of time")
        self.derive(self.output, Traits(key=traits.key))

    def distribution(self) -> tuple[tuple[int, ...] | None, ...]:
        return (self.partition,)

    def spread(self) -> Spread | None:
        return self.placed(0)

    def details(self) -> str:
        s = self.inputs[0].schema
        return (
            f"partition=[{', '.join(s[p].name for p in self.partition)}], order=[{order_text(s, self.order)}], "
            f"calls=[{', '.join(c.text(s) for c in self.calls)}], rows wait for their frames"
        )

    def kept(self) -> list[pa.Field]:
        """What is kept of a row."""
        arrival = [pa.field(ORD, pa.int64())] if self.inputs[0].traits.arrival else []
        return [*self.inputs[0].schema.arrow(), *arrival]

    def states(self) -> tuple[StateSpec, ...]:
        columns = self.inputs[0].schema.arrow()
        keys = [(f"k{p}", columns.field(p).type) for p in self.partition]
        values = pa.schema([*self.kept(), pa.field("done", pa.bool_())])
        return (StateSpec("rows", pa.schema([*keys, ("id", pa.int64())]), values, len(self.partition)),)

    def state_column(self, state: str, name: str) -> Column | None:
        return super().state_column(state, f"c{name[1:]}" if name[:1] == "k" else name)

    def statement(self) -> str:
        """Of rows with `_i`: it, the calls, the row's number in its partition, and the partition's rows."""
        width = len(self.inputs[0].schema)
        over = nodes.Over(nodes.Values(self.inputs[0].schema.columns, ()), self.partition, self.order, self.calls)
        tie = ORD if self.inputs[0].traits.arrival else ", ".join(f"c{i}" for i in range(width))
        items = [f"{over_sql(over, c, tie, repeatable=True)} AS o{i}" for i, c in enumerate(self.calls)]
        by = partition_sql(self.partition)
        number = f"row_number() OVER ({by} ORDER BY {sort_sql(self.order)}, {tie}) AS _n"
        items = ["_i", *items, number, f"count(*) OVER ({by}) AS _m"]
        return f"SELECT {', '.join(items)} FROM {placed(over, tie, 'input', repeatable=True)}"

    def operator(self, context: OperatorContext) -> Operator:
        return OverAheadOperator(context, self)


class OverAheadOperator(WindowOperator):
    """The running half: a partition is looked at when rows of it come by the watermark, are due, or can go."""

    def __init__(self, context: OperatorContext, node: OverAhead) -> None:
        super().__init__(context, node)
        schema = node.inputs[0].schema
        self.node, self._width, self._time = node, len(schema), node.order[0].column
        self._evaluator = Evaluator.of(node.statement(), context.time_zone, called(node.calls))
        self._next = max((int(s["rows"]) for s in context.restored), default=0)
        self._partitions = HashIndex([schema[p].type.arrow() for p in node.partition])
        self._chains = MultiMap()
        self._wakes = TimeIndex()  # partitions, by when to look at them
        self._asked = pa.schema([*node.kept(), pa.field("_i", pa.int64())])

    def open(self) -> None:
        self._table = self.context.state(self.node.states()[0])
        slots = self._table.slots()
        if len(slots):
            owner, _ = self._partitions.upsert(self._table.keys(slots)[:-1], len(slots))
            self._chains.add(owner, slots)
            self._wake(owner, self._times(slots))

    def snapshot(self) -> dict[str, Any]:
        return super().snapshot() | {"rows": self._next}

    def close(self) -> None:
        self._evaluator.close()

    def step(self, inputs: list[Delta]) -> Delta:
        time = meet([d.time for d in inputs])
        upto = time.watermark
        # A row that carries no watermark may have the time's own: it waits until time is past it.
        upto = max(upto if self._judges or upto == END else max(upto, -END) - 1, self._closed)
        batch = concat(inputs[0].batches)
        if batch is not None:
            self._take(batch)
        self._closed = upto
        owners = self._wakes.take(upto)
        if upto == END:  # rows wait no longer for others behind them
            owners = ascending(self._owners(self._table.slots()))
        rows = self._due(owners, upto) if len(owners) else None
        return Delta([rows] if rows is not None and rows.num_rows else [], self._behind(time))

    def _take(self, batch: pa.RecordBatch) -> None:
        column = batch.column(self._time)
        none = ~validity(column) if column.null_count else np.zeros(batch.num_rows, np.bool_)
        bounds = self.bounds(batch)
        batch = self.without(batch, bounds, (fixed(column) <= bounds) & ~none, none)
        n = batch.num_rows
        if not n:
            return
        columns = [batch.column(i) for i in range(self._width)]
        if len(self.node.kept()) > self._width:
            columns.append(batch.column(batch.schema.get_field_index(ORD)))
        keys = [columns[p] for p in self.node.partition]
        slots, _ = self._table.upsert([*keys, pa.array(np.arange(self._next, self._next + n))])
        self._next += n
        self._table.put(slots, [*columns, pa.array(np.zeros(n, np.bool_))])
        owner, _ = self._partitions.upsert(keys, n)
        self._chains.add(owner, slots)
        self._wake(owner, self._times(slots))

    def _owners(self, slots: Array) -> Array:
        return self._partitions.find(self._table.keys(slots)[:-1], len(slots))

    def _times(self, slots: Array) -> Array:
        return self._table.fixed(f"c{self._time}").data[slots]

    def _wake(self, owner: Array, times: Array) -> None:
        """When rows come by the watermark, when their frames are past, and when nothing more reaches them."""
        ahead, behind = self.node.reach.time_ahead, self.node.reach.time_behind
        for after in sorted({0, ahead, ahead + behind}):
            self._wakes.add(times + after, owner)

    def _due(self, owners: Array, upto: int) -> pa.RecordBatch | None:
        """The rows of these partitions that come out, with their results; what nothing reaches any more goes."""
        reach = self.node.reach
        _, slots = self._chains.probe(owners)
        slots = slots[self._times(slots) <= upto]
        if not len(slots):
            return None
        kept = self._table.values(slots).columns[: len(self.node.kept())]
        asked = pa.RecordBatch.from_arrays([*kept, pa.array(np.arange(len(slots)))], schema=self._asked)
        made = self._evaluator.run(asked)
        at = fixed(made.column(0))
        slots = slots[at]
        times, number, many = (
            self._times(slots),
            fixed(made.column(made.num_columns - 2)),
            fixed(made.column(made.num_columns - 1)),
        )
        done = self._table.fixed("done").data[slots]
        due = ~done & ((upto == END) | ((times <= upto - reach.time_ahead) & (many - number >= reach.rows_ahead)))
        out = np.flatnonzero(due)
        out = out[np.argsort(times[out], kind="stable")]
        arrays = [*(kept[i].take(pa.array(at[out])) for i in range(self._width))]
        arrays += [made.column(1 + i).take(pa.array(out)) for i in range(len(self.node.calls))]
        rows = pa.RecordBatch.from_arrays(
            [as_type(a, f.type) for a, f in zip(arrays, self._schema, strict=True)], schema=self._schema
        )
        self._table.writing(slots[due])
        self._table.fixed("done").data[slots[due]] = True
        self._table.touch(slots[due])
        self._free(slots, times, number, done | due, upto)
        return rows

    def _free(self, slots: Array, times: Array, number: Array, done: Array, upto: int) -> None:
        """Of each partition those rows that are done go that the first row which waits, or any to come, does not reach."""
        owner = self._owners(slots)
        owners, at = numbered(owner)
        last, first = np.zeros(len(owners), np.int64), np.full(len(owners), min(upto, END - 1) + 1)
        np.maximum.at(last, at[done], number[done])
        np.minimum.at(first, at[~done], times[~done])
        reached = number > last[at] - self.node.reach.rows_behind
        reached |= times >= first[at] - self.node.reach.time_behind
        gone, owner = slots[done & ~reached], owner[done & ~reached]
        if not len(gone):
            return
        self._chains.remove(owner, gone)
        self._table.delete(gone)
        owner = ascending(owner)
        self._partitions.delete(owner[self._chains.counts(owner) == 0])

    def _behind(self, time: Time) -> Time:
        """The time of what comes out: RANGE frames hold rows back, in all tasks alike."""
        if time.watermark == END:
            return time
        return replace(time, watermark=max(time.watermark - self.node.reach.time_ahead, NO_WATERMARK))
