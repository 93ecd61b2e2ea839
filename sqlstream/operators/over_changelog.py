"""OverChangelog: OVER calls over any input and any order: the general way.

State: all rows, by partition. Each epoch the partitions that changed are computed twice in one DuckDB statement, as
they were and as they are, and the difference goes out, net. So a change costs as much as its partition; where rows
only come, in time order, the planner takes OverAggregate.

Rows that tie by order are told apart, where that shows (ROWS frames, ROW_NUMBER, LAG, …), by arrival where the input
is append-only and has it, else by their content: the same in batch, in every run, at every parallelism.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from sqlstream.batches import ORD, Delta, concat, hidden, meet
from sqlstream.errors import InternalError
from sqlstream.operators.base import Operator, OperatorContext, Traits
from sqlstream.operators.changelog import paired, repeated, with_operations
from sqlstream.operators.evaluate import Evaluator
from sqlstream.operators.pairs import operations
from sqlstream.operators.partition_lives import PartitionLives
from sqlstream.operators.partitioned import Partitioned
from sqlstream.operators.row_store import EMPTY, Change, RowStore, net
from sqlstream.plan import nodes
from sqlstream.plan.nodes import OverCall
from sqlstream.rendering.overs import called, over_sql, placed
from sqlstream.state.arrays import Array
from sqlstream.state.index import HashIndex
from sqlstream.state.multimap import MultiMap
from sqlstream.state.sets import among, ascending
from sqlstream.state.spec import StateSpec
from sqlstream.types import BIGINT, Column, Schema, as_schema


@dataclass(frozen=True)
class OverChangelog(Partitioned):
    """Input columns, then one column a call."""

    calls: tuple[OverCall, ...]
    output: Schema

    name = "OverAggregate"
    changes = "OVER"

    def __post_init__(self) -> None:
        (input_,) = self.inputs
        if len(self.output) != len(input_.schema) + len(self.calls):
            raise InternalError(f"OverChangelog: {len(self.output)} output columns")
        self.derive(self.output, Traits(append_only=False, key=input_.traits.key))

    def details(self) -> str:
        calls = ", ".join(c.text(self.inputs[0].schema) for c in self.calls)
        return f"{self.place()}, calls=[{calls}], changelog"

    def states(self) -> tuple[StateSpec, ...]:
        return (self.layout().spec().living(self.ttl),)

    def lifetimes(self) -> tuple[tuple[str, int], ...]:
        return (("overState", self.ttl),)

    def statement(self) -> str:
        """The statement over rows with one more column, 0 for the rows as they were and 1 as they are."""
        columns, width = self.inputs[0].schema.columns, len(self.inputs[0].schema)
        rows = nodes.Values((*columns, Column("now", BIGINT)), ())
        over = nodes.Over(rows, (width, *self.partition), self.order, self.calls)
        tie = ORD if self.by_arrival else ", ".join(f"c{i}" for i in range(width))
        items = [f"c{i}" for i in range(width)]
        items += [f"{over_sql(over, c, tie, repeatable=True)} AS c{width + i}" for i, c in enumerate(self.calls)]
        source = placed(over, tie, "input", repeatable=True)
        return f"SELECT {', '.join([*items, f'c{width} AS now'])} FROM {source}"

    def operator(self, context: OperatorContext) -> Operator:
        return OverChangelogOperator(self, context)


class OverChangelogOperator(Operator):
    """The running half: the rows of changed partitions before and after, through one statement."""

    def __init__(self, node: OverChangelog, context: OperatorContext) -> None:
        super().__init__(context)
        self.node = node
        self.append_only = node.inputs[0].traits.append_only
        layout = node.layout()
        self.store = RowStore(layout, context.state(layout.spec()))
        self.index = HashIndex([layout.columns.field(p).type for p in node.partition])
        self.map = MultiMap()
        self.lives = PartitionLives(self.store.table)
        width = len(layout.columns)
        hidden_ = [pa.field(ORD, pa.int64())] if node.by_arrival else []
        self.asked = pa.schema([*layout.columns, pa.field(f"c{width}", pa.int64()), *hidden_])
        self.evaluator = Evaluator.of(node.statement(), context.time_zone, called(node.calls))

    def open(self) -> None:
        slots = self.store.table.slots()
        if len(slots):
            partitions, _ = self.index.upsert(self.store.partition(slots), len(slots))
            self.map.add(partitions, slots)
            self.lives.restored(partitions, slots)

    def step(self, inputs: list[Delta]) -> Delta:
        out, batch = Delta([], meet([d.time for d in inputs])), concat(inputs[0].batches)
        if batch is None:
            return out
        self._expire()
        c = Change.of([batch], self.store.layout.columns, self.append_only)
        same = self._partitions(c.same)
        if self.node.ttl:
            c = c.renewing(self.store)
        minus, minus_counts, plus, plus_counts = c.minus, c.minus_counts, c.plus, c.plus_counts
        arrival = hidden(batch, ORD) if self.node.by_arrival else None
        going, coming = self._partitions(minus), self._partitions(plus)
        written = ascending(np.concatenate([same, going, coming]))
        gone = EMPTY
        if len(going):
            slots = self.store.find(minus)
            counts = np.minimum(minus_counts, self.store.copies(np.maximum(slots, 0)))
            there = (slots >= 0) & (counts > 0)
            if self.node.ttl:
                self.context.lost(int(np.count_nonzero(~there)))
            minus, minus_counts, going, slots = minus.filter(pa.array(there)), counts[there], going[there], slots[there]
            gone = slots[self.store.remove(slots, minus_counts)]
            self.map.remove(gone, gone)
        _, stay = self.map.probe(ascending(np.concatenate([going, coming])))
        result = self.evaluator.run(self._asked(stay, minus, minus_counts, plus, plus_counts, arrival))
        slots = self.store.add(plus, plus_counts, None if arrival is None else [pa.array(arrival)])
        self.map.add(coming, slots)
        if self.node.ttl:
            group, rows = self.map.probe(written)
            self.lives.write(written, rows[np.flatnonzero(np.diff(group, prepend=-1))])
        if len(gone):
            self.store.delete(gone[~among(gone, slots)])
        self._forget_empty(written)

        sign = 2 * result.column("now").to_numpy() - 1
        rows = result.select(range(len(self.node.schema)))
        rows, sign = repeated(*net(with_operations(rows, operations(sign)), rows.num_columns))
        if rows.num_rows:
            changes = paired(rows, sign, self.node.traits.key)
            out.batches.append(as_schema(changes, self.node.arrow_schema()))
        return out

    def _expire(self) -> None:
        """Forgets the partitions whose time is over, without a word."""
        slots = self.store.table.expired()
        if not len(slots):
            return
        slots = self.lives.over(slots, self.index.find(self.store.partition(slots), len(slots)))
        if len(slots):
            self.map.remove(slots, slots)
            partitions = self.index.find(self.store.partition(slots), len(slots))
            self.store.delete(slots)
            self._forget_empty(ascending(partitions))

    def _forget_empty(self, partitions: Array) -> None:
        self.index.delete(partitions[self.map.counts(partitions) == 0])

    def _partitions(self, rows: pa.RecordBatch) -> Array:
        if not rows.num_rows:
            return EMPTY
        slots, _ = self.index.upsert([rows.column(p) for p in self.node.partition], rows.num_rows)
        return slots

    def _asked(
        self, stay: Array, minus: pa.RecordBatch, minus_counts: Array, plus: pa.RecordBatch, plus_counts: Array,
        arrival: Array | None,
    ) -> pa.RecordBatch:  # fmt: skip
        """The changed partitions as they were and as they are, each row as often as it is there."""
        stored = self.store.rows(stay)
        parts, counts = [stored, stored, minus, plus], self.store.copies(stay)
        now = np.repeat(np.array([0, 1, 0, 1]), [p.num_rows for p in parts])
        rows, _ = repeated(
            pa.concat_batches(parts).append_column("now", pa.array(now)),
            np.concatenate([counts, counts, minus_counts, plus_counts]),
        )
        columns = rows.columns
        if arrival is not None:  # append-only: each row once, and none goes
            kept = self.store.table.fixed(ORD).data[stay]
            columns = [*columns, pa.array(np.concatenate([kept, kept, arrival]))]
        return pa.RecordBatch.from_arrays(columns, schema=self.asked)

    def close(self) -> None:
        self.evaluator.close()
