"""WindowTopN: the rows of each window whose rank lies in first..last, once, when the window closes.

For `PARTITION BY window_start, window_end, …`; deduplication by window is the one of rank 1. State: the rows of windows
that are still open; of an input that is only appended to, only an epoch's first `last` come into it, and those that cannot be
among the first any more go whenever twice as many rows are there as stayed the last time. Out: rows that never change.

Rows that tie are ranked as by TopN. Late rows as in window joins.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from sqlstream.batches import NO_WATERMARK, ORD, Delta, hidden, meet
from sqlstream.errors import InternalError
from sqlstream.operators.base import Operator, OperatorContext, Traits
from sqlstream.operators.ordering import break_ties, sort, sortable
from sqlstream.operators.partitioned import Partitioned
from sqlstream.operators.row_store import distinct
from sqlstream.operators.top_n import as_often, ranks
from sqlstream.operators.window_rows import WindowRows
from sqlstream.plan.over_functions import RANKINGS
from sqlstream.state.arrays import Array
from sqlstream.state.spec import StateSpec
from sqlstream.types import PROCTIME, Schema

FEW = 65_536  # rows that may wait without being looked through


@dataclass(frozen=True)
class WindowTopN(Partitioned):
    """`end`: the window end, a column of the partition; `domain`: what closes the window. `rank`: whether the rank is
    appended as a BIGINT column. `last_first`: of rows that tie the later arrival ranks first."""

    end: int
    domain: str
    first: int
    last: int
    function: str
    rank: bool
    last_first: bool
    output: Schema

    name = "WindowTopN"
    changes = ""

    def __post_init__(self) -> None:
        (input_,) = self.inputs
        if self.function not in RANKINGS or self.end not in self.partition:
            raise InternalError(f"WindowTopN by {self.function}, end {self.end} of {self.partition}")
        key = input_.traits.key
        if self.function == "ROW_NUMBER" and self.rank:
            key = (*self.partition, len(input_.schema))
        elif self.function == "ROW_NUMBER" and self.first >= self.last:
            key = self.partition
        self.derive(self.output, Traits(key=key))

    def waits(self) -> bool:
        return self.domain != PROCTIME

    def drops_late(self) -> tuple[int, ...]:
        return (0,) if self.waits() and self.inputs[0].traits.row_wm else ()

    def details(self) -> str:
        close = self.inputs[0].schema[self.end].name
        ranked = f"ranks={self.first}..{self.last}{', rank' if self.rank else ''}"
        return f"{self.function}, {self.place()}, {ranked}, close={close}"

    def states(self) -> tuple[StateSpec, ...]:
        return (self.layout().spec(),)

    def operator(self, context: OperatorContext) -> Operator:
        return WindowTopNOperator(self, context)


class WindowTopNOperator(Operator):
    """The running half: rows wait for the end of their window, and are ranked then."""

    def __init__(self, node: WindowTopN, context: OperatorContext) -> None:
        super().__init__(context)
        self.node = node
        self.rows = WindowRows(node, 0, node.end, node.domain, node.layout(), context)
        # A task that another's rows come to has not closed what that one has not.
        self.closed = min((r["closed"] for r in context.restored), default=NO_WATERMARK)
        self._looked_at = FEW

    def open(self) -> None:
        self.rows.open()

    def step(self, inputs: list[Delta]) -> Delta:
        time = meet([d.time for d in inputs])
        out = Delta([], time)
        self.rows.take_in(inputs[0], self.closed, self._first if self.rows.append_only else None)
        watermark = time.of(self.node.domain)
        if watermark > self.closed:
            self.closed = watermark
            self._emit(self.rows.due(watermark), out)
        if self.rows.append_only and self.rows.store.table.size > self._looked_at:
            self._thin_out()
        return out

    def _emit(self, slots: Array, out: Delta) -> None:
        if not len(slots):
            return
        node = self.node
        at, rank = self._stored(slots)
        given = (rank >= node.first) & (rank <= node.last)
        if given.any():
            columns = self.rows.store.rows(slots[at[given]]).columns
            if node.rank:
                columns.append(pa.array(rank[given]))
            out.batches.append(pa.RecordBatch.from_arrays(columns, schema=node.arrow_schema()))
        self.rows.drop(slots)

    def _thin_out(self) -> None:
        slots = self.rows.store.table.slots()
        at, rank = self._stored(slots)
        kept = np.zeros(len(slots), np.bool_)
        kept[at[rank <= self.node.last]] = True
        self.rows.drop(slots[~kept])
        self._looked_at = max(FEW, 2 * int(np.count_nonzero(kept)))

    def _first(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The rows of an epoch that are among the first `last` of their partition there."""
        arrival = hidden(batch, ORD) if self.node.by_arrival else None
        at, rank = self._ranked(lambda which: [batch.column(i) for i in which], batch.num_rows, None, arrival)
        return batch.take(pa.array(np.sort(at[rank <= self.node.last])))

    def _stored(self, slots: Array) -> tuple[Array, Array]:
        """As `_ranked`, of the rows at `slots`."""
        store = self.rows.store
        arrival = store.table.fixed(ORD).data[slots] if self.node.by_arrival else None
        return self._ranked(lambda which: store.columns(slots, which), len(slots), store.copies(slots), arrival)

    def _ranked(
        self, columns: Callable[[list[int]], list[pa.Array]], n: int, copies: Array | None, arrival: Array | None
    ) -> tuple[Array, Array]:
        """Places among n rows, in the order of their partitions and ranks (as often as the row is there); the ranks."""
        node = self.node
        group, fresh = distinct(columns(list(node.partition)), n)
        keys: list[Array] = []
        for k in node.order:
            keys += sortable(columns([k.column])[0], k)
        order, new = sort(group, keys, int(np.count_nonzero(fresh)))
        if node.function == "ROW_NUMBER":
            order = break_ties(order, new, lambda: self._ties(columns, arrival))
        if copies is not None:
            order, new = as_often(order, new, copies)
        start = np.ones(len(order), np.bool_)
        start[1:] = group[order][1:] != group[order][:-1]
        return order, ranks(node.function, np.ones(len(order), np.bool_), start, new)

    def _ties(self, columns: Callable[[list[int]], list[pa.Array]], arrival: Array | None) -> list[pa.Array]:
        if arrival is None:
            return columns(list(range(len(self.rows.columns))))
        return [pa.array(-arrival if self.node.last_first else arrival)]

    def snapshot(self) -> dict[str, Any]:
        return {"closed": self.closed}
