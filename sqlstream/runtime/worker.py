"""A worker runs one subtask of every operator: epoch by epoch, the whole plan over its share of the key groups.

All workers run the same program; only Exchange nodes make them talk. So an epoch is: read from the sources, step
every operator once in topological order, hand sinks their changes. A checkpoint is taken between two epochs.
"""

from __future__ import annotations

import contextlib
import time as walltime
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from sqlstream import faults
from sqlstream.batches import END, NO_WATERMARK, Delta, Time, meet, visible
from sqlstream.checkpoint.manifest import Manifest, OperatorState, TaskState
from sqlstream.checkpoint.restore import key_group_range
from sqlstream.checkpoint.statistics import OperatorStatistics, SubtaskStatistics
from sqlstream.checkpoint.storage import CheckpointStorage
from sqlstream.checkpoint.writer import Pending as PendingFiles
from sqlstream.clock import Clock
from sqlstream.contracts import UNKNOWN, Pending, SinkTask, known
from sqlstream.errors import DataError, InternalError
from sqlstream.expressions import shortened
from sqlstream.metrics.operators import OperatorMetrics
from sqlstream.metrics.state import StateMetrics
from sqlstream.operators.bad_records import BadRecords
from sqlstream.operators.base import Operator, OperatorContext, Way
from sqlstream.operators.calc import Calc
from sqlstream.operators.exchange import Exchange, partition
from sqlstream.operators.late_rows import Dropped, LateRows
from sqlstream.operators.sink import Collect, CollectOperator, Receive, Sink, SinkOperator
from sqlstream.operators.source_scan import ScanTask, SourceScan
from sqlstream.operators.split_state import SplitState
from sqlstream.options import MAX_PARALLELISM, SessionOptions
from sqlstream.runtime.channels import Channels, LocalChannels, TaskFailed
from sqlstream.runtime.graph import JobGraph
from sqlstream.runtime.outside import Outside
from sqlstream.runtime.store_places import StoreShare
from sqlstream.runtime.task_state import OperatorTables, TaskStates
from sqlstream.state.arrays import Array
from sqlstream.state.table import StateSpec, StateTable
from sqlstream.threads import Threads, wait

Late = Callable[[str, pa.RecordBatch], None]
ASKED = 1.0  # seconds between two looks at what is there for the sources
HELP = 0.1  # of an epoch's time, at most: for copying what the checkpoint before it took


@dataclass(frozen=True)
class WorkerSettings:
    """What all workers of a job are told."""

    job: str
    run: str
    durable: bool
    directory: Path  # local, for state files; one below it for each worker
    options: SessionOptions
    stores: StoreShare
    attempt: str = ""  # makes the names of an attempt's files its own, where sinks publish each epoch at once

    @property
    def output(self) -> str:
        """The run as sinks name their files by it."""
        return f"{self.run}{self.attempt}"


@dataclass(frozen=True)
class EpochCommand:
    """`max_rows`: how much to read at most; `deadline`: seconds of reading at most. `checkpoint`: take one after."""

    number: int
    proctime: int
    max_rows: int
    seconds: float
    checkpoint: int | None = None
    slowest: int = END  # the least watermark of all tasks after the epoch before
    drain: bool = False  # the inputs count as ended: all windows close, all timers fire
    aligned: tuple[Mapping[str, int], ...] = ()  # by task, the `aligned` of its last report


@dataclass
class TaskShare:
    """One worker's part of a checkpoint. State files are written by `pending`, beside processing."""

    pending: dict[str, PendingFiles] = field(default_factory=dict)
    states: dict[str, OperatorState] = field(default_factory=dict)  # names and schemas only
    snapshots: dict[str, dict[str, Any]] = field(default_factory=dict)
    sources: dict[str, dict[str, Any]] = field(default_factory=dict)
    watermarks: dict[str, Time] = field(default_factory=dict)  # of the sources
    sinks: dict[str, list[Any]] = field(default_factory=dict)
    metrics: dict[str, StateMetrics] = field(default_factory=dict)
    sync: dict[str, float] = field(default_factory=dict)  # seconds that the task stood for it, by operator


@dataclass
class EpochReport:
    """What a worker has to say after an epoch. Rows in and out, and `skipped`, count from the start of the worker.

    watermark  the least of the sources that are not idle, in µs; the greatest when all are idle, END without sources
    finished   all that the sources will ever give was read, and the time at the end of this epoch was END
    share      this task's part of a checkpoint, when one was asked for
    """

    rows_in: int = 0
    rows_out: int = 0
    read: int = 0  # rows read in this epoch
    backlog: bool = False  # the sources had more
    watermark: int = NO_WATERMARK
    finished: bool = False
    skipped: int = 0
    pending: Pending = UNKNOWN  # what is there for the sources and was not read, as of the last second
    reconnects: int = 0  # of the sources, since the metrics began
    lost: int = 0  # retractions of rows whose time to live was over, from the start of the worker
    aligned: Mapping[str, int] = field(
        default_factory=dict
    )  # by group of sources: where the slowest one is in this task
    share: TaskShare | None = None
    barrier: float = 0.0  # seconds that `share` took


class Worker:
    """One subtask of every operator of a job, with their state and its files in `<directory>/task-<subtask>`.

    One call at a time, in this order: `open_sources`, `assign`, `open`, then epoch by epoch `epoch`, `share` and more
    of `assign`, and `close` at the end, also after a failure. `storage` is None for a job that takes no checkpoints.
    `metrics`: what the operators have done before, by node, which counts on; None: nothing.
    """

    def __init__(
        self,
        graph: JobGraph,
        subtask: int,
        settings: WorkerSettings,
        clock: Clock,
        channels: Channels,
        receive: Receive | None,
        late: Late,
        storage: CheckpointStorage | None,
        say: Callable[[str], None],
        metrics: list[OperatorMetrics] | None = None,
    ) -> None:
        self.graph = graph
        self.subtask = subtask
        self.settings = settings
        self.options = settings.options
        self.clock = clock
        self.channels = channels
        self.receive = receive
        self.late = late
        self.storage = storage
        self.directory = settings.directory / f"task-{subtask}"
        self.scans: dict[int, ScanTask] = {}
        self.operators: dict[int, Operator] = {}
        self.states = TaskStates(subtask, self.options, self.directory, storage, settings.stores, clock.monotonic, say)
        self.tables: dict[int, OperatorTables] = {}
        self.metrics = metrics or [OperatorMetrics() for _ in graph.nodes]
        self._counted: dict[int, int] = {}  # what a source has skipped and a sink written, as far as it is in these
        self._outside: defaultdict[int, Outside] = defaultdict(Outside)
        self._pending, self._asked = UNKNOWN, float("-inf")
        self.state_metrics: dict[str, StateMetrics] = {}  # when it is closed
        # What is dropped in this epoch and goes to a table, by operator and input.
        self._dropped = {
            (graph.inputs[i][0], n.side): Dropped() for i, n in enumerate(graph.nodes) if isinstance(n, LateRows)
        }
        self._lost = 0
        self._living: list[StateTable] = []  # whose rows live for a time
        self._read_ahead = 0
        self._backlog = False
        self._groups = any(isinstance(n, SourceScan) and n.alignment is not None for n in graph.nodes)

    # ---- start and end

    def open_sources(self) -> None:
        """Splits come by `assign`."""
        for i, node in enumerate(self.graph.nodes):
            if isinstance(node, SourceScan):
                self.scans[i] = ScanTask(
                    node, self.clock, self.options.idle_timeout, self.options.time_zone, str(self.subtask)
                )

    def open(self, manifest: Manifest | None, cache: Path | None = None) -> None:
        """Makes operators with their state, from the checkpoint if there is one. Readers that decode ahead begin with
        the first splits meanwhile."""
        for scan in self.scans.values():
            if (first := scan.queue.first()) is not None:
                scan.start(first)
        for i, node in enumerate(self.graph.nodes):
            if not isinstance(node, (SourceScan, Exchange)):
                self.operators[i] = self._operator(i, manifest, cache)

    def _operator(self, i: int, manifest: Manifest | None, cache: Path | None) -> Operator:
        node, node_id = self.graph.nodes[i], self.graph.ids[i]
        old = None if manifest is None else manifest.operators.get(node_id)
        mine = self.tables[i] = self.states.open(node_id, node.placed_states(), old, cache, self.clock.now())
        self._living += [t for t in mine.tables.values() if t.spec.ttl]

        def state(spec: StateSpec) -> StateTable:
            if spec.name not in mine.tables:
                raise InternalError(f"{node_id} has no state {spec.name}")
            return mine.tables[spec.name]

        def late(rows: pa.RecordBatch, marks: Array, side: int = 0) -> None:
            self.metrics[i].late += rows.num_rows
            self.late(node_id, visible(rows, len(node.inputs[side].schema)))
            if (dropped := self._dropped.get((i, side))) is not None:
                dropped.batches.append((rows, marks))

        context = OperatorContext(
            node_id,
            self.subtask,
            self.options.parallelism,
            self.clock,
            state,
            late,
            mine.snapshots,
            self.options.time_zone,
            self._lose,
        )
        if isinstance(node, Sink):
            s = self.settings
            # several statements may write to one place: each has names of its own
            before = sum(isinstance(n, Sink) and n.writes_where(node) for n in self.graph.nodes[:i])
            subtask = self.subtask + before * MAX_PARALLELISM
            operator: Operator = node.writing(context, SinkTask(s.job, s.output, subtask, s.durable))
        elif isinstance(node, Collect):
            if self.receive is None:
                raise InternalError("a query without a receiver")
            operator = CollectOperator(node, context, self.receive)
        elif isinstance(node, BadRecords):
            operator = node.running(context, self.scans[self.graph.inputs[i][0]].take_bad)
        elif isinstance(node, LateRows):
            dropper = self.graph.inputs[i][0]
            operator = node.running(context, self.graph.ids[dropper], self._dropped[dropper, node.side])
        else:
            operator = node.operator(context)
        operator.open()
        return operator

    def _lose(self, rows: int) -> None:
        self._lost += rows

    def assign(self, node: int, splits: list[SplitState], complete: bool) -> None:
        """Gives splits to source `node`, to be read from where their states say. `complete`: no more will come."""
        scan = self.scans[node]
        scan.add(splits)
        scan.complete = complete

    def sinks(self) -> list[SinkOperator]:
        """Those that write into tables."""
        return [o for o in self.operators.values() if isinstance(o, SinkOperator)]

    def mute(self, muted: bool) -> None:
        """Muted, sinks write nothing."""
        for operator in self.sinks():
            operator.muted = muted

    def close(self) -> None:
        """Closes readers and operators; what sinks have not prepared is not published."""
        with contextlib.ExitStack() as closing:  # all of them, also when one fails
            closing.callback(self.states.close)
            for operator in self.operators.values():
                closing.callback(operator.close)
            for scan in self.scans.values():
                closing.callback(scan.close)
            self.state_metrics = self.states.metrics()

    # ---- one epoch

    def epoch(self, command: EpochCommand) -> EpochReport:
        """Runs one epoch through all operators, and takes its checkpoint where the command says so.

        Blocks in each Exchange until all tasks have come there. Errors of operators come out as they are.
        """
        report = EpochReport()
        begun = self.clock.monotonic()
        if not self._read_ahead:
            self.look(command)
        report.read, self._read_ahead = self._read_ahead, 0
        report.backlog = self._backlog
        deltas: list[Delta | None] = [None] * len(self.graph.nodes)
        readers = [0] * len(self.graph.nodes)
        for inputs in self.graph.inputs:
            for i in inputs:
                readers[i] += 1
        for table in self._living:
            table.begin(command.proctime)
        ended = all(s.finished for s in self.scans.values())
        proctime = END if ended or command.drain else command.proctime
        for i, node in enumerate(self.graph.nodes):
            given = [deltas[j] for j in self.graph.inputs[i]]
            inputs_now = [d for d in given if d is not None]
            metrics = self.metrics[i]
            started = walltime.perf_counter()
            if i in self.scans:
                made = self.scans[i].delta(proctime, command.drain)
            elif isinstance(node, Exchange):
                parts = partition(node, inputs_now[0], self.options.parallelism, self.subtask)
                metrics.seconds += walltime.perf_counter() - started
                made = self.channels.exchange(i, self.subtask, parts, inputs_now[0].time)
                started = walltime.perf_counter()  # what it waits there for others is none of its work
            else:
                made = self._step(i, inputs_now)
            metrics.seconds += walltime.perf_counter() - started
            metrics.rows_in += sum(d.num_rows for d in inputs_now)
            metrics.rows_out += made.num_rows
            metrics.output_watermark = made.time.watermark
            if inputs_now:
                metrics.input_watermark = meet([d.time for d in inputs_now]).watermark
            deltas[i] = made
            for j in self.graph.inputs[i]:
                readers[j] -= 1
                if not readers[j]:
                    deltas[j] = None  # its memory is free as soon as the last reader is done
        report.rows_in = sum(s.rows_read for s in self.scans.values())
        sinks = [o for o in self.operators.values() if isinstance(o, (SinkOperator, CollectOperator))]
        report.rows_out = sum(o.rows_written for o in sinks)
        report.finished = ended
        report.skipped = self._count()
        report.pending = self._ask(ended)
        report.reconnects = sum(self.metrics[i].reconnects for i in self.scans)
        report.lost = self._lost
        timed = [s for s in self.scans.values() if s.node.watermark is not None]
        marks = [s.watermark() for s in timed or self.scans.values()]
        live = [m for m, idle in marks if not idle]
        report.watermark = min(live) if live else max((m for m, _ in marks), default=END)
        report.aligned = self._aligned()
        # One epoch after the other leaves no time to who copies in the background.
        self.states.copy_some((self.clock.monotonic() - begun) * HELP)
        if command.checkpoint is not None:
            started = walltime.perf_counter()
            report.share = self.share(command.checkpoint, ended and self.options.parallelism == 1)
            report.barrier = walltime.perf_counter() - started
        self.states.relieve()
        return report

    def _count(self) -> int:
        """What sources have skipped and sinks written goes into the metrics; gives the malformed records that were."""
        for i, s in self.scans.items():
            passed = s.take_passed()
            self.metrics[i].row_groups_skipped += passed.row_groups
            self.metrics[i].files_skipped += passed.files
        skipped = {i: s.skipped for i, s in self.scans.items()}
        written = {i: o.rows_written for i, o in self.operators.items() if isinstance(o, SinkOperator)}
        for i, n in skipped.items():
            self.metrics[i].skipped += n - self._counted.get(i, 0)
        for i, n in written.items():
            self.metrics[i].sent += n - self._counted.get(i, 0)
        self._counted = {**skipped, **written}
        for i, s in self.scans.items():
            self._outside[i].read(self.metrics[i], s, self.subtask)
        for i, o in self.operators.items():
            if isinstance(o, SinkOperator):
                self._outside[i].wrote(self.metrics[i], o)
        return sum(skipped.values())

    def _ask(self, whole: bool) -> Pending:
        """What is there and was not read, once a second, and (`whole`) when all was."""
        now = self.clock.monotonic()
        if whole or now - self._asked >= ASKED:
            self._asked = now
            found = {i: s.pending() for i, s in self.scans.items()}
            for i, p in found.items():
                self.metrics[i].pending_records, self.metrics[i].pending_bytes = p.records, p.bytes
            self._pending = known(found.values())
        return self._pending

    def _step(self, i: int, inputs: list[Delta]) -> Delta:
        node = self.graph.nodes[i]
        try:
            with self.tables[i].held(), self._failing(i):
                return self.operators[i].step(inputs)
        except DataError as e:
            if isinstance(node, (Sink, Calc)):  # these say themselves where it was
                raise
            raise DataError(f"{e.message}, in {node.name}({shortened(node.details())})", hint=e.hint) from e

    @contextlib.contextmanager
    def _failing(self, i: int) -> Iterator[None]:
        """What a sink could not write is counted: the attempt is over."""
        try:
            yield
        except Exception:
            if isinstance(operator := self.operators[i], SinkOperator):
                self._outside[i].wrote(self.metrics[i], operator)
            raise

    def look(self, command: EpochCommand) -> int:
        """Reads what the next epoch will take, and gives the number of rows. Between epochs, from any thread."""
        self._read_ahead = self._read(command)
        return self._read_ahead

    def _read(self, command: EpochCommand) -> int:
        """Reads from the splits, the one with the lowest watermark first, so that none runs far ahead."""
        started = self.clock.monotonic()
        total = 0
        self._backlog = True
        queues = [s.queue for s in self.scans.values() if s.node.watermark is not None]
        for scan in self.scans.values():
            scan.begin()
        chunk = max(command.max_rows // max(sum(q.open - q.resting for q in queues), 1), 4096)
        while total < command.max_rows:
            firsts = [(s.watermark, s.split.number, i) for i, x in self.scans.items() if (s := x.queue.first())]
            if not any(q.limited for q in queues):
                firsts = self._within(firsts, command)
            if not firsts:
                self._backlog = False  # those that are ahead of their group wait for it
                break
            mark, _, i = min(firsts)
            if self.options.max_drift and not any(q.limited for q in queues):
                held = min(command.slowest, *(s.watermark for q in queues if (s := q.lowest())), END)
                if mark > held + self.options.max_drift:
                    self._backlog = False
                    break  # the slowest split has nothing now: the others wait for it
            begun = walltime.perf_counter()
            got = self.scans[i].read(min(chunk, command.max_rows - total))
            self.metrics[i].seconds += walltime.perf_counter() - begun
            self.metrics[i].rows_in += got
            total += got
            if self.clock.monotonic() - started > command.seconds:
                break
        for scan in self.scans.values():
            scan.queue.end()
        return total

    def _aligned(self) -> dict[str, int]:
        """Where the slowest source of each group is."""
        out: dict[str, int] = {}
        for scan in self.scans.values():
            if (a := scan.node.alignment) is not None and scan.node.watermark is not None:
                out[a.group] = min(out.get(a.group, END), scan.holds())
        return out

    def _within(self, firsts: list[tuple[int, int, int]], command: EpochCommand) -> list[tuple[int, int, int]]:
        """Of splits that may be read, by watermark, number and source: those that are not too far ahead of their group, in
        this task as it is now and in the others as they were."""
        if not self._groups:
            return firsts
        held = self._aligned()
        for t, there in enumerate(command.aligned):
            if t != self.subtask:
                held = {g: min(mark, there.get(g, END)) for g, mark in held.items()}
        kept = []
        for mark, number, i in firsts:
            a = self.scans[i].node.alignment
            if a is None or mark <= held.get(a.group, END) + a.max_drift:
                kept.append((mark, number, i))
        return kept

    def prepare(self, number: int) -> dict[str, list[Any]]:
        """What the sinks have written since the last time, to be published, by node id. `number` is in its names."""
        prepared = {}
        for i, operator in self.operators.items():
            if isinstance(operator, SinkOperator):
                with self._failing(i):
                    prepared[self.graph.ids[i]] = operator.prepare(number)
                faults.point("after-prepare")
        return prepared

    def share(self, checkpoint: int, ended: bool = False) -> TaskShare:
        """This task's part of a checkpoint. A job that has ended needs no state any more: it is never resumed."""
        share = TaskShare()
        if self.options.mode == "EXACTLY_ONCE":  # else sinks publish by epochs, and their parts bear epochs' numbers
            share.sinks = self.prepare(checkpoint)
        for i, operator in self.operators.items():
            node, node_id = self.graph.nodes[i], self.graph.ids[i]
            if self.storage is None or ended or isinstance(node, Way):
                continue
            started = walltime.perf_counter()
            share.snapshots[node_id] = operator.snapshot()
            shard = self.tables[i].shard
            if (pending := self.tables[i].share()) is not None:
                share.pending[node_id] = pending
            share.states[node_id] = OperatorState(node.name, () if shard is None else shard.schemas())
            share.sync[node_id] = walltime.perf_counter() - started
        if self.storage is not None and not ended:
            share.metrics = self.states.metrics()
        for i, scan in self.scans.items():
            share.sources[self.graph.ids[i]] = scan.positions()
            mark, idle = scan.watermark()
            share.watermarks[self.graph.ids[i]] = Time(mark, 0, idle)
        return share


def step(
    workers: list[Worker], channels: LocalChannels, command: EpochCommand, pool: Threads | None
) -> list[EpochReport]:
    """An epoch of all workers of a job: in the caller's thread, or (`pool`) each in one of its own."""
    if pool is None:
        return [workers[0].epoch(command)]

    def one(worker: Worker) -> EpochReport:
        try:
            return worker.epoch(command)
        except BaseException:
            channels.fail()
            raise

    futures = [pool.submit(one, w) for w in workers]
    for future in futures:
        wait(future)
    errors = [f.exception() for f in futures]
    first = next((e for e in errors if e is not None and not isinstance(e, TaskFailed)), None)
    if first is not None:
        raise first
    return [f.result() for f in futures]


def written(
    shares: list[TaskShare],
    wanted: Callable[[str], bool],
    protect: Callable[[list[str]], object],
    statistics: dict[str, OperatorStatistics] | None = None,
) -> dict[str, OperatorState]:
    """The state of operators, its files written and uploaded. `protect` is told of each file's name; `statistics` gets
    what each operator and task took."""
    operators: dict[str, OperatorState] = {}
    for node_id in filter(wanted, shares[0].states):
        tasks, seen = [], []
        for t, share in enumerate(shares):
            started = walltime.monotonic()
            pending = share.pending.get(node_id)
            files = () if pending is None else pending.run()
            protect([f.name for f in files])
            faults.point("after-upload")
            groups = key_group_range(t, len(shares))
            tasks.append(TaskState(t, groups, files, share.snapshots.get(node_id, {})))
            seen.append(
                SubtaskStatistics(
                    t,
                    round(share.sync.get(node_id, 0.0) * 1000),
                    round((walltime.monotonic() - started) * 1000),
                    0 if pending is None else pending.shard.uploaded,
                    sum(f.size for f in files),
                    len(files),
                )
            )
        head = shares[0].states[node_id]
        operators[node_id] = OperatorState(head.name, head.states, tuple(tasks))
        if statistics is not None:
            statistics[node_id] = OperatorStatistics(head.name, seen)
    return operators
