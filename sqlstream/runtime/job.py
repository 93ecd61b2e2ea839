"""A running job: its attempts, each of them workers, their loop, checkpoints beside it, and what is published then.

    job = Job(graph, name, options, …)
    progress = job.run()             # in the caller's thread, until inputs end, `stop()` or an error

Here an attempt begins and ends; between the two runs its loop (`loop.py`). A durable job that fails has several: when
there is another one says `supervisor.py`. Where a run goes on from stands in `run.py`, checkpoints in `checkpoints.py`,
publishing in `publisher.py`, splits in `splits.py`.
"""

from __future__ import annotations

import contextlib
import random
import shutil
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pyarrow as pa

from sqlstream import faults
from sqlstream.checkpoint.coordinator import Found
from sqlstream.checkpoint.history import History
from sqlstream.checkpoint.manifest import Manifest
from sqlstream.checkpoint.statistics import FILE, Restored, Statistics
from sqlstream.checkpoint.verification import Damaged
from sqlstream.clock import Clock, SystemClock
from sqlstream.contracts import Sink as TableSink
from sqlstream.contracts import SinkTask, Stage
from sqlstream.errors import CheckpointError, OptionError, OutputLost, RunError, SqlStreamError
from sqlstream.operators.sink import Receive, Sink
from sqlstream.options import SessionOptions
from sqlstream.runtime.allowed import Allowed
from sqlstream.runtime.changes import Change, allowed_from, fitting
from sqlstream.runtime.channels import LocalChannels
from sqlstream.runtime.checkpoints import Checkpoints
from sqlstream.runtime.control import Control
from sqlstream.runtime.directory import JobDirectory
from sqlstream.runtime.graph import JobGraph
from sqlstream.runtime.loop import Loop, Requests
from sqlstream.runtime.meters import Meters
from sqlstream.runtime.observer import Origin
from sqlstream.runtime.pace import Pace
from sqlstream.runtime.process import PROCESS
from sqlstream.runtime.progress import Progress
from sqlstream.runtime.publisher import Publisher
from sqlstream.runtime.rebuild import Rebuild, apart, changed, go_on_changed
from sqlstream.runtime.replay import Replay, hold
from sqlstream.runtime.reporter import reporting
from sqlstream.runtime.restarts import NoRestart, strategy_of
from sqlstream.runtime.run import Identity, Run, canceled
from sqlstream.runtime.savepoints import Savepoints
from sqlstream.runtime.splits import Splits
from sqlstream.runtime.store_places import StoreShare, store_places
from sqlstream.runtime.supervisor import Supervisor, failures
from sqlstream.runtime.tables import Tables
from sqlstream.runtime.timings import JobTimes, timings
from sqlstream.runtime.worker import Worker, WorkerSettings
from sqlstream.savepoint.record import STOP, Savepoint
from sqlstream.secrets import redacted


class Job:
    """One run of a graph. `directory` makes it durable; `fresh` begins a new run there. `tables`: options by name of
    what it reads and writes, which must not change while it lasts. `former`: the graphs as versions before made them.
    `allowed`: what may be lost when the job goes on as another one. `batch`: its fingerprint in batch mode.
    `file`: the script's, for who looks at the job."""

    def __init__(
        self,
        graph: JobGraph,
        name: str,
        options: SessionOptions,
        *,
        directory: JobDirectory | None = None,
        tables: Tables | None = None,
        former: Callable[[], Iterator[JobGraph]] | None = None,
        allowed: Allowed | None = None,
        batch: Callable[[], str] | None = None,
        fresh: bool = False,
        file: str | None = None,
        clock: Clock | None = None,
        receive: Receive | None = None,
        on_epoch: Callable[[Progress], None] | None = None,
        on_late: Callable[[str, pa.RecordBatch], None] | None = None,
        on_message: Callable[[str], None] | None = None,
    ) -> None:
        strategy = NoRestart() if directory is None else strategy_of(options, options.interval > 0)
        self.graph = graph
        self.name = name
        self.options = options
        self.directory = directory
        self.tables = tables or {}
        self._former = former
        self._allowed = allowed or Allowed()
        self._batch = batch
        self.fresh = fresh
        self.file = file
        self.log: str | None = None  # where its messages go, if that is a file of the job's
        self.clock: Clock = clock or SystemClock()
        self.receive = receive
        self.progress = Progress()
        self.times = JobTimes()
        self.meters = Meters()
        self._on_epoch = on_epoch
        self._on_late = on_late
        self._on_message = on_message
        self._requests = Requests()
        self._sizes = None if options.seed is None else random.Random(options.seed)  # of epochs
        self._run: Run | None = None
        self._publisher = Publisher({}, SinkTask(name, "", 0))
        self._workers: list[Worker] = []
        self._late_lock = threading.Lock()
        self._endpoint: str | None = None
        self._replay: Replay | None = None
        self.savepoints: Savepoints | None = None
        if directory is not None:
            self.savepoints = Savepoints(directory, options, self.clock.monotonic, self._say)
        self._supervisor = Supervisor(
            strategy,
            self.progress,
            self.clock,
            self._requests.stop,
            self._say,
            self._record,
            None if directory is None else failures(directory),
        )
        self.statistics = Statistics()
        self._whole = False  # checkpoints are verified before, since one was damaged

    # ---- from outside

    def stop(self, savepoint: str | None = None, drain: bool = False) -> Future[Savepoint] | None:
        """Asks the job to end after the epoch, with a last checkpoint if it is durable. From any thread.

        `savepoint`: with one in this directory ("": where the option says), which the future has; if it fails the job
        goes on. `drain`: before it, the inputs count as ended: windows close and timers fire, for good.
        """
        if savepoint is not None:
            return self._takes_savepoints().ask(savepoint, STOP, drain)
        if drain:
            raise OptionError("a job is drained when it is stopped with a savepoint, and only then")
        self._requests.stop.set()
        self.graph.give_up()
        return None

    def savepoint(self, directory: str | None = None) -> Future[Savepoint]:
        """A savepoint in this directory (None or "": where the option says), with the next checkpoint, which is taken now.
        The job goes on meanwhile. From any thread."""
        return self._takes_savepoints().ask(directory)

    def checkpoint(self) -> Future[int]:
        """A checkpoint is taken now: its number, when it is complete and its output published. From any thread."""
        return self._takes_savepoints().ask_checkpoint()

    def restart(self) -> None:
        """Asks the job to end its attempt and to begin another from the last checkpoint, at once. From any thread."""
        if self.progress.state == "RESTARTING":
            raise RunError(f"job {self.name} waits for attempt {self.progress.attempt + 1} already")
        self._requests.again.set()

    @property
    def writes(self) -> bool:
        """Whether it writes into tables, and does not only give rows."""
        return any(isinstance(n, Sink) for n in self.graph.nodes)

    def _takes_savepoints(self) -> Savepoints:
        if self.savepoints is None:
            raise OptionError(
                "a job that is not durable has no savepoints", hint="SET 'pipeline.name' = '…' makes it durable"
            )
        return self.savepoints

    def cancel(self) -> None:
        """Asks the job to end after the epoch, without a checkpoint: the last one is where it goes on from. From any
        thread."""
        if self.savepoints is not None:
            self.savepoints.cancel()
        self._requests.cancel.set()
        self._requests.stop.set()
        self.graph.give_up()

    def timings(self) -> str:
        """The plan with what its operators did so far (`timings.py`)."""
        return timings(
            self.graph,
            [w.metrics for w in self._workers],
            [w.state_metrics for w in self._workers],
            self.progress.epoch,
            self.times,
        )

    def run(self) -> Progress:
        """Runs to the end. Raises what made it fail; the last checkpoint stays."""
        with self._locked():
            try:
                self._supervisor.run(self._attempt)
            except BaseException as e:
                self.progress.state = "CANCELED" if canceled(e) else "FAILED"
                if self._run is not None:
                    self._run.fail(e)
                    if self.progress.state == "FAILED" and self.options.retention == "NO_EXTERNALIZED_CHECKPOINTS":
                        self._run.discard(self._publisher)
                raise
            finally:
                if self.savepoints is not None:
                    self.savepoints.close(f"job {self.name} has ended ({self.progress.state})")
                if self.directory is None and self.progress.state != "FINISHED":
                    with contextlib.suppress(SqlStreamError):
                        self._publisher.abort()  # nobody else would
            if (
                self._requests.cancel.is_set()
                and self._run is not None
                and self.options.retention != "RETAIN_ON_CANCELLATION"
            ):
                self._run.discard(self._publisher)
            return self.progress

    def _attempt(self) -> None:
        """Runs from the newest checkpoint to the end, and leaves nothing open. One that turns out to be damaged while the
        first epochs run costs a second beginning: nothing that follows from it was published."""
        if not self._whole:
            try:
                return self._go(whole=False)
            except Damaged as e:
                self._whole = True
                self._say(f"warning: the job starts again, since its checkpoint is found to be damaged: {e.message}")
        return self._go(whole=True)

    def _go(self, whole: bool) -> None:
        """`whole`: from a checkpoint that is verified before, and not only beside the first epochs; else Damaged when that
        shows that it is no good."""
        self._workers, self._replay = [], None
        with (
            self._place() as local,
            PROCESS.running(self.options, local, self.directory is not None) as memory,
            store_places(self.options, local) as places,
            contextlib.ExitStack() as closing,
        ):
            closing.callback(self._leave)
            try:
                loop = self._begin(local, StoreShare(memory, places), whole)
                if loop is not None:
                    self._supervisor.running()
                    loop.run()
                    self._end()
            except CheckpointError:
                if self._run is not None:
                    self._run.verification.wait()  # damage may be why
                raise

    def _leave(self) -> None:
        """An attempt is over."""
        with contextlib.ExitStack() as closing:
            for w in self._workers:
                closing.callback(w.close)
            if self.savepoints is not None:
                closing.callback(self.savepoints.interrupt, f"attempt {self.progress.attempt} of the job has ended")
            if self._run is not None:
                closing.callback(self._run.verification.stop)

    # ---- start and end

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """What a job has from its first attempt to its last: the endpoint for its metrics, and, when it is durable, lock,
        control and history."""
        directory = self.directory
        with contextlib.ExitStack() as stack:
            lock = None if directory is None else stack.enter_context(directory.locked())
            if directory is not None:
                self.statistics = Statistics(History(directory.path / FILE, lock=lock))
            self._endpoint = stack.enter_context(reporting(self))
            if self._endpoint is not None:
                self._say(f"metrics for Prometheus: {self._endpoint}")
            if directory is not None and lock is not None:
                o = self.options
                origin = Origin(directory.job, lock.owner, self.file, o.parallelism, self.log, self._endpoint, o.window)
                stack.enter_context(Control(lock, self, origin, self.clock, self._say))
            yield

    @contextlib.contextmanager
    def _place(self) -> Iterator[Path]:
        """A local directory for state files, gone afterwards; a durable job's own."""
        if self.directory is None:
            local = Path(tempfile.mkdtemp(prefix="sqlstream-"))
            try:
                yield local
            finally:
                shutil.rmtree(local, ignore_errors=True)
            return
        self.directory.locked().again()  # it may have been away
        try:
            yield self.directory.work()
        finally:
            self.directory.forget_work()

    def _record(self, state: str, message: str) -> None:
        if self._run is not None:
            self._run.record(state, message)

    def _begin(self, local: Path, stores: StoreShare, whole: bool) -> Loop | None:
        """Makes the workers, restored from the newest good checkpoint. None when the job had finished before."""
        cache = local / "cache"
        manifest = None if self.directory is None else self._durable(self.directory, local, stores, whole)
        run = uuid.uuid4().hex[:8] if self._run is None else self._run.id
        settings = self._settings(run, local, stores)
        sinks = self._sinks()
        self._publisher = Publisher(sinks, SinkTask(self.name, run, 0, settings.durable))
        if self._run is not None:
            self._republish(manifest, sinks)
            if manifest is not None and (manifest.metrics.get("finished") or manifest.metrics.get("drained")):
                self._run.say_finished()
                self._run.record("FINISHED")
                self.progress.state = "FINISHED"
                return None
        if manifest is not None:
            self._say(
                f"job {self.name} resumes from checkpoint {manifest.checkpoint_id} of {manifest.created}, "
                f"{manifest.metrics.get('rows_in', 0):,} rows in"
            )
        channels = LocalChannels(self.options.parallelism)
        storage = None if self._run is None else self._run.storage
        self.meters.begin(self.graph, self.options.parallelism)
        for t in range(self.options.parallelism):
            self._workers.append(
                Worker(
                    self.graph,
                    t,
                    settings,
                    self.clock,
                    channels,
                    self._receive_one,
                    self._late,
                    storage,
                    self._say,
                    self.meters.of(self.graph, t),
                )
            )
        splits = Splits(self.graph, self._workers, self.clock.monotonic, self._say)
        splits.begin(manifest, self._replay, self.directory is not None)
        for worker in self._workers:
            worker.open_sources()
        if manifest is not None:
            hold(self.graph, manifest, self._workers)
        splits.assign()
        for worker in self._workers:
            worker.open(manifest, cache)
        faults.point("restored")
        if self._replay is not None:
            for worker in self._workers:
                worker.mute(True)
        self.progress.state = "RUNNING"
        return self._loop(channels, splits)

    def _loop(self, channels: LocalChannels, splits: Splits) -> Loop:
        options, clock, progress = self.options, self.clock, self.progress
        return Loop(
            self.name,
            options,
            self._workers,
            channels,
            splits,
            self._replay,
            Checkpoints(
                options,
                self._run,
                self._publisher,
                progress,
                self.times,
                clock,
                self.statistics,
                self._say,
                self.savepoints,
                splits.checkpointed,
            ),
            self.savepoints,
            self._requests,
            Pace(options.max_rows, self._sizes),
            progress,
            self.times,
            clock,
            self._say,
            self._on_epoch,
            None if self.directory is None and self._endpoint is None else self.meters,
        )

    def _settings(self, run: str, local: Path, stores: StoreShare) -> WorkerSettings:
        # an attempt that shows each epoch at once names its files by itself: one that resumes shows some rows again
        attempt = f"x{uuid.uuid4().hex[:6]}" if self.options.mode == "AT_LEAST_ONCE" else ""
        return WorkerSettings(self.name, run, self.directory is not None, local, self.options, stores, attempt)

    def _sinks(self) -> dict[str, TableSink]:
        return {i: n.sink for i, n in zip(self.graph.ids, self.graph.nodes, strict=True) if isinstance(n, Sink)}

    def _durable(self, directory: JobDirectory, local: Path, stores: StoreShare, whole: bool) -> Manifest | None:
        """Begins or goes on with a run; the checkpoint that it goes on from. Counts go on where that stood."""
        self._run = run = Run(
            directory,
            self.name,
            self._identity(),
            self._say,
            fresh=self.fresh and self.progress.attempt == 1,
            options=self.options,
            clock=self.clock,
            cache=local / "cache",
            before=self._run,
        )
        found, change = run.latest(whole, lambda manifest: self._change(run, Found(manifest, []))), None
        if found is not None:
            change = self._change(run, found)
            found = found if change is not None else run.going_on(found)
        run.begin()
        self.progress.begin()
        if found is None:
            return None
        if change is not None:
            found = Found(self._changed(change, run, local, stores), [])
        manifest = found.manifest
        self.progress.epoch = manifest.epoch
        self.progress.checkpoint = manifest.checkpoint_id
        self.statistics.restore(Restored(manifest.checkpoint_id, self.clock.now() // 1000))
        for key in ("rows_in", "rows_out", "late_rows"):
            setattr(self.progress, key, manifest.metrics.get(key, 0))
        if found.newer:
            behind = found.newer[0]
            self._replay = Replay(self.graph, behind)
            self._say(
                f"what follows checkpoint {manifest.checkpoint_id} is computed again, and not written again "
                f"up to where checkpoint {behind.checkpoint_id} has published it"
            )
        return manifest

    def _change(self, run: Run, found: Found) -> Change | None:
        """What becomes of a job that goes on from a checkpoint as another one; see `changed`."""
        self.graph = fitting(self.graph, self._former, found.manifest)
        run.identity = self._identity()
        allowed = allowed_from(self._allowed, self.options, found.manifest)
        return changed(run, found, self.graph, self.tables, allowed, self._batch)

    def _changed(self, change: Change, run: Run, local: Path, stores: StoreShare) -> Manifest:
        """The checkpoint that the changed job goes on from."""
        self._say(f"job {self.name} has changed since checkpoint {change.manifest.checkpoint_id}:")
        for line in change.lines(all_=False):
            self._say(f"  {line}")
        with apart(local, stores) as (place, share):
            settings = self._settings(run.id, place, share)
            publisher = Publisher(self._sinks(), SinkTask(self.name, run.id, 0))
            rebuild = Rebuild(change, settings, run.storage, self.clock, self._say, self._requests.stop.is_set)
            return go_on_changed(rebuild, run, publisher)

    def _identity(self) -> Identity:
        return Identity.of(self.graph, self.tables, self._former or tuple)

    def _republish(self, manifest: Manifest | None, sinks: dict[str, Any]) -> None:
        """Publishes again what the checkpoint prepared, and removes what no checkpoint knows.

        What a newer, damaged checkpoint prepared is published too: it was complete, and readers may have seen a part.
        """
        assert self._run is not None
        if manifest is not None and (old := manifest.metrics.get("inherited")):
            # Whether the job that took it had published it before it ended, its checkpoint does not say.
            try:
                Publisher(sinks, SinkTask(old["job"], old["run"], 0)).recover(old["sinks"], Stage.COMMITTING)
                self._publisher.recover(old["sinks"], Stage.COMMITTED)  # what it remembers goes on
            except OutputLost:
                raise
            except RunError as e:
                self._say(f"warning: output of the checkpoint that the job began from is not here: {e.message}")
        if self._run.replaced is not None:  # after that: the checkpoint may be one of its own
            Publisher(sinks, SinkTask(self.name, self._run.replaced.run, 0)).abort()
        ahead = None if self._replay is None else self._replay.goal
        self._run.republish(self._publisher, [m for m in (manifest, ahead) if m is not None])

    def _end(self) -> None:
        faults.point("before-finished")
        if self.progress.state == "RUNNING":
            self.progress.state = "FINISHED"
        if self._run is None:
            return
        try:
            self._run.record(self.progress.state)
        except SqlStreamError:
            if self.progress.state == "FINISHED":
                raise

    # ---- small things

    def _receive_one(self, batch: pa.RecordBatch, kinds: Any) -> None:
        if self.receive is not None:
            self.receive(batch, kinds)

    def _late(self, node_id: str, batch: pa.RecordBatch) -> None:
        with self._late_lock:
            self.progress.late_rows += batch.num_rows
            if self._on_late is not None:
                self._on_late(node_id, batch)

    def _say(self, text: str) -> None:
        text = redacted(text)
        self.progress.messages.append(text)
        if self._on_message is not None:
            self._on_message(text)
