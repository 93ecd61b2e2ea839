"""A batch job: each INSERT runs once over inputs that end, and all are published together.

A durable one (with a directory) writes one checkpoint, when everything is staged: it names what the sinks are to
publish, and then they do. Killed before, the next run removes what was staged and begins anew; killed after it, the
next run publishes what is not yet there. A run after that says that the job has finished. So readers see all or
nothing of an INSERT's files but for the moment of publishing, and nothing twice.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import pyarrow as pa

from sqlstream import faults
from sqlstream.batches import END, Time
from sqlstream.checkpoint.lock import JobLock
from sqlstream.clock import Clock, SystemClock
from sqlstream.contracts import SinkTask
from sqlstream.errors import Canceled, NotSupported, SqlStreamError
from sqlstream.operators.split_state import SplitState
from sqlstream.operators.target import Target
from sqlstream.plan import nodes
from sqlstream.runtime.control import Control
from sqlstream.runtime.directory import JobDirectory
from sqlstream.runtime.fingerprint import fingerprint, outside_id, plan_structure
from sqlstream.runtime.observer import Origin
from sqlstream.runtime.progress import Progress
from sqlstream.runtime.publisher import Publisher
from sqlstream.runtime.run import Identity, Run, canceled
from sqlstream.types import outside


class BatchJob:
    """`rows` runs one target's plan. `fresh`: whatever a job of this name did before, this is a new run. `interrupt` ends
    the queries that run. `file`: the script's, for who looks at the job."""

    def __init__(
        self,
        name: str,
        targets: list[Target],
        rows: Callable[[Target], Iterator[pa.RecordBatch]],
        directory: JobDirectory | None = None,
        fresh: bool = False,
        say: Callable[[str], None] | None = None,
        interrupt: Callable[[], None] | None = None,
        file: str | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.name, self.targets, self.directory, self.fresh = name, targets, directory, fresh
        self.progress = Progress()
        self._rows = rows
        self.file = file
        self.log: str | None = None  # where its messages go, if that is a file of the job's
        self._say = say or (lambda text: None)
        self._interrupt = interrupt or (lambda: None)
        self._clock: Clock = clock or SystemClock()
        self._canceled = threading.Event()
        self.tables = {n: options for t in targets for n, options in t.tables.items()}
        self._sinks = {str(i): t.sink for i, t in enumerate(targets) if t.sink is not None}
        self.plan = "\n".join(
            f"Batch(table={t.table}, columns=[{', '.join(t.output.names)}]{', overwrite' if t.overwrite else ''})\n"
            f"{nodes.tree(t.plan, 1)}"
            for t in targets
        )
        tables = [[t.table, list(t.output.names), *(["OVERWRITE"] if t.overwrite else [])] for t in targets]
        self.fingerprint = fingerprint([tables, plan_structure(t.plan for t in targets)])

    def stop(self, savepoint: str | None = None, drain: bool = False) -> None:
        """Asks the job to end, from any thread: nothing is published, unless all is staged already."""
        if savepoint is not None or drain:
            raise self._no_savepoints()
        self.cancel()

    def cancel(self) -> None:
        """What `stop` does."""
        self._canceled.set()
        self._interrupt()
        for sink in self._sinks.values():
            sink.give_up()

    def check_canceled(self) -> None:
        """Raises Canceled after `cancel`."""
        if self._canceled.is_set():
            raise Canceled("the job was canceled")

    def savepoint(self, directory: str | None = None) -> Future[Any]:
        """NotSupported: there is nothing between its start and its end that could be gone on from."""
        raise self._no_savepoints()

    def checkpoint(self) -> Future[int]:
        """NotSupported, as are savepoints."""
        raise self._no_savepoints()

    def restart(self) -> None:
        """NotSupported: it has one attempt."""
        raise NotSupported(
            f"job {self.name} runs in batch mode: it would begin anew", hint="stop it, and start it again"
        )

    def _no_savepoints(self) -> NotSupported:
        return NotSupported(
            f"job {self.name} runs in batch mode: it has no state that could be saved before its end",
            hint="stop it without a savepoint; SET 'execution.runtime-mode' = 'streaming' makes savepoints possible",
        )

    def run(self) -> Progress:
        """Runs to the end. Raises what made it fail; then nothing is published."""
        if self.directory is None:
            task = SinkTask(self.name, os.urandom(4).hex(), 0, False)
            publisher = Publisher(self._sinks, task)
            staged = self._staged(task, publisher)
            try:
                publisher.publish(staged)
            except BaseException:
                with contextlib.suppress(SqlStreamError):
                    publisher.withdraw(staged)
                raise
            self.progress.state = "FINISHED"
            return self.progress
        with self.directory.locked() as lock, self._controlled(lock):
            run: Run | None = None
            try:
                identity = Identity(self.plan, self.fingerprint, self.tables)
                run = Run(self.directory, self.name, identity, self._say, fresh=self.fresh)
                self._durable(run)
            except BaseException as e:
                self.progress.state = "CANCELED" if canceled(e) else "FAILED"
                if run is not None:
                    run.fail(e)
                raise
        return self.progress

    def _controlled(self, lock: JobLock) -> Control:
        origin = Origin(lock.job, lock.owner, self.file, log=self.log)
        return Control(lock, self, origin, self._clock, self._say)

    def _durable(self, run: Run) -> None:
        task = SinkTask(self.name, run.id, 0)
        publisher = Publisher(self._sinks, task)
        found = run.latest()
        if found is not None:
            manifest = run.going_on(found).manifest
            self.progress.rows_out = manifest.metrics.get("rows_out", 0)
            run.republish(publisher, [manifest])
            run.say_finished()
        else:
            run.begin()
            run.republish(publisher, [])
            if run.replaced is not None:
                Publisher(self._sinks, replace(task, run=run.replaced.run)).abort()
            sources = self._read()
            sinks = self._staged(task, publisher)
            attempt = run.coordinator.begin()
            metrics = {"rows_out": self.progress.rows_out, "finished": True}
            sources = {k: v for k, v in self._read().items() if v == sources.get(k)}
            manifest = run.complete(attempt, 1, 1, sinks=sinks, metrics=metrics, sources=sources)
            run.forget_others()
            run.publish(publisher, manifest)
        self.progress.checkpoint = manifest.checkpoint_id
        faults.point("before-finished")
        run.record("FINISHED")
        self.progress.state = "FINISHED"

    def _staged(self, task: SinkTask, publisher: Publisher) -> dict[str, list[Any]]:
        """Runs the plans and stages their rows: for each target what is to be published."""
        self.progress.state = "RUNNING"
        staged = {}
        try:
            for i, t in enumerate(self.targets):
                # a task each: two targets may be one table
                writer = self._sinks[str(i)].writer(replace(task, subtask=i))
                try:
                    for batch in self._rows(t):
                        self.check_canceled()
                        t.refuse_nulls(batch)
                        writer.write(outside(batch, t.output), None)
                        self.progress.rows_out += batch.num_rows
                    writer.advance(Time(END, END))
                    writer.flush()
                    staged[str(i)] = writer.prepare(1)
                finally:
                    writer.close()
                faults.point("after-prepare")
            return publisher.combine(staged, self._clock.now())
        except BaseException:
            publisher.abort()
            raise

    def _read(self) -> dict[str, dict[str, Any]]:
        """What there is to read, as manifests keep it: read to its end. A stream goes on from there."""
        scans = {s.table: s.source for t in self.targets for s in t.plan.walk() if isinstance(s, nodes.Scan)}
        return {
            outside_id("Source", table): {s.id: SplitState(s, finished=True).to_json() for s in source.splits()}
            for table, source in sorted(scans.items())
            if source.bounded
        }
