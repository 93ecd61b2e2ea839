"""Runs a kernel over the blocks of files, one after the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from sqlstream.errors import InternalError
from sqlstream.formats.scan import layout
from sqlstream.formats.scan.columns import Array, Buffers
from sqlstream.formats.scan.plan import ColumnPlan

Raw = Callable[[list[pa.Array]], list[pa.Array]]  # the texts of the plan's raw columns to their values


@dataclass(frozen=True)
class Scanned:
    """The rows of a block, of which those of unusual records have nothing yet: `unusual` says (row, begin, end, line from 0) of
    each, in order. `lines`: how many lines ended in the block."""

    batch: pa.RecordBatch
    unusual: Array
    lines: int


class BlockScanner:
    """For one thread at a time. `raw`: what makes the values of raw columns, which are their texts without it. `state`: of the
    kernel, from one block to the next."""

    def __init__(self, plan: ColumnPlan, raw: Raw | None) -> None:
        self.plan, self._raw = plan, raw
        self.state: Array = np.zeros(layout.STATE, np.int64)
        self.state[[layout.SLOTS, layout.STRINGS]] = plan.slots, plan.strings
        self._bytes_a_record = 0.0

    def run(self, data: Array, start: int, end: int, buffers: Buffers, unusual: Array) -> int:
        """Records of data[start:end] into rows from state[ROW] on; the place of the one that is not taken: rows are full, or there
        are so many unusual ones that the block is better left to others."""
        raise InternalError("BlockScanner.run")

    def line_ends(self, data: Array) -> int:
        """About how many lines end in the bytes."""
        return int(np.count_nonzero(data == 10))

    def scan(self, data: Array, start: int, end: int) -> Scanned | None:
        """The records of data[start:end], of which the last one ends with a newline; PADDING bytes behind it may be read. None where
        so many are unusual that it is better left to others. MemoryError: each text has room for the whole block."""
        state, size = self.state, end - start
        if not self._bytes_a_record:
            self._bytes_a_record = size / (1 + self.line_ends(data[start:end]))
        rows = int(size / self._bytes_a_record * 1.1) + 64
        buffers, first_line = Buffers(self.plan, rows, size), int(state[layout.LINES])
        state[[layout.ROW, layout.UNUSUAL]] = 0
        unusual: Array = np.empty(rows * layout.PLACES, np.int64)
        while True:
            state[layout.ROOM] = buffers.rows
            start = self.run(data, start, end, buffers, unusual)
            if start >= end:
                break
            if state[layout.ROW] < buffers.rows:
                return None
            buffers.grow(2 * buffers.rows)
            unusual = np.concatenate([unusual, np.empty(len(unusual), np.int64)])
        rows, odd = int(state[layout.ROW]), int(state[layout.UNUSUAL])
        if rows:
            self._bytes_a_record = size / rows
        names = [c.name for c in self.plan.columns]
        texts = [buffers.text(c, rows) for c in self.plan.raw]
        made = self._raw(texts) if self._raw is not None and texts else texts
        raw = {c.string: a for c, a in zip(self.plan.raw, made, strict=True)}
        batch = pa.RecordBatch.from_arrays(buffers.arrays(rows, raw), names=names) if names else _of_nothing(rows)
        places = unusual[: odd * layout.PLACES].reshape(-1, layout.PLACES)
        places[:, 3] -= first_line
        return Scanned(batch, places, int(state[layout.LINES]) - first_line)


def _of_nothing(rows: int) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array(np.ones(rows, np.int32))], names=["r0"])
