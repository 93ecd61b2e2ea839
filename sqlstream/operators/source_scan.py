"""SourceScan: reads a table's splits. Batches of the scan's columns, with `_wm` and `_ord` where the plan wants them.

Every row counts for positions and for the watermark, also those that `predicate` drops, and those that it keeps from being
read (`contracts.Skip`). A row's `_wm` is the
greatest watermark of the rows of its split before it, so lateness does not depend on batches. A split's watermark
is in the checkpoint, and so are the source's and which splits are idle; a split met late, or idle until now, starts at
the source's watermark, since what was closed stays closed, also after a restart.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa

from sqlstream.batches import END, NO_WATERMARK, OP, ORD, WM, Delta, Time
from sqlstream.clock import Clock
from sqlstream.contracts import (
    BadRecord,
    Passed,
    Pending,
    ScanColumn,
    ScanRequest,
    Source,
    SourceBatch,
    SplitReader,
)
from sqlstream.expressions import Call, Expr, named, shift
from sqlstream.expressions import Column as ColumnOf
from sqlstream.functions.user import UserFunction
from sqlstream.operators.base import PhysicalNode, Traits
from sqlstream.operators.calc import Calc
from sqlstream.operators.distribution import Spread
from sqlstream.operators.lowering import Lowering, lower
from sqlstream.operators.split_queue import SplitQueue
from sqlstream.operators.split_state import Positions, SplitState
from sqlstream.operators.unread import Unread
from sqlstream.plan import nodes
from sqlstream.plan.nodes import TUNING
from sqlstream.plan.nodes.leaves import WATERMARK_PATH
from sqlstream.plan.table_binder import MADE, PROCTIME_PATH
from sqlstream.rendering.arrow import by_arrow
from sqlstream.rendering.bounds import skip_of
from sqlstream.rendering.expressions import predicate, to_duckdb
from sqlstream.types import BOOLEAN, ROWTIME, Column, Schema
from sqlstream.watermark_options import Alignment

POSITION_BITS = 40
OPEN = 64  # readers that are kept while they rest, if no others need to be open, and closed ones are woken, too
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
    alignment: Alignment | None = field(default=None, metadata=TUNING)
    idle_timeout: int | None = field(default=None, metadata=TUNING)  # µs; None: the session's

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

    @property
    def changes(self) -> str:  # type: ignore[override]
        """The table, where its rows can change by themselves."""
        return f"table {self.table} has changes"

    def distribution(self) -> tuple[tuple[int, ...] | None, ...]:
        return ()

    def spread(self) -> Spread | None:
        return None  # splits lie anywhere

    def details(self) -> str:
        text = f"table={self.table}, columns=[{', '.join(self.names)}]"
        if self.predicate is not None:
            text += f", filter={named(self.predicate, self.schema)}"
        return text + (f", watermark={named(self.watermark, self.schema)}" if self.watermark is not None else "")

    def request(self, zone: str) -> ScanRequest:
        """What the reader decodes: stored columns, `_keep` of the predicate and `_w` of the watermark, in `zone`."""
        stored = [i for i, c in enumerate(self.columns) if c.path not in MADE]
        place = {old: new for new, old in enumerate(stored)}
        marked = None if self.watermark is None else shift(self.watermark, lambda i: place[i])
        kept = None if self.predicate is None else shift(self.predicate, lambda i: place[i])
        derived, computed, used = [], [], set[UserFunction]()
        if kept is not None:
            derived.append(("_keep", predicate(kept, used)))
            computed.append(("_keep", by_arrow(kept)))
        if marked is not None:
            derived.append(("_w", f"epoch_us({to_duckdb(marked, used)})"))
            computed.append(("_w", by_arrow(marked, in_us=True)))
        return ScanRequest(
            tuple(self.columns[i] for i in stored), tuple(derived), zone, frozenset(used), skip_of(kept, marked),
            tuple((alias, by) for alias, by in computed if by is not None),
            kept if marked is None else None,  # the watermark looks at all rows
        )  # fmt: skip


@lower.register(nodes.Scan)
def _scan(node: nodes.Scan, job: Lowering) -> PhysicalNode:
    scan = united(node.source, job)
    return use(scan, scan, node, job)


def united(source: Source, job: Lowering) -> SourceScan:
    """The one scan of all uses of a source in a job: the united columns, the filters OR-ed."""
    uses = sorted(job.uses[id(source)], key=lambda s: [c.path for c in s.columns])
    scan = job.once(id(source), lambda: _united(uses, job))
    assert isinstance(scan, SourceScan)
    return scan


def use(rows: PhysicalNode, scan: SourceScan, node: nodes.Scan, job: Lowering) -> PhysicalNode:
    """What one use of a source reads of `rows`, which have the columns of the united `scan`."""
    at = [scan.columns.index(c) for c in node.columns]
    if at == list(range(len(scan.columns))) and len(job.uses[id(node.source)]) == 1:
        return rows
    exprs = tuple(ColumnOf(c.type, at[i], n) for i, (c, n) in enumerate(zip(node.columns, node.names, strict=True)))
    condition = None if node.predicate is None else shift(node.predicate, lambda i: at[i])
    if condition == scan.predicate:
        condition = None  # the scan has filtered
    return Calc((rows,), exprs, condition, node.schema)


def _united(uses: list[nodes.Scan], job: Lowering) -> SourceScan:
    """One scan for all uses of a source."""
    names = {c: n for u in reversed(uses) for c, n in zip(u.columns, u.names, strict=True)}
    columns = tuple(dict.fromkeys(c for u in uses for c in u.columns))

    def placed(u: nodes.Scan, e: Expr) -> Expr:
        return shift(e, lambda i: columns.index(u.columns[i]))

    keep: Expr | None = None
    predicates = [placed(u, u.predicate) for u in uses if u.predicate is not None]
    if len(predicates) == len(uses):
        wanted = list(dict.fromkeys(d for p in predicates for d in _disjuncts(p)))
        keep = wanted[0] if len(wanted) == 1 else Call(BOOLEAN, "OR", tuple(wanted))
    marked = next((u for u in uses if u.watermark is not None), None)
    watermark = None
    if marked is not None and marked.watermark is not None and job.timed:
        watermark = placed(marked, marked.watermark)
    timed = next((u for u in uses if u.time_column is not None), None)
    time_column = None
    if timed is not None and timed.time_column is not None:
        time_column = columns.index(timed.columns[timed.time_column])
    return SourceScan(
        (), uses[0].table, uses[0].source, columns, tuple(names[c] for c in columns), keep, watermark, time_column,
        row_wm=job.timed, arrival=job.ordered, alignment=uses[0].alignment, idle_timeout=uses[0].idle_timeout,
    )  # fmt: skip


def _disjuncts(e: Expr) -> list[Expr]:
    return [d for a in e.args for d in _disjuncts(a)] if isinstance(e, Call) and e.function == "OR" else [e]


@dataclass
class ScanTask:
    """The running half: one for each (node, task). Driven by the worker: `read` some, then `delta`."""

    node: SourceScan
    clock: Clock
    idle_timeout: int = 0  # µs; 0: never idle. The session's, where the table has none of its own
    zone: str = "UTC"  # the session's
    name: str = "0"  # of the task
    complete: bool = False  # no split will be added
    awaited: bool = False  # the splits come later, and time does not go on without them
    rows_read: int = 0
    row_came: float | None = None  # when the last one did, by the clock's `monotonic`, or reading began
    fetch_lag: int | None = None  # µs, of the last row whose time is known
    emit_lag: int | None = None
    _event: int | None = None  # that time, of a row that was not handed on
    _bytes: int | None = None  # by readers that are closed
    _unread: Unread = field(default_factory=Unread)  # of splits that are not open
    _batches: list[pa.RecordBatch] = field(default_factory=list)
    _output: int = NO_WATERMARK
    _readers: OrderedDict[str, SplitState] = field(default_factory=OrderedDict)  # open ones, those that rest first
    _skipped: int = 0  # by readers that are closed
    _passed: Passed = Passed()
    _bad: list[tuple[SplitState, int, BadRecord]] = field(default_factory=list)  # each with its number in the split

    def __post_init__(self) -> None:
        self._request = self.node.request(self.zone)
        self._positions = Positions(self.name)
        marked = self.node.watermark is not None
        own = self.node.idle_timeout
        timeout = self.idle_timeout if own is None else own
        self.queue = SplitQueue(self._positions, timeout, self.clock.monotonic, marked)
        self.row_came = self.clock.monotonic()
        paths = [c.path for c in self.node.columns]
        timed = self.node.time_column
        self._timed = None  # where the rows' time is in a batch, if it is stored there
        if timed is not None and paths[timed] not in MADE:
            self._timed = sum(p not in MADE for p in paths[:timed])

    def hold(self, watermark: int) -> None:
        """The source's watermark was here before: it does not go back behind it."""
        self._output = max(self._output, watermark)

    def add(self, states: list[SplitState]) -> None:
        """More splits. One met for the first time cannot bring back what the watermark has closed."""
        for s in states:
            if s.rows == 0 and s.position is None:
                s.watermark = max(s.watermark, self._output)
            self._positions.add(s)
            self.queue.add(s)
            if not s.finished:
                self._unread.put(s.id, self.node.source.pending(s.split, s.position))

    @property
    def splits(self) -> list[SplitState]:
        """All that are remembered."""
        return list(self._positions.states.values())

    @property
    def finished(self) -> bool:
        """All splits were read to their end, and no more will come."""
        return self.complete and not self.queue.open

    def forget(self, split_id: str) -> None:
        """A split that has ended, and will not be asked for again."""
        state = self._positions.states.get(split_id)
        if state is not None and state.finished:
            self._positions.forget(state)

    def requeue(self) -> None:
        """After splits were changed from outside."""
        self.queue.requeue(self.splits)

    def begin(self) -> None:
        """A round of reading begins."""
        self.node.source.look()
        self.queue.begin()

    def start(self, state: SplitState) -> SplitReader:
        """The split's reader, made."""
        # up to a goal, which counts rows, all are read
        request = self._request if state.limit is None else replace(self._request, skip=None, filter=None)
        state.reader = self.node.source.reader(state.split, state.position, request, state.rows)
        self._readers[state.id] = state
        self._unread.take(state.id)
        return state.reader

    def read(self, max_rows: int) -> int:
        """Polls the first split of the queue; the number of rows that came (before the filter)."""
        state = self.queue.take()
        reader = state.reader or self.start(state)
        taken = 0
        while True:
            wanted = max_rows - taken if state.limit is None else min(max_rows - taken, state.limit - state.rows)
            got = reader.poll(wanted)
            if got is None:
                self._nothing(state, reader)
                return taken
            if got.passed is None:
                self._take(state, got)
            else:
                self._pass(state, got, got.passed)
            taken += int(got.batch.num_rows)
            if not wanted and not got.bad:  # of a goal up to which the split is read: they come with what follows
                self.queue.has_more(state)
                return taken
            if got.drained:
                if not self._rests(state, reader):
                    self.queue.had_no_more(state)
                return taken
            # A file that ends is seen to end, and closed, before the next one is opened.
            if not self.node.source.bounded or taken >= max_rows or not state.readable:
                self.queue.has_more(state)
                return taken

    def _nothing(self, state: SplitState, reader: SplitReader) -> None:
        if reader.finished:
            self.queue.ended(state)
            self._close(state)
            return
        if not self._rests(state, reader):
            self.queue.quiet(state, reader.superseded)
            self.queue.had_no_more(state)

    def _rests(self, state: SplitState, reader: SplitReader) -> bool:
        if not reader.rest(lambda: self.queue.wake(state)):
            return False
        self.queue.quiet(state, reader.superseded)
        self.queue.rests(state)
        self._readers.move_to_end(state.id)
        while (
            reader.wakes_closed and len(self._readers) > OPEN and (oldest := next(iter(self._readers.values()))).resting
        ):
            self._close(oldest)
        return True

    def _close(self, state: SplitState) -> None:
        assert state.reader is not None
        self._skipped += state.reader.skipped_records
        self._bytes = _more(self._bytes, state.reader.bytes_read)
        if not state.finished:
            self._unread.put(state.id, state.reader.pending)
        state.reader.close()
        state.reader = None
        del self._readers[state.id]

    def _take(self, state: SplitState, got: SourceBatch) -> None:
        batch = got.batch
        n = batch.num_rows
        node = self.node
        if n or got.bad:
            self.queue.rouse(state, self._output)
        before = None if node.watermark is None else self._advance(state, batch.column("_w"))
        arrays: list[pa.Array] = []
        stored = 0
        for c in node.columns:
            if c.path == PROCTIME_PATH:
                stamps = self.clock.rows(state.split.number, got.first_row, n)
                arrays.append(pa.array(stamps - stamps % 1000, pa.int64()).cast(c.type.arrow()))
            elif c.path == WATERMARK_PATH:
                assert before is not None
                none = before == NO_WATERMARK
                arrays.append(pa.array(np.where(none, 0, before - before % 1000), mask=none).cast(c.type.arrow()))
            else:
                arrays.append(batch.column(stored))
                stored += 1
        fields = [pa.field(f"c{i}", c.type.arrow()) for i, c in enumerate(node.columns)]
        if not node.traits.append_only:
            arrays.append(batch.column(OP))
            fields.append(pa.field(OP, pa.int8()))
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
        if got.bad:
            self._bad += [(state, state.bad + i, b) for i, b in enumerate(got.bad)]
            state.bad += len(got.bad)
        self.queue.moved(state)
        self.rows_read += n
        if n:
            self._came(batch, got.fetched)
        if out.num_rows:
            self._batches.append(out)

    def _came(self, batch: pa.RecordBatch, fetched: int | None) -> None:
        """Rows came: how far the last one is behind its time."""
        self.row_came = self.clock.monotonic()
        if self._timed is not None and (time := batch.column(self._timed)[batch.num_rows - 1]).is_valid:
            self._event = int(time.value)
            self.fetch_lag = (self.clock.now() if fetched is None else fetched) - self._event

    def _pass(self, state: SplitState, got: SourceBatch, passed: Passed) -> None:
        """Rows that no filter lets through, and that nobody has read: they count as if somebody had."""
        self.queue.rouse(state, self._output)
        state.watermark = max(state.watermark, passed.mark)
        state.position, state.rows = got.position, got.first_row + passed.rows
        self.queue.moved(state)
        self._passed += passed

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
        if self.awaited:
            return NO_WATERMARK, False
        if not self.queue.open:
            if self.complete:
                return END, False
            return self._output, True
        if self.node.watermark is None:
            return NO_WATERMARK, False
        lowest = self.queue.lowest()
        # What ended holds nothing back; a watermark never goes back.
        self._output = max(self._output, self.queue.idle_mark if lowest is None else lowest.watermark)
        return self._output, lowest is None

    def holds(self) -> int:
        """The watermark beyond which those that it is aligned with wait for it: END when it holds nobody back."""
        if self.awaited:
            return NO_WATERMARK
        lowest = self.queue.lowest()
        return END if lowest is None else lowest.watermark

    def delta(self, proctime: int, drain: bool = False) -> Delta:
        """What was read since the last call. `drain`: as if nothing would follow."""
        batches, self._batches = joined(self._batches), []
        mark, idle = (END, False) if drain else self.watermark()
        if self._event is not None:
            self.emit_lag, self._event = self.clock.now() - self._event, None
        return Delta(batches, Time(mark, proctime, idle))

    def take_bad(self) -> list[BadRecord]:
        """The malformed records that were left out since the last call, where a table takes them. Those beyond the goal
        up to which a split is read wait."""
        taken = [b for s, n, b in self._bad if s.bad_limit is None or n < s.bad_limit]
        self._bad = [(s, n, b) for s, n, b in self._bad if s.bad_limit is not None and n >= s.bad_limit]
        return taken

    def positions(self) -> dict[str, Any]:
        """For a checkpoint (`unpacked` reads it)."""
        return self._positions.to_json()

    def take_passed(self) -> Passed:
        """What was not read, as the filter leaves nothing of it, since the last call."""
        taken, self._passed = self._passed, Passed()
        return taken

    @property
    def skipped(self) -> int:
        """Malformed records skipped by option so far, in this run."""
        return self._skipped + sum(s.reader.skipped_records for s in self._readers.values() if s.reader is not None)

    @property
    def bytes_read(self) -> int | None:
        """Bytes of what came, as they are outside, in this run; None: not known."""
        total = self._bytes
        for s in self._readers.values():
            if s.reader is not None:
                total = _more(total, s.reader.bytes_read)
        return total

    def pending(self) -> Pending:
        """What is there and was not read; it asks each reader."""
        readers = [s.reader.pending for s in self._readers.values() if s.reader is not None]
        return self._unread.total(readers)

    def close(self) -> None:
        """Closes all readers, also in the middle of reading."""
        for s in list(self._readers.values()):
            self._close(s)


def _more(total: int | None, more: int | None) -> int | None:
    return total if more is None else (total or 0) + more


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
