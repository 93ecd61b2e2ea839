"""What operators share that windows, or time, close: when rows are late, and the columns of a window.

Late: a row whose window's end (of the last of its windows) was not after the watermark that the row carries, nor
after the time at which windows were closed here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from sqlstream.batches import NO_WATERMARK, WM, hidden
from sqlstream.operators.base import Operator, OperatorContext, PhysicalNode
from sqlstream.state.arrays import ALL, Array, from_fixed
from sqlstream.time_zones import TimeZone, window_zone
from sqlstream.types import PROCTIME

# Columns of a window among the keys of an output, as SliceAggregate's `places` has them.
START, STOP, TIME = -1, -2, -3
MILLISECOND = 1000


class WindowNode(PhysicalNode):
    """What window aggregates share: when rows are late, and what the operator remembers."""

    domain: str

    def waits(self) -> bool:
        return self.domain != PROCTIME

    def judges(self) -> bool:
        """Whether rows carry a watermark to judge lateness by."""
        return self.domain != PROCTIME and self.inputs[0].traits.row_wm

    def drops_late(self) -> tuple[int, ...]:
        return (0,) if self.judges() else ()


class WindowOperator(Operator):
    """Remembers up to which time windows were closed; drops late rows. Windows lie in the local time of `_zone`."""

    def __init__(self, context: OperatorContext, node: WindowNode) -> None:
        super().__init__(context)
        self._judges = node.judges()
        self._schema = node.arrow_schema()
        self._zone = window_zone(node.domain, context.time_zone)
        self._closed = max((int(s["closed"]) for s in context.restored), default=NO_WATERMARK)

    def snapshot(self) -> dict[str, Any]:
        return {"closed": self._closed}

    def bounds(self, batch: pa.RecordBatch) -> Array:
        """For each row the time up to which windows were closed when it came."""
        marks = hidden(batch, WM) if self._judges else None
        if marks is None:
            return np.full(batch.num_rows, self._closed, np.int64)
        return np.asarray(np.maximum(marks, self._closed))

    def without(self, batch: pa.RecordBatch, bounds: Array, late: Array, none: Array | None = None) -> pa.RecordBatch:
        """`batch` without late rows, which are reported, and without those in no window (`none`)."""
        drop = late if none is None else late | none
        if not drop.any():
            return batch
        if late.any():
            self.context.late(batch.filter(pa.array(late)), bounds[late])
        return batch.filter(pa.array(~drop))


def window_columns(
    places: Sequence[int],
    keys: Sequence[int],
    columns: list[pa.Array],
    start: int | Array,
    end: int | Array,
    n: int,
    schema: pa.Schema,
    zone: TimeZone,
) -> list[pa.Array]:
    """The key columns of n output rows: `columns` are those of `keys`, the window's are made."""
    out = []
    for i, place in enumerate(places):
        if place >= 0:
            out.append(columns[keys.index(place)])
            continue
        value = np.asarray({START: start, STOP: end, TIME: end - MILLISECOND}[place], np.int64)
        if place == TIME:
            value = zone.instants(value)
        out.append(from_fixed(np.broadcast_to(value, n).copy(), ALL, schema.field(i).type))
    return out
