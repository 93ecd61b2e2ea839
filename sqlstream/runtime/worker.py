"""A worker runs one subtask of every operator: epoch by epoch, the whole plan over its share of the key groups.

All workers run the same program; only Exchange nodes make them talk. So an epoch is: read from the sources, step
every operator once in topological order, hand sinks their changes. A checkpoint is taken between two epochs.
"""

from __future__ import annotations

import time as walltime
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from sqlstream.batches import END, NO_WATERMARK, Delta, Time
from sqlstream.checkpoint.manifest import Manifest, OperatorState
from sqlstream.checkpoint.restore import key_group_range, restore_task
from sqlstream.checkpoint.storage import CheckpointStorage
from sqlstream.checkpoint.writer import Pending, StateShard
from sqlstream.clock import Clock
from sqlstream.connectors.base import SinkTask
from sqlstream.errors import DataError, InternalError
from sqlstream.expressions import shortened
from sqlstream.operators.base import Operator, OperatorContext
from sqlstream.operators.calc import Calc
from sqlstream.operators.exchange import Exchange, partition
from sqlstream.operators.sink import Collect, CollectOperator, Receive, Sink, SinkOperator
from sqlstream.operators.source_scan import ScanTask, SourceScan, SplitState
from sqlstream.runtime import faults
from sqlstream.runtime.channels import Channels
from sqlstream.runtime.graph import JobGraph
from sqlstream.runtime.timings import OperatorMetrics
from sqlstream.state.table import StateSpec, StateTable

Late = Callable[[str, pa.RecordBatch], None]


@dataclass(frozen=True)
class WorkerSettings:
    """What all workers of a job are told."""

    job: str
    run: str
    parallelism: int
    durable: bool
    directory: Path  # local, for state files; one below it for each worker
    idle_timeout: int = 0
    time_zone: str = "UTC"
    max_drift: int = 0  # µs that a split may run ahead of the slowest; 0: no limit
    attempt: str = ""  # AT_LEAST_ONCE: makes the names of an attempt's files its own

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


@dataclass
class TaskShare:
    """One worker's part of a checkpoint. State files are written by `pending`, beside processing."""

    pending: dict[str, Pending] = field(default_factory=dict)
    states: dict[str, OperatorState] = field(default_factory=dict)  # names and schemas only
    snapshots: dict[str, dict[str, Any]] = field(default_factory=dict)
    sources: dict[str, dict[str, Any]] = field(default_factory=dict)
    watermarks: dict[str, Time] = field(default_factory=dict)  # of the sources
    sinks: dict[str, list[Any]] = field(default_factory=dict)


@dataclass
class EpochReport:
    rows_in: int = 0
    rows_out: int = 0
    read: int = 0  # rows read in this epoch
    backlog: bool = False  # the sources had more
    watermark: int = NO_WATERMARK
    finished: bool = False
    skipped: int = 0
    share: TaskShare | None = None
    barrier: float = 0.0  # seconds that `share` took


class Worker:
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
    ) -> None:
        self.graph = graph
        self.subtask = subtask
        self.settings = settings
        self.clock = clock
        self.channels = channels
        self.receive = receive
        self.late = late
        self.storage = storage
        self.directory = settings.directory / f"task-{subtask}"
        self.scans: dict[int, ScanTask] = {}
        self.operators: dict[int, Operator] = {}
        self.tables: dict[int, dict[str, StateTable]] = {}
        self.shards: dict[int, StateShard] = {}
        self.metrics = [OperatorMetrics() for _ in graph.nodes]
        self._full: set[int] = set()
        self._read_ahead = 0
        self._backlog = False

    # ---- start and end

    def open_sources(self) -> None:
        """Splits come by `assign`."""
        for i, node in enumerate(self.graph.nodes):
            if isinstance(node, SourceScan):
                self.scans[i] = ScanTask(node, self.clock, self.settings.idle_timeout)

    def open(self, manifest: Manifest | None, cache: Path | None = None) -> None:
        """Makes operators with their state, from the checkpoint if there is one. Readers that decode ahead begin with
        the first splits meanwhile."""
        for scan in self.scans.values():
            if splits := scan.candidates():
                scan.start(min(splits, key=lambda s: (s.watermark, s.split.number)))  # the first one to be read
        for i, node in enumerate(self.graph.nodes):
            if not isinstance(node, (SourceScan, Exchange)):
                self.operators[i] = self._operator(i, manifest, cache)

    def _operator(self, i: int, manifest: Manifest | None, cache: Path | None) -> Operator:
        node, node_id = self.graph.nodes[i], self.graph.ids[i]
        states = node.states()
        snapshots: list[dict[str, Any]] = []
        tables = {s.name: StateTable(s) for s in states}
        place = self.directory / node_id
        if self.storage is not None and states:
            self.shards[i] = StateShard(self.storage, place / "files", states)
        old = None if manifest is None else manifest.operators.get(node_id)
        if old is not None:
            groups = key_group_range(self.subtask, self.settings.parallelism)
            if states:
                assert self.storage is not None
                restored = restore_task(self.storage, old, states, groups, place / "restore", cache)
                tables = restored.tables
                if restored.same:
                    self.shards[i].resume(restored.chain, restored.local)
                else:
                    self._full.add(i)
            snapshots = [t.snapshot for t in old.tasks if t.key_groups[0] < groups[1] and groups[0] < t.key_groups[1]]
        self.tables[i] = tables

        def state(spec: StateSpec) -> StateTable:
            if spec.name not in tables:
                raise InternalError(f"{node_id} has no state {spec.name}")
            return tables[spec.name]

        def late(batch: pa.RecordBatch) -> None:
            self.late(node_id, batch)

        context = OperatorContext(
            node_id,
            self.subtask,
            self.settings.parallelism,
            self.clock,
            state,
            late,
            snapshots,
            self.settings.time_zone,
        )
        if isinstance(node, Sink):
            s = self.settings
            operator: Operator = node.writing(context, SinkTask(s.job, s.output, self.subtask, s.durable))
        elif isinstance(node, Collect):
            if self.receive is None:
                raise InternalError("a query without a receiver")
            operator = CollectOperator(node, context, self.receive)
        else:
            operator = node.operator(context)
        operator.open()
        return operator

    def assign(self, node: int, splits: list[SplitState], complete: bool) -> None:
        scan = self.scans[node]
        scan.add(splits)
        scan.complete = complete

    def mute(self, muted: bool) -> None:
        """Muted, sinks write nothing."""
        for operator in self.operators.values():
            if isinstance(operator, SinkOperator):
                operator.muted = muted

    def close(self) -> None:
        for scan in self.scans.values():
            scan.close()
        for operator in self.operators.values():
            operator.close()

    # ---- one epoch

    def epoch(self, command: EpochCommand) -> EpochReport:
        report = EpochReport()
        if not self._read_ahead:
            self.look(command)
        report.read, self._read_ahead = self._read_ahead, 0
        report.backlog = self._backlog
        deltas: list[Delta | None] = [None] * len(self.graph.nodes)
        readers = [0] * len(self.graph.nodes)
        for inputs in self.graph.inputs:
            for i in inputs:
                readers[i] += 1
        ended = all(s.finished for s in self.scans.values())
        proctime = END if ended else command.proctime
        for i, node in enumerate(self.graph.nodes):
            given = [deltas[j] for j in self.graph.inputs[i]]
            inputs_now = [d for d in given if d is not None]
            metrics = self.metrics[i]
            started = walltime.perf_counter()
            if i in self.scans:
                made = self.scans[i].delta(proctime)
            elif isinstance(node, Exchange):
                parts = partition(node, inputs_now[0], self.settings.parallelism)
                metrics.seconds += walltime.perf_counter() - started
                made = self.channels.exchange(i, self.subtask, parts, inputs_now[0].time)
                started = walltime.perf_counter()  # what it waits there for others is none of its work
            else:
                made = self._step(i, inputs_now)
            metrics.seconds += walltime.perf_counter() - started
            metrics.rows_in += sum(d.num_rows for d in inputs_now)
            metrics.rows_out += made.num_rows
            deltas[i] = made
            for j in self.graph.inputs[i]:
                readers[j] -= 1
                if not readers[j]:
                    deltas[j] = None  # its memory is free as soon as the last reader is done
        report.rows_in = sum(s.rows_read for s in self.scans.values())
        sinks = [o for o in self.operators.values() if isinstance(o, (SinkOperator, CollectOperator))]
        report.rows_out = sum(o.rows_written for o in sinks)
        report.finished = ended
        report.skipped = sum(s.skipped for s in self.scans.values())
        marks = [s.watermark() for s in self.scans.values()]
        live = [m for m, idle in marks if not idle]
        report.watermark = min(live) if live else max((m for m, _ in marks), default=END)
        if command.checkpoint is not None:
            started = walltime.perf_counter()
            report.share = self.share(command.checkpoint, ended and self.settings.parallelism == 1)
            report.barrier = walltime.perf_counter() - started
        return report

    def _step(self, i: int, inputs: list[Delta]) -> Delta:
        node = self.graph.nodes[i]
        try:
            return self.operators[i].step(inputs)
        except DataError as e:
            if isinstance(node, (Sink, Calc)):  # these say themselves where it was
                raise
            raise DataError(f"{e.message}, in {node.name}({shortened(node.details())})", hint=e.hint) from e

    def look(self, command: EpochCommand) -> int:
        """Reads what the next epoch will take, and gives the number of rows. Between epochs, from any thread."""
        self._read_ahead = self._read(command)
        return self._read_ahead

    def _read(self, command: EpochCommand) -> int:
        """Reads from the splits, the one with the lowest watermark first, so that none runs far ahead."""
        started = walltime.monotonic()
        total = 0
        self._backlog = True
        empty: set[int] = set()
        open_splits = sum(len(s.candidates()) for s in self.scans.values() if s.node.watermark is not None)
        chunk = max(command.max_rows // max(open_splits, 1), 4096)
        while total < command.max_rows:
            choice: tuple[tuple[int, int], int, SplitState] | None = None
            for i, scan in self.scans.items():
                for s in scan.candidates():
                    if id(s) in empty:
                        continue
                    # without watermarks one split after the other, so that few files are open at once
                    rank = (s.watermark, s.split.number)
                    if choice is None or rank < choice[0]:
                        choice = (rank, i, s)
            if choice is None:
                self._backlog = False
                break
            (mark, _), i, split = choice
            held = min(
                command.slowest, *(s.watermark for x in self.scans.values() for s in x.candidates() if not s.idle), END
            )
            if self.settings.max_drift and mark > held + self.settings.max_drift:
                self._backlog = False
                break  # the slowest split has nothing now: the others wait for it
            begun = walltime.perf_counter()
            got = self.scans[i].read(split, min(chunk, command.max_rows - total))
            self.metrics[i].seconds += walltime.perf_counter() - begun
            self.metrics[i].rows_in += got
            total += got
            if split.drained:
                empty.add(id(split))
            if walltime.monotonic() - started > command.seconds:
                break
        return total

    def prepare(self, node: int, number: int) -> list[Any]:
        """What a sink has written, to be published."""
        operator = self.operators[node]
        assert isinstance(operator, SinkOperator)
        return operator.prepare(number)

    def share(self, checkpoint: int, ended: bool = False) -> TaskShare:
        """This task's part of a checkpoint. A job that has ended needs no state any more: it is never resumed."""
        share = TaskShare()
        for i, operator in self.operators.items():
            node, node_id = self.graph.nodes[i], self.graph.ids[i]
            if isinstance(operator, SinkOperator):
                share.sinks[node_id] = operator.prepare(checkpoint)
                faults.point("after-prepare")
            if self.storage is None or ended:
                continue
            share.snapshots[node_id] = operator.snapshot()
            if i in self.shards:
                full = i in self._full
                changes = {name: t.changes(full=full) for name, t in self.tables[i].items()}
                share.pending[node_id] = self.shards[i].prepare(changes, full=full)
                self._full.discard(i)
                share.states[node_id] = OperatorState(node.name, self.shards[i].schemas())
            else:
                share.states[node_id] = OperatorState(node.name)
        for i, scan in self.scans.items():
            share.sources[self.graph.ids[i]] = scan.positions()
            mark, idle = scan.watermark()
            share.watermarks[self.graph.ids[i]] = Time(mark, 0, idle)
        return share
