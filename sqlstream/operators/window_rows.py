"""The rows of an input that wait for the end of their window: of window joins and of top-n by window."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa

from sqlstream.batches import ORD, WM, Delta, concat, hidden
from sqlstream.operators.base import OperatorContext, PhysicalNode
from sqlstream.operators.row_store import Change, Layout, RowStore
from sqlstream.state.arrays import Array, fixed, plain
from sqlstream.state.sets import among
from sqlstream.state.time_index import TimeIndex
from sqlstream.time_zones import window_zone


class WindowRows:
    """Those of input `which` of `node`, by their window's end: column `end`, in the time of `domain`.

    A row is late when its own `_wm` had passed the end of its window, or when the window was closed already.
    """

    def __init__(
        self, node: PhysicalNode, which: int, end: int, domain: str, layout: Layout, context: OperatorContext
    ) -> None:
        self.append_only, self.end, self.which = node.inputs[which].traits.append_only, end, which
        self.columns, self.late = layout.columns, context.late
        self.judged = which in node.drops_late()
        self.arrival = any(name == ORD for name, _ in layout.extras)
        self.zone = window_zone(domain, context.time_zone)
        self.store = RowStore(layout, context.state(layout.spec()))
        self.expiry = TimeIndex()
        self._freed = not self.append_only  # slots of rows that wait may be free, or have other rows in them

    def open(self) -> None:
        """Finds the restored rows by the end of their window again."""
        slots = self.store.table.slots()
        self.expiry.add(self._ends(self.store.columns(slots, [self.end])[0]), slots)

    def _ends(self, column: pa.Array) -> Array:
        return fixed(plain(column)).astype(np.int64)

    def take_in(
        self, delta: Delta, closed: int, chosen: Callable[[pa.RecordBatch], pa.RecordBatch] | None = None
    ) -> None:
        """Applies the epoch's changes to windows that end after `closed`; `chosen`: those of its rows that need be kept."""
        batch = concat(delta.batches)
        if batch is None:
            return
        ends = self._ends(batch.column(self.end))
        marks = np.full(batch.num_rows, closed)
        late = ends <= self.zone.passed_at(closed)
        if self.judged:
            wm = hidden(batch, WM)
            assert wm is not None
            marks = np.maximum(marks, wm)
            late |= ends <= self.zone.passed(wm)
        if late.any():
            self.late(batch.filter(pa.array(late)), marks[late], self.which)
            batch = batch.filter(pa.array(~late))
        if chosen is not None:
            batch = chosen(batch)
        change = Change.of([batch], self.columns, self.append_only)
        if len(change.minus_counts):
            slots = self.store.find(change.minus)
            there = slots >= 0
            gone = self.store.remove(slots[there], change.minus_counts[there])
            self.store.delete(slots[there][gone])
        if len(change.plus_counts):
            extras = None
            if self.arrival:
                arrival = hidden(batch, ORD)
                assert arrival is not None
                extras = [pa.array(arrival)]
            slots = self.store.add(change.plus, change.plus_counts, extras)
            self.expiry.add(self._ends(change.plus.column(self.end)), slots)

    def due(self, watermark: int) -> Array:
        """The slots of the rows of windows that close; they are not looked for again."""
        passed = self.zone.passed_at(watermark)
        slots = self.expiry.take(passed)
        if self._freed:
            slots = slots[among(slots, self.store.table.slots())]
            slots = slots[self._ends(self.store.columns(slots, [self.end])[0]) <= passed]
        return slots

    def drop(self, slots: Array) -> None:
        """Forgets rows before their window closes."""
        if len(slots):
            self._freed = True
            self.store.delete(slots)

    def closing(self, watermark: int) -> tuple[pa.RecordBatch, Array]:
        """The rows of windows that close, with their copies; they are gone from the state."""
        slots = self.due(watermark)
        rows, copies = self.store.rows(slots), self.store.copies(slots)
        self.store.delete(slots)
        return rows, copies
