"""A running job: workers driven epoch by epoch, checkpoints beside them, sinks published when these complete.

    job = Job(graph, settings, …)
    outcome = job.run()              # in the caller's thread, until inputs end, `stop()` or an error

With one worker everything runs in the caller's thread (state files are written on one background thread). With
more, each worker has a thread, and an epoch begins for all at once.
"""

from __future__ import annotations

import random
import shutil
import sys
import tempfile
import threading
import time as walltime
import uuid
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from sqlstream.batches import END, NO_WATERMARK, meet
from sqlstream.checkpoint.coordinator import Attempt, CheckpointCoordinator
from sqlstream.checkpoint.manifest import Manifest, OperatorState, TaskState
from sqlstream.checkpoint.restore import key_group_range
from sqlstream.checkpoint.storage import CheckpointStorage
from sqlstream.clock import Clock, SystemClock
from sqlstream.connectors.base import SinkCommitter, SinkTask, Split
from sqlstream.errors import CheckpointError, SqlStreamError
from sqlstream.operators.sink import Receive, Sink
from sqlstream.operators.source_scan import SourceScan, SplitState
from sqlstream.runtime import faults
from sqlstream.runtime.channels import LocalChannels, TaskFailed
from sqlstream.runtime.directory import JobDirectory, JobState
from sqlstream.runtime.graph import JobGraph
from sqlstream.runtime.pace import IDLE, PERIOD, READING, Pace
from sqlstream.runtime.progress import Progress
from sqlstream.runtime.replay import Replay, hold
from sqlstream.runtime.timings import JobTimes, timings
from sqlstream.runtime.worker import EpochCommand, EpochReport, TaskShare, Worker, WorkerSettings
from sqlstream.state.memory import MEMORY, default_limit, keep_freed

DISCOVERY_SECONDS = 0.1
# How long a thread may keep Python's lock from others. An epoch takes the lock some fifty times, and each time waits so
# long while the background writes a checkpoint.
SWITCH_SECONDS = 0.00002


@dataclass(frozen=True)
class JobOptions:
    """`interval`: µs between checkpoints, 0 for none. `seed`: random epoch sizes (tests)."""

    name: str = "job"
    parallelism: int = 1
    interval: int = 10_000_000
    retained: int = 2
    idle_timeout: int = 0
    time_zone: str = "UTC"
    max_rows: int | None = None
    seed: int | None = None
    at_least_once: bool = False
    max_drift: int = 0
    managed_memory: int | None = None  # bytes of keyed state in memory; None: by the machine
    tmp_dirs: tuple[str, ...] = ()  # for state beyond that; (): the job's local directory


class Job:
    """One run of a graph. `directory` makes it durable."""

    def __init__(
        self,
        graph: JobGraph,
        options: JobOptions,
        *,
        directory: JobDirectory | None = None,
        fresh: bool = False,
        clock: Clock | None = None,
        receive: Receive | None = None,
        on_epoch: Callable[[Progress], None] | None = None,
        on_late: Callable[[str, pa.RecordBatch], None] | None = None,
        on_message: Callable[[str], None] | None = None,
    ) -> None:
        self.graph = graph
        self.options = options
        self.directory = directory
        self.fresh = fresh
        self.clock: Clock = clock or SystemClock()
        self.receive = receive
        self.progress = Progress()
        self.times = JobTimes()
        self._on_epoch = on_epoch
        self._on_late = on_late
        self._on_message = on_message
        self._stop = threading.Event()
        self._pace = Pace(options.max_rows, random.Random(options.seed) if options.seed is not None else None)
        self._workers: list[Worker] = []
        self._coordinator: CheckpointCoordinator | None = None
        self._writing: tuple[Attempt | int, Future[Manifest | None], list[TaskShare]] | None = None
        self._background = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._splits: dict[int, list[Split]] = {}
        self._known_splits: dict[int, dict[str, SplitState]] = {}
        self._late_lock = threading.Lock()
        self._run_state: JobState | None = None
        self._epoch = 0
        self._last_checkpoint = 0.0
        self._replay: Replay | None = None

    # ---- from outside

    def stop(self) -> None:
        """Asks the job to end after the epoch, with a last checkpoint if it is durable. From any thread."""
        self._stop.set()

    def timings(self) -> str:
        """The plan with what its operators did so far (`timings.py`)."""
        return timings(self.graph, [w.metrics for w in self._workers], self._epoch, self.times)

    def run(self) -> Progress:
        """Runs to the end. Raises what made it fail; the last checkpoint stays."""
        switching = sys.getswitchinterval()
        if self.directory is None:
            local = Path(tempfile.mkdtemp(prefix="sqlstream-"))
        else:
            self.directory.acquire()
        try:
            if self.directory is not None:
                local = self.directory.work()
            if not self._begin(local):
                return self.progress
            self.progress.state = "RUNNING"
            sys.setswitchinterval(SWITCH_SECONDS)
            started = walltime.monotonic()
            self._loop()
            self.times.running = walltime.monotonic() - started
            self._end()
            return self.progress
        except BaseException as e:
            self.progress.state = "FAILED"
            if isinstance(e, KeyboardInterrupt):
                self.progress.state = "CANCELED"
            self._record(self.progress.state, "" if isinstance(e, KeyboardInterrupt) else str(e).splitlines()[0])
            raise
        finally:
            sys.setswitchinterval(switching)
            for w in self._workers:
                w.close()
            self._background.shutdown(wait=True)
            if self.directory is None:
                shutil.rmtree(local, ignore_errors=True)
            else:
                self.directory.forget_work()
                self.directory.release()

    # ---- start

    def _begin(self, local: Path) -> bool:
        """Makes the workers, restored from the newest good checkpoint. False when the job had finished before."""
        o = self.options
        storage: CheckpointStorage | None = None
        manifest: Manifest | None = None
        run = uuid.uuid4().hex[:8]
        cache = local / "cache"
        if self.directory is not None:
            before = self.directory.read(broken=self.fresh)
            state = before if before is not None and not self.fresh else self.directory.new_run()
            self._run_state = state
            run = state.run
            storage = CheckpointStorage(self.directory.place(state), self.directory.stores)
            if not storage.is_local:
                storage.check_writable()  # said now, and not when the first checkpoint is due
            if self.directory.moved(state):
                self._say(
                    f"warning: checkpoints of job {state.job} stay in {state.checkpoints}; --fresh begins elsewhere"
                )
            self._coordinator = CheckpointCoordinator(
                storage, f"{state.job}/{run}", retained=o.retained, clock=self.clock, cache=cache
            )
            self._repair()
            found = self._coordinator.latest()
            if found is not None:
                manifest = found.manifest
                for text in found.skipped:
                    self._say(f"warning: {text}")
                manifest.check_plan(self.graph.fingerprint, self.graph.text)
                self._continue(manifest)
                if found.newer:
                    behind = found.newer[0]
                    self._replay = Replay(self.graph, behind)
                    self._say(
                        f"what follows checkpoint {manifest.checkpoint_id} is computed again, and not written again "
                        f"up to where checkpoint {behind.checkpoint_id} has published it"
                    )
                if manifest.metrics.get("finished"):
                    self._publish(manifest, run)
                    self._say(f"job {state.job} has finished: nothing to do (--fresh runs it anew)")
                    self._record("FINISHED")
                    self.progress.state = "FINISHED"
                    return False
                self._say(
                    f"job {state.job} resumes from checkpoint {manifest.checkpoint_id} of {manifest.created}, "
                    f"{manifest.metrics.get('rows_in', 0):,} rows in"
                )
            self.directory.write(replace(state, state="RUNNING", message=""))
            faults.point("job-recorded")
            if self.fresh and before is not None:
                for node in self.graph.nodes:  # what the run before had staged
                    if isinstance(node, Sink):
                        node.sink.committer(SinkTask(o.name, before.run, 0)).clean([])
        keep_freed()
        MEMORY.limit = default_limit() if o.managed_memory is None else o.managed_memory
        MEMORY.directories = o.tmp_dirs or (str(local),)
        settings = WorkerSettings(
            o.name,
            run,
            o.parallelism,
            self.directory is not None,
            local,
            o.idle_timeout,
            o.time_zone,
            o.max_drift,
            f"x{uuid.uuid4().hex[:6]}" if o.at_least_once else "",
        )
        self._settings = settings
        channels = LocalChannels(o.parallelism)
        self._channels = channels
        for t in range(o.parallelism):
            worker = Worker(self.graph, t, settings, self.clock, channels, self._receive_one, self._late, storage)
            self._workers.append(worker)
        self._publish(manifest, run)
        self._before = replace(self.progress)
        self._discover(manifest)
        for worker in self._workers:
            worker.open_sources()
        if manifest is not None:
            hold(self.graph, manifest, self._workers)
        self._assign_all(manifest)
        for worker in self._workers:
            worker.open(manifest, cache)
        faults.point("restored")
        if self._replay is not None:
            self._before.rows_out = self._replay.goal.metrics.get("rows_out", 0)
            for worker in self._workers:
                worker.mute(True)
        return True

    def _repair(self) -> None:
        """The last checkpoint's manifest, from the job's own copy, when the store has lost or damaged it."""
        assert self.directory is not None and self._coordinator is not None
        text = self.directory.kept_manifest()
        try:
            kept = None if text is None else Manifest.from_json(text)
        except CheckpointError:
            return
        if kept is not None and self._coordinator.repair(kept):
            self._say(f"warning: the manifest of checkpoint {kept.checkpoint_id} was damaged or gone: written again")

    def _continue(self, manifest: Manifest) -> None:
        """Counts go on where the checkpoint stood; a finished job's too, for who asks again."""
        self._epoch = self.progress.epoch = manifest.epoch
        self.progress.checkpoint = manifest.checkpoint_id
        for key in ("rows_in", "rows_out", "late_rows"):
            setattr(self.progress, key, manifest.metrics.get(key, 0))

    def _publish(self, manifest: Manifest | None, run: str) -> None:
        """Publishes again what the checkpoint prepared, and removes what no checkpoint knows.

        What a newer, damaged checkpoint prepared is published too: it was complete, and readers may have seen a part.
        CheckpointError when a sink shows output of a checkpoint that nobody knows.
        """
        ahead = None if self._replay is None else self._replay.goal
        newest = max((m.checkpoint_id for m in (manifest, ahead) if m is not None), default=0)
        for i, node in enumerate(self.graph.nodes):
            if isinstance(node, Sink):
                task = SinkTask(self.options.name, run, 0, self.directory is not None)
                committer = node.sink.committer(task)
                if self.directory is not None and (unknown := committer.published(newest)):
                    raise CheckpointError(
                        f"{unknown[0]} was published by a checkpoint that is lost (the newest one there is "
                        f"{newest or 'none'}): going on from here would repeat rows",
                        hint="restore the checkpoint's directory from a backup, or start anew with --fresh and another "
                        "path for the sink",
                    )
                known: list[Any] = []
                for m in (ahead, manifest):
                    known += [] if m is None else m.sinks.get(self.graph.ids[i], [])
                self._commit(committer, known)
                faults.point("republished")
                committer.clean(known)

    # ---- splits

    def _discover(self, manifest: Manifest | None) -> None:
        for i, node in enumerate(self.graph.nodes):
            if isinstance(node, SourceScan):
                old = {} if manifest is None else manifest.sources.get(self.graph.ids[i], {})
                states = {k: SplitState.from_json(k, v) for k, v in old.items()}
                if self._replay is not None:
                    self._replay.limit(self.graph.ids[i], states)
                known = tuple(s.split for s in sorted(states.values(), key=lambda s: s.split.number))
                if self._replay is None and not (node.source.bounded and known):
                    known = tuple(node.source.splits(known))
                self._splits[i] = list(known)
                self._known_splits[i] = states
        self._discovered = walltime.monotonic()

    def _assign_all(self, manifest: Manifest | None) -> None:
        for i, splits in self._splits.items():
            node = self.graph.nodes[i]
            assert isinstance(node, SourceScan)
            for t, worker in enumerate(self._workers):
                mine = [
                    self._known_splits[i].get(s.id) or SplitState(s)
                    for n, s in enumerate(splits)
                    if n % len(self._workers) == t
                ]
                worker.assign(i, mine, node.source.bounded)

    def _look_for_splits(self) -> None:
        if self._replay is not None or walltime.monotonic() - self._discovered < DISCOVERY_SECONDS:
            return
        for i, known in self._splits.items():
            node = self.graph.nodes[i]
            assert isinstance(node, SourceScan)
            if node.source.bounded:
                continue
            found = node.source.splits(tuple(known))
            for n in range(len(known), len(found)):
                self._workers[n % len(self._workers)].assign(i, [SplitState(found[n])], False)
            self._splits[i] = list(found)
        self._discovered = walltime.monotonic()

    # ---- the loop

    def _loop(self) -> None:
        o = self.options
        self._last_checkpoint = self.clock.monotonic()
        slowest = END
        pool = ThreadPoolExecutor(o.parallelism, thread_name_prefix="task") if o.parallelism > 1 else None
        try:
            while True:
                self._collect_checkpoint(wait=False)
                stopping = self._stop.is_set()
                attempt: Attempt | int | None = None
                if stopping:
                    self._collect_checkpoint(wait=True)
                if self._due() or (stopping and self._takes_checkpoints()):
                    attempt = self._coordinator.begin() if self._coordinator is not None else self._epoch + 1
                    self._last_checkpoint = self.clock.monotonic()
                self._epoch += 1
                begun = walltime.monotonic()
                command = EpochCommand(
                    self._epoch,
                    self.clock.now(),
                    0 if stopping else self._pace.rows(),
                    READING,
                    _number(attempt),
                    slowest,
                )
                reports = self._step(command, pool)
                slowest = min(r.watermark for r in reports)
                self._report(reports)
                if o.at_least_once:
                    self._publish_epoch()
                finished = all(r.finished for r in reports) and self._replay is None
                if attempt is not None:
                    self._write(attempt, reports, finished)
                if self._replay is not None and self._replay.step(self._workers):
                    self._replay = None
                    self._discovered = 0.0
                if finished or stopping:
                    if not finished:
                        self.progress.state = "CANCELED"
                    self._last(reports, attempt, finished)
                    return
                self._look_for_splits()
                if self._replay is None and not any(r.backlog for r in reports):
                    self._wait(begun, command)
        finally:
            if pool is not None:
                pool.shutdown(wait=True)

    def _takes_checkpoints(self) -> bool:
        """Durable jobs do; others publish their sinks in the same rhythm."""
        if self._replay is not None:
            return False
        return self._coordinator is not None or any(isinstance(n, Sink) for n in self.graph.nodes)

    def _due(self) -> bool:
        """Whether it is time for a checkpoint, and the one before is done with."""
        if self._writing is not None or self.options.interval <= 0 or not self._takes_checkpoints():
            return False
        return (self.clock.monotonic() - self._last_checkpoint) * 1e6 >= self.options.interval

    def _wait(self, begun: float, command: EpochCommand) -> None:
        """Until the next epoch is to begin: the one that began at `begun` has left nothing."""
        look = begun + PERIOD
        came = False
        while not came and look < begun + IDLE and not self._due():
            now = walltime.monotonic()
            if self._stop.wait(max(look - now, 0)):
                return
            self.times.waiting += walltime.monotonic() - now
            look = max(look + PERIOD, now)
            self._collect_checkpoint(wait=False)  # what is written is published now, not with the next rows
            came = any([w.look(command) for w in self._workers])

    def _step(self, command: EpochCommand, pool: ThreadPoolExecutor | None) -> list[EpochReport]:
        if pool is None:
            return [self._workers[0].epoch(command)]

        def one(worker: Worker) -> EpochReport:
            try:
                return worker.epoch(command)
            except BaseException:
                self._channels.failed.set()
                raise

        futures = [pool.submit(one, w) for w in self._workers]
        errors = [f.exception() for f in futures]
        first = next((e for e in errors if e is not None and not isinstance(e, TaskFailed)), None)
        if first is not None:
            raise first
        return [f.result() for f in futures]

    def _report(self, reports: list[EpochReport]) -> None:
        p = self.progress
        p.epoch = self._epoch
        p.rows_in = self._before.rows_in + sum(r.rows_in for r in reports)
        p.rows_out = self._before.rows_out + sum(r.rows_out for r in reports)
        p.watermark = min(r.watermark for r in reports)
        p.skipped_records = sum(r.skipped for r in reports)
        if self._on_epoch is not None:
            self._on_epoch(p)

    # ---- checkpoints

    def _write(self, attempt: Attempt | int, reports: list[EpochReport], finished: bool) -> None:
        """Writes the checkpoint in the background."""
        self.times.checkpoints += 1
        self.times.barriers += max(r.barrier for r in reports)
        shares = [r.share for r in reports]
        assert all(s is not None for s in shares)
        metrics = {
            "rows_in": self.progress.rows_in,
            "rows_out": self.progress.rows_out,
            "late_rows": self.progress.late_rows,
            "watermark": None if self.progress.watermark in (END, NO_WATERMARK) else self.progress.watermark,
            "finished": finished,
            "source_watermarks": _source_watermarks([r.share for r in reports if r.share is not None]),
        }
        good = [s for s in shares if s is not None]
        future = self._background.submit(self._timed, attempt, good, self._epoch, metrics)
        self._writing = (attempt, future, good)

    def _timed(self, *checkpoint: Any) -> Manifest | None:
        started = walltime.monotonic()
        try:
            return self._complete(*checkpoint)
        finally:
            self.times.writing += walltime.monotonic() - started

    def _complete(
        self, attempt: Attempt | int, shares: list[TaskShare], epoch: int, metrics: dict[str, Any]
    ) -> Manifest | None:
        if isinstance(attempt, int):
            return None
        assert self._coordinator is not None and self._run_state is not None
        o = self.options
        operators: dict[str, OperatorState] = {}
        # A job that has ended is never resumed: its state is not written.
        for node_id in () if metrics["finished"] else shares[0].states:
            tasks = []
            for t, share in enumerate(shares):
                files = share.pending[node_id].run() if node_id in share.pending else ()
                attempt.protected.update(f.name for f in files)
                faults.point("after-upload")
                tasks.append(TaskState(t, key_group_range(t, o.parallelism), files, share.snapshots.get(node_id, {})))
            head = shares[0].states[node_id]
            operators[node_id] = OperatorState(head.name, head.states, tuple(tasks))
        sources: dict[str, dict[str, Any]] = {}
        sinks: dict[str, list[Any]] = {}
        for share in shares:
            for node_id, splits in share.sources.items():
                sources.setdefault(node_id, {}).update(splits)
            for node_id, parts in share.sinks.items():
                sinks.setdefault(node_id, []).extend(parts)
        manifest = Manifest(
            f"{self._run_state.job}/{self._run_state.run}",
            o.name,
            self._run_state.run,
            attempt.checkpoint_id,
            epoch,
            datetime.now(UTC).isoformat(timespec="milliseconds"),
            self.graph.fingerprint,
            self.graph.text,
            o.parallelism,
            operators,
            sources,
            sinks,
            metrics,
        )
        faults.point("before-manifest")
        completed = self._coordinator.complete(attempt, manifest)
        faults.point("after-manifest")
        assert self.directory is not None
        self.directory.keep_manifest(completed.to_json())
        return completed

    def _collect_checkpoint(self, wait: bool) -> None:
        """When the background is done: publishes the sinks' share."""
        if self._writing is None:
            return
        attempt, future, shares = self._writing
        if not wait and not future.done():
            return
        self._writing = None
        try:
            manifest = future.result()
        except SqlStreamError:
            if isinstance(attempt, Attempt) and self._coordinator is not None:
                self._coordinator.abort(attempt)
            raise
        faults.point("before-publish")
        for i, node in enumerate(self.graph.nodes):
            if isinstance(node, Sink):
                parts = [p for s in shares for p in s.sinks.get(self.graph.ids[i], [])]
                self._commit(node.sink.committer(self._sink_task()), parts)
        faults.point("after-publish")
        if manifest is not None:
            if self.progress.checkpoint is None and self.directory is not None and self._run_state is not None:
                self.directory.forget_runs(self._run_state)
            self.progress.checkpoint = manifest.checkpoint_id
            self.progress.checkpoint_time = walltime.time()

    def _last(self, reports: list[EpochReport], attempt: Attempt | int | None, finished: bool) -> None:
        """The last checkpoint: all that is left is prepared and published."""
        self._collect_checkpoint(wait=True)
        if attempt is None and self._takes_checkpoints():
            attempt = self._coordinator.begin() if self._coordinator is not None else self._epoch + 1
            number = _number(attempt)
            assert number is not None
            for r, w in zip(reports, self._workers, strict=True):
                r.share = w.share(number, finished)
            self._write(attempt, reports, finished)
            self._collect_checkpoint(wait=True)

    def _commit(self, committer: SinkCommitter, parts: list[Any]) -> None:
        for part in parts:
            committer.commit([part])
            faults.point("mid-publish")

    def _end(self) -> None:
        faults.point("before-finished")
        if self.progress.state == "RUNNING":
            self.progress.state = "FINISHED"
        self._record(self.progress.state)

    def _publish_epoch(self) -> None:
        """AT_LEAST_ONCE: what sinks have is shown at once, and shown again by a run that resumes behind it."""
        for i, node in enumerate(self.graph.nodes):
            if isinstance(node, Sink):
                parts = [p for w in self._workers for p in w.prepare(i, self._epoch)]
                if parts:
                    node.sink.committer(self._sink_task()).commit(parts)

    def _sink_task(self) -> SinkTask:
        s = self._settings
        return SinkTask(s.job, s.output, 0, s.durable)

    # ---- small things

    def _record(self, state: str, message: str = "") -> None:
        if self.directory is None or self._run_state is None:
            return
        try:
            self.directory.write(replace(self._run_state, state=state, message=message))
        except SqlStreamError:
            if state == "FINISHED":
                raise

    def _receive_one(self, batch: pa.RecordBatch, kinds: Any) -> None:
        if self.receive is not None:
            self.receive(batch, kinds)

    def _late(self, node_id: str, batch: pa.RecordBatch) -> None:
        with self._late_lock:
            self.progress.late_rows += batch.num_rows
            if self._on_late is not None:
                self._on_late(node_id, batch)

    def _say(self, text: str) -> None:
        self.progress.messages.append(text)
        if self._on_message is not None:
            self._on_message(text)


def _source_watermarks(shares: list[TaskShare]) -> dict[str, int]:
    """By node: the least of the tasks' watermarks, as operators behind an Exchange see it."""
    out = {}
    for node in {n for s in shares for n in s.watermarks}:
        mark = meet([s.watermarks[node] for s in shares if node in s.watermarks]).watermark
        if mark not in (END, NO_WATERMARK):
            out[node] = mark
    return dict(sorted(out.items()))


def _number(attempt: Attempt | int | None) -> int | None:
    return attempt.checkpoint_id if isinstance(attempt, Attempt) else attempt
