"""SourceScan: reads a table's splits. Batches of the scan's columns, with `_wm` and `_ord` where the plan wants them.

Every row counts for positions and for the watermark, also those that `predicate` drops. A row's `_wm` is the
greatest watermark of the rows of its split before it, so lateness does not depend on batches. A split's watermark
is in the checkpoint, and so are the source's and which splits are idle; a split met late, or idle until now, starts at
the source's watermark, since what was closed stays closed, also after a restart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from sqlstream.batches import END, NO_WATERMARK, OP, ORD, WM, Delta, Time
from sqlstream.clock import Clock
from sqlstream.connectors.base import ScanColumn, ScanRequest, Source, SourceBatch, Split, SplitReader
from sqlstream.expressions import Expr, shift
from sqlstream.functions.render import predicate, to_duckdb
from sqlstream.operators.base import PhysicalNode, Traits
from sqlstream.plan.table_binder import PROCTIME_PATH
from sqlstream.types import ROWTIME, Column, Schema

POSITION_BITS = 40
SMALL, SMALL_BYTES = 65_536, 1 << 28  # rows; bytes


@dataclass(frozen=True)
class SourceScan(PhysicalNode):
    """`columns` as in the logical Scan; `predicate` and `watermark` are over them."""

    table: str
    source: Source
    columns: tuple[ScanColumn, ...]
    names: tuple[str, ...]
    predicate: Expr | None = None
    watermark: Expr | None = None
    time_column: int | None = None
    row_wm: bool = False
    arrival: bool = False

    name = "Source"

    def __post_init__(self) -> None:
        schema = Schema(
            tuple(
                Column(n, c.type, ROWTIME if i == self.time_column else None)
                for i, (n, c) in enumerate(zip(self.names, self.columns, strict=True))
            )
        )
        wm = self.row_wm and self.watermark is not None
        self.derive(schema, Traits(self.source.append_only, (), wm, self.arrival))

    def details(self) -> str:
        text = f"table={self.table}, columns=[{', '.join(self.names)}]"
        if self.predicate is not None:
            text += f", filter={self.predicate}"
        return text + (f", watermark={self.watermark}" if self.watermark is not None else "")

    def request(self) -> ScanRequest:
        """What the reader decodes: stored columns, `_keep` of the predicate and `_w` of the watermark."""
        stored = [i for i, c in enumerate(self.columns) if c.path != PROCTIME_PATH]
        place = {old: new for new, old in enumerate(stored)}
        derived = []
        if self.predicate is not None:
            derived.append(("_keep", predicate(shift(self.predicate, lambda i: place[i]))))
        if self.watermark is not None:
            derived.append(("_w", f"epoch_us({to_duckdb(shift(self.watermark, lambda i: place[i]))})"))
        return ScanRequest(tuple(self.columns[i] for i in stored), tuple(derived))


@dataclass
class SplitState:
    """A split being read."""

    split: Split
    position: Any = None
    rows: int = 0
    watermark: int = NO_WATERMARK
    reader: SplitReader | None = None
    finished: bool = False
    idle: bool = False
    waiting_since: float | None = None  # the first empty poll since the last rows
    waited: float = 0.0
    limit: int | None = None  # read no further than so many rows for now
    drained: bool = False  # had no more rows when it was last read

    def to_json(self) -> dict[str, Any]:
        return {
            "number": self.split.number,
            "info": dict(self.split.info),
            "position": self.position,
            "rows": self.rows,
            "watermark": self.watermark,
            "finished": self.finished,
            "idle": self.idle,
        }

    @staticmethod
    def from_json(split_id: str, value: Mapping[str, Any]) -> SplitState:
        return SplitState(
            Split(split_id, value["info"], value["number"]),
            value["position"],
            value["rows"],
            value["watermark"],
            finished=value["finished"],
            idle=value.get("idle", False),
        )


@dataclass
class ScanTask:
    """The running half: one for each (node, task). Driven by the worker: `read` some, then `delta`."""

    node: SourceScan
    clock: Clock
    idle_timeout: int = 0  # µs; 0: never idle
    splits: list[SplitState] = field(default_factory=list)
    complete: bool = False  # no split will be added
    rows_read: int = 0
    _batches: list[pa.RecordBatch] = field(default_factory=list)
    _output: int = NO_WATERMARK

    def __post_init__(self) -> None:
        self._request = self.node.request()

    def hold(self, watermark: int) -> None:
        """The source's watermark was here before: it does not go back behind it."""
        self._output = max(self._output, watermark)

    def add(self, states: list[SplitState]) -> None:
        """More splits. One met for the first time cannot bring back what the watermark has closed."""
        for s in states:
            if s.rows == 0 and s.position is None:
                s.watermark = max(s.watermark, self._output)
            self.splits.append(s)

    def candidates(self) -> list[SplitState]:
        return [s for s in self.splits if not s.finished and (s.limit is None or s.rows < s.limit)]

    @property
    def finished(self) -> bool:
        return self.complete and all(s.finished for s in self.splits)

    def start(self, state: SplitState) -> SplitReader:
        """The split's reader, made."""
        state.reader = self.node.source.reader(state.split, state.position, self._request, state.rows)
        return state.reader

    def read(self, state: SplitState, max_rows: int) -> int:
        """Polls one split; the number of rows that came (before the filter)."""
        reader = state.reader or self.start(state)
        if state.limit is not None:
            max_rows = min(max_rows, state.limit - state.rows)
        got = reader.poll(max_rows)
        state.drained = got is None or got.drained
        if got is None:
            if reader.finished:
                state.finished = True
                reader.close()
            else:
                self._waited(state)
            return 0
        state.waiting_since, state.waited = None, 0.0
        if state.idle:
            # While it was idle the watermark went on without it.
            state.idle = False
            state.watermark = max(state.watermark, self._output)
        self._take(state, got)
        return int(got.batch.num_rows)

    def _waited(self, state: SplitState) -> None:
        """Counts time between empty polls only: work elsewhere is no idleness of the split."""
        now = self.clock.monotonic()
        if state.waiting_since is not None:
            state.waited += min(now - state.waiting_since, 1.0)
        state.waiting_since = now
        if self.idle_timeout and state.waited * 1e6 >= self.idle_timeout:
            state.idle = True

    def _take(self, state: SplitState, got: SourceBatch) -> None:
        batch = got.batch
        n = batch.num_rows
        node = self.node
        arrays: list[pa.Array] = []
        stored = 0
        for c in node.columns:
            if c.path == PROCTIME_PATH:
                stamps = self.clock.rows(state.split.number, got.first_row, n)
                arrays.append(pa.array(stamps - stamps % 1000, pa.int64()).cast(c.type.arrow()))
            else:
                arrays.append(batch.column(stored))
                stored += 1
        fields = [pa.field(f"c{i}", c.type.arrow()) for i, c in enumerate(node.columns)]
        if not node.traits.append_only:
            arrays.append(batch.column(OP))
            fields.append(pa.field(OP, pa.int8()))
        if node.watermark is not None:
            before = self._advance(state, batch.column("_w"))
            if node.traits.row_wm:
                arrays.append(pa.array(before))
                fields.append(pa.field(WM, pa.int64()))
        if node.arrival:
            first = (state.split.number << POSITION_BITS) + got.first_row
            arrays.append(pa.array(np.arange(first, first + n, dtype=np.int64)))
            fields.append(pa.field(ORD, pa.int64()))
        out = pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))
        if node.predicate is not None:
            out = out.filter(batch.column("_keep"))
        state.position = got.position
        state.rows = got.first_row + n
        self.rows_read += n
        if out.num_rows:
            self._batches.append(out)

    def _advance(self, state: SplitState, marks: pa.Array) -> np.ndarray:
        """Moves the split's watermark over the rows' marks; gives the one before each row."""
        if marks.null_count:
            marks = marks.fill_null(NO_WATERMARK)
        w = marks.to_numpy(zero_copy_only=False)
        n = len(w)
        running = np.empty(n + 1, np.int64)
        running[0] = state.watermark
        running[1:] = w
        np.maximum.accumulate(running, out=running)
        state.watermark = int(running[n])
        return running[:n]

    def watermark(self) -> tuple[int, bool]:
        """The source's watermark in this task, and whether it is idle."""
        open_splits = [s for s in self.splits if not s.finished]
        if not open_splits:
            if self.complete:
                return END, False
            return self._output, True
        if self.node.watermark is None:
            return NO_WATERMARK, False
        live = [s for s in open_splits if not s.idle]
        if live:
            # What ended holds nothing back; a watermark never goes back.
            self._output = max(self._output, min(s.watermark for s in live))
            return self._output, False
        self._output = max(self._output, max(s.watermark for s in open_splits))
        return self._output, True

    def delta(self, proctime: int) -> Delta:
        """What was read since the last call."""
        batches, self._batches = joined(self._batches), []
        mark, idle = self.watermark()
        return Delta(batches, Time(mark, proctime, idle))

    def positions(self) -> dict[str, Any]:
        return {s.split.id: s.to_json() for s in self.splits}

    @property
    def skipped(self) -> int:
        return sum(s.reader.skipped_records for s in self.splits if s.reader is not None)

    def close(self) -> None:
        for s in self.splits:
            if s.reader is not None:
                s.reader.close()


def joined(batches: list[pa.RecordBatch]) -> list[pa.RecordBatch]:
    """Few rows of many batches, as a filter leaves them, in one: each operator costs a millisecond a batch."""
    out: list[list[pa.RecordBatch]] = []
    rows = size = 0
    for b in batches:
        rows, size = rows + b.num_rows, size + b.nbytes
        if not out or rows > SMALL or size > SMALL_BYTES:
            out.append([])
            rows, size = b.num_rows, b.nbytes
        out[-1].append(b)
    return [small[0] if len(small) == 1 else pa.concat_batches(small) for small in out]
