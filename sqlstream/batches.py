"""What flows between operators: Arrow record batches with positional names and hidden columns.

Visible columns are c0, c1, … in the order of the node's schema. A batch may end with hidden columns, which the
plan decides on once for each edge:

    _op    int8   row kind (`Kind`): only on edges that are not append-only
    _wm    int64  the watermark (µs) the row's split had just before the row: only where lateness is judged later
    _ord   int64  arrival order, split number << 40 | position in the split: only where ties or order matter

A *delta* is what one edge carries in one epoch: batches, and the watermark at the end of the epoch. The rows of a
delta are a multiset of changes; where the edge is not append-only their order means nothing and an insert may
come before the delete of the same row. Only sinks see changes ordered (`operators/changelog.py` sees to it).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
import pyarrow as pa

OP, WM, ORD = "_op", "_wm", "_ord"
HIDDEN = (OP, WM, ORD)
HIDDEN_TYPES = {OP: pa.int8(), WM: pa.int64(), ORD: pa.int64()}

# Watermarks are int64 µs. NO_WATERMARK: nothing known yet. END: input ended, every timer fires (+infinity).
NO_WATERMARK = -(2**63)
END = 2**63 - 1


class Kind(IntEnum):
    """Row kinds, numbered as Flink's RowKind."""

    INSERT = 0
    UPDATE_BEFORE = 1
    UPDATE_AFTER = 2
    DELETE = 3

    @property
    def text(self) -> str:
        """As Flink prints it: +I, -U, +U or -D."""
        return ("+I", "-U", "+U", "-D")[self]


KIND_TEXT = ("+I", "-U", "+U", "-D")


@dataclass(frozen=True)
class Time:
    """How far an edge has come. `watermark`: no row with a smaller event time is on time any more; `proctime`: the
    clock when the epoch began (END once all input ended); `idle`: no split behind it moves the watermark for now.
    """

    watermark: int = NO_WATERMARK
    proctime: int = NO_WATERMARK
    idle: bool = False

    def of(self, domain: str) -> int:
        """The watermark of time domain ROWTIME or PROCTIME: what closes a window of that domain."""
        return self.proctime if domain == "PROCTIME" else self.watermark


@dataclass
class Delta:
    """One edge's share of one epoch."""

    batches: list[pa.RecordBatch] = field(default_factory=list)
    time: Time = Time()

    @property
    def num_rows(self) -> int:
        """Changes in all batches; an update counts as its -U and its +U."""
        return sum(b.num_rows for b in self.batches)


def meet(times: list[Time]) -> Time:
    """The time of an operator with inputs at `times`: the least of those that are not idle; the greatest if all are."""
    proctime = min(t.proctime for t in times)
    live = [t.watermark for t in times if not t.idle]
    if live:
        return Time(min(live), proctime, False)
    # As if they had become idle one after the other, the one that came furthest last.
    return Time(max(t.watermark for t in times), proctime, True)


def concat(batches: list[pa.RecordBatch]) -> pa.RecordBatch | None:
    """One batch of all rows, or None when there are none. Does not copy a single batch."""
    filled = [b for b in batches if b.num_rows]
    if not filled:
        return None
    return filled[0] if len(filled) == 1 else pa.concat_batches(filled)


def signs(batch: pa.RecordBatch) -> np.ndarray | None:
    """+1 / -1 for each row as int64, or None when every row is an insert (no `_op` column)."""
    i = batch.schema.get_field_index(OP)
    if i < 0:
        return None
    op = batch.column(i).to_numpy(zero_copy_only=False)
    return np.where((op == Kind.INSERT) | (op == Kind.UPDATE_AFTER), np.int64(1), np.int64(-1))


def hidden(batch: pa.RecordBatch, name: str) -> np.ndarray | None:
    """A hidden column as an array, copied only where Arrow's form needs it; None when the edge does not carry it."""
    i = batch.schema.get_field_index(name)
    return None if i < 0 else batch.column(i).to_numpy(zero_copy_only=False)


def visible(batch: pa.RecordBatch, width: int) -> pa.RecordBatch:
    """The first `width` columns: without the hidden ones."""
    return batch if batch.num_columns == width else batch.select(range(width))


def with_hidden(batch: pa.RecordBatch, name: str, values: np.ndarray | pa.Array) -> pa.RecordBatch:
    """`batch` with hidden column `name` set (replaced or appended)."""
    array = values if isinstance(values, pa.Array) else pa.array(values, HIDDEN_TYPES[name])
    i = batch.schema.get_field_index(name)
    f = pa.field(name, HIDDEN_TYPES[name])
    return batch.append_column(f, array) if i < 0 else batch.set_column(i, f, array)
