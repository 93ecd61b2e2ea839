"""WindowJoin: a Join whose keys have the window end of both sides. The running half of `Join` with `close`.

State: the rows of windows that are still open. Out: when the watermark (or the clock) passes a window's end, all of
its pairs and unmatched rows at once, for every kind; then the window is forgotten. Append-only where the inputs are:
a changing input may change a window's rows until it closes.

A row is late when its own `_wm` had passed the end of its window, or when the window was already joined.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from sqlstream.batches import NO_WATERMARK, WM, Delta, concat, hidden, meet, visible
from sqlstream.operators.base import Operator, OperatorContext
from sqlstream.operators.join import Join
from sqlstream.operators.pairs import LEFT_ONLY, KeyTable, Output, Residual, never_equal
from sqlstream.operators.row_store import BatchRows, Change, Layout, RowStore, TimeIndex
from sqlstream.state.arrays import Array, fixed, plain
from sqlstream.time_zones import window_zone
from sqlstream.types import PROCTIME


class Side:
    """One input: its rows by window end."""

    def __init__(self, node: Join, which: int, layout: Layout, context: OperatorContext) -> None:
        assert node.close is not None
        self.source, self.end = node.inputs[which], node.close[which]
        self.keys = (node.left_keys, node.right_keys)[which]
        self.columns, self.late = layout.columns, context.late
        self.judged = self.source.traits.row_wm and node.domain != PROCTIME
        self.zone = window_zone(node.domain, context.time_zone)
        self.store = RowStore(layout, context.state(layout.spec()))
        self.expiry = TimeIndex()

    def open(self) -> None:
        slots = self.store.table.slots()
        self.expiry.add(self._ends(self.store.columns(slots, [self.end])[0]), slots)

    def _ends(self, column: pa.Array) -> Array:
        return fixed(plain(column)).astype(np.int64)

    def take_in(self, delta: Delta, closed: int) -> None:
        """Applies the epoch's changes to windows that end after `closed`."""
        batch = concat(delta.batches)
        if batch is None:
            return
        ends = self._ends(batch.column(self.end))
        late = ends <= self.zone.passed_at(closed)
        if self.judged:
            wm = hidden(batch, WM)
            assert wm is not None
            late |= ends <= self.zone.passed(wm)
        if late.any():
            self.late(visible(batch, len(self.columns)).filter(pa.array(late)))
            batch = batch.filter(pa.array(~late))
        change = Change.of([batch], self.columns, self.source.traits.append_only)
        if len(change.minus_counts):
            slots = self.store.find(change.minus)
            there = slots >= 0
            gone = self.store.remove(slots[there], change.minus_counts[there])
            self.store.delete(slots[there][gone])
        if len(change.plus_counts):
            slots = self.store.add(change.plus, change.plus_counts)
            self.expiry.add(self._ends(change.plus.column(self.end)), slots)

    def closing(self, watermark: int) -> tuple[pa.RecordBatch, Array]:
        """The rows of windows that close, with their copies; they are gone from the state."""
        passed = self.zone.passed_at(watermark)
        slots = self.expiry.take(passed)
        if not self.source.traits.append_only:
            # A slot whose row was retracted is free, or has another row in it.
            slots = slots[np.isin(slots, self.store.table.slots())]
            slots = slots[self._ends(self.store.columns(slots, [self.end])[0]) <= passed]
        rows, copies = self.store.rows(slots), self.store.copies(slots)
        self.store.delete(slots)
        return rows, copies


class WindowJoinOperator(Operator):
    def __init__(self, node: Join, context: OperatorContext) -> None:
        super().__init__(context)
        self.node = node
        left, right = node.inputs
        layouts = node.layouts()
        self.left, self.right = Side(node, 0, layouts[0], context), Side(node, 1, layouts[1], context)
        self.out = Output(node.arrow_schema(), left.schema, right.schema, node.kind in LEFT_ONLY)
        self.residual = (
            None if node.residual is None else Residual(node.residual, left.schema, right.schema, context.time_zone)
        )
        # A task that another's rows come to has not closed what that one has not.
        self.closed = min((r["closed"] for r in context.restored), default=NO_WATERMARK)

    def open(self) -> None:
        self.left.open()
        self.right.open()

    def step(self, inputs: list[Delta]) -> Delta:
        time = meet([d.time for d in inputs])
        self.left.take_in(inputs[0], self.closed)
        self.right.take_in(inputs[1], self.closed)
        watermark = time.of(self.node.domain)
        if watermark > self.closed:
            self.closed = watermark
            self._join(*self.left.closing(watermark), *self.right.closing(watermark))
        return Delta(self.out.take(), time)

    def _join(self, left: pa.RecordBatch, left_copies: Array, right: pa.RecordBatch, right_copies: Array) -> None:
        node, out = self.node, self.out
        if not left.num_rows and not right.num_rows:
            return
        ls, rs = BatchRows(left), BatchRows(right)
        left_matched, right_matched = np.zeros(left.num_rows, np.bool_), np.zeros(right.num_rows, np.bool_)
        for i, j in self._pairs(left, right):
            if self.residual is not None:
                holds = self.residual.holds(ls, i, rs, j)
                i, j = i[holds], j[holds]
            if node.kind not in LEFT_ONLY:
                out.pairs(ls, i, rs, j, left_copies[i] * right_copies[j])
            left_matched[i], right_matched[j] = True, True
        if node.kind in ("LEFT", "FULL", *LEFT_ONLY):
            at = np.flatnonzero(left_matched if node.kind == "SEMI" else ~left_matched)
            out.left(ls, at, left_copies[at])
        if node.kind in ("RIGHT", "FULL"):
            at = np.flatnonzero(~right_matched)
            out.right(rs, at, right_copies[at])

    def _pairs(self, left: pa.RecordBatch, right: pa.RecordBatch) -> Iterator[tuple[Array, Array]]:
        """All pairs with equal keys."""
        node = self.node
        table = KeyTable([right.column(k) for k in node.right_keys], right.num_rows)
        outside = never_equal(left, node.left_keys, node.null_safe)
        for i, j in table.probe([left.column(k) for k in node.left_keys], left.num_rows):
            yield (i[~outside[i]], j[~outside[i]]) if outside.size else (i, j)

    def snapshot(self) -> dict[str, Any]:
        return {"closed": self.closed}

    def close(self) -> None:
        if self.residual is not None:
            self.residual.close()
