"""A batch job: each INSERT runs once over inputs that end, and all are published together.

A durable one (with a directory) writes one checkpoint, when everything is staged: it names what the sinks are to
publish, and then they do. Killed before, the next run removes what was staged and begins anew; killed after it, the
next run publishes what is not yet there. A run after that says that the job has finished. So readers see all or
nothing of an INSERT's files but for the moment of publishing, and nothing twice.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from sqlstream.checkpoint.coordinator import CheckpointCoordinator
from sqlstream.checkpoint.manifest import Manifest
from sqlstream.checkpoint.storage import CheckpointStorage
from sqlstream.connectors.base import SinkTask
from sqlstream.errors import Canceled, CheckpointError, SqlStreamError
from sqlstream.operators.target import Target
from sqlstream.plan import nodes
from sqlstream.runtime import faults
from sqlstream.runtime.directory import JobDirectory, JobState
from sqlstream.runtime.progress import Progress
from sqlstream.types import outside


class BatchJob:
    """`rows` runs one target's plan. `fresh`: whatever a job of this name did before, this is a new run."""

    def __init__(
        self,
        name: str,
        targets: list[Target],
        rows: Callable[[Target], Iterator[pa.RecordBatch]],
        directory: JobDirectory | None = None,
        fresh: bool = False,
        say: Callable[[str], None] | None = None,
    ) -> None:
        self.name, self.targets, self.directory, self.fresh = name, targets, directory, fresh
        self.progress = Progress()
        self._rows = rows
        self._say = say or (lambda text: None)
        self._state: JobState | None = None
        self._sinks = [t.sink for t in targets if t.sink is not None]
        self.plan = "\n".join(
            f"Batch(table={t.table}, columns=[{', '.join(t.output.names)}])\n{nodes.tree(t.plan, 1)}" for t in targets
        )

    def run(self) -> Progress:
        """Runs to the end. Raises what made it fail; then nothing is published."""
        if self.directory is None:
            task = SinkTask(self.name, os.urandom(4).hex(), 0, False)
            self._publish(task, self._staged(task))
            self.progress.state = "FINISHED"
            return self.progress
        self.directory.acquire()
        try:
            self._durable(self.directory)
            return self.progress
        except BaseException as e:
            canceled = isinstance(e, (KeyboardInterrupt, Canceled))
            self.progress.state = "CANCELED" if canceled else "FAILED"
            if self._state is not None:
                message = "" if canceled else (str(e).splitlines() or [type(e).__name__])[0]
                with contextlib.suppress(SqlStreamError):  # it says RUNNING then: the same to the next run
                    self.directory.write(replace(self._state, state=self.progress.state, message=message))
            raise
        finally:
            self.directory.release()

    def _durable(self, directory: JobDirectory) -> None:
        before = directory.read(broken=self.fresh)
        self._state = state = before if before is not None and not self.fresh else directory.new_run()
        storage = CheckpointStorage(directory.place(state), directory.stores)
        coordinator = CheckpointCoordinator(storage, f"{state.job}/{state.run}")
        task = SinkTask(self.name, state.run, 0)
        found = coordinator.latest()
        if found is not None:
            manifest = found.manifest
            manifest.check_plan(_fingerprint(self.plan), self.plan)
            self.progress.rows_out = manifest.metrics["rows_out"]
            self._say(f"job {state.job} has finished: nothing to do (--fresh runs it anew)")
        else:
            self._refuse_unknown(task)
            directory.write(replace(state, state="RUNNING", message=""))
            faults.point("job-recorded")
            self._clean(task)
            if before is not None and before.run != state.run:
                self._clean(replace(task, run=before.run))
            parts = self._staged(task)
            faults.point("before-manifest")
            attempt = coordinator.begin()
            manifest = coordinator.complete(attempt, self._manifest(state, attempt.checkpoint_id, parts))
            faults.point("after-manifest")
            directory.forget_runs(state)
        self.progress.checkpoint = manifest.checkpoint_id
        self._publish(task, [manifest.sinks[str(i)] for i in range(len(self.targets))])
        faults.point("before-finished")
        directory.write(replace(state, state="FINISHED", message=""))
        self.progress.state = "FINISHED"

    def _refuse_unknown(self, task: SinkTask) -> None:
        for sink in self._sinks:
            if unknown := sink.committer(task).published(0):
                raise CheckpointError(
                    f"{unknown[0]} was published by a checkpoint that is lost: running again would repeat rows",
                    hint="restore the job's directory from a backup, or start anew with --fresh and another path for "
                    "the sink",
                )

    def _staged(self, task: SinkTask) -> list[list[dict[str, Any]]]:
        """Runs the plans and stages their rows: for each target what is to be published."""
        self.progress.state = "RUNNING"
        staged = []
        try:
            for i, t in enumerate(self.targets):
                # a task each: two targets may be one table
                writer = self._sinks[i].writer(replace(task, subtask=i))
                try:
                    for batch in self._rows(t):
                        t.refuse_nulls(batch)
                        writer.write(outside(batch, t.output), None)
                        self.progress.rows_out += batch.num_rows
                    writer.flush()
                    staged.append(writer.prepare(1))
                finally:
                    writer.close()
                faults.point("after-prepare")
        except BaseException:
            self._clean(task)
            raise
        return staged

    def _clean(self, task: SinkTask) -> None:
        """What the run has staged goes."""
        for sink in self._sinks:
            sink.committer(task).clean([])

    def _publish(self, task: SinkTask, parts: list[list[dict[str, Any]]]) -> None:
        for sink, mine in zip(self._sinks, parts, strict=True):
            committer = sink.committer(task)
            for part in mine:
                committer.commit([part])
                faults.point("mid-publish")

    def _manifest(self, state: JobState, number: int, parts: list[list[dict[str, Any]]]) -> Manifest:
        return Manifest(
            f"{state.job}/{state.run}",
            self.name,
            state.run,
            number,
            1,
            datetime.now(UTC).isoformat(timespec="milliseconds"),
            _fingerprint(self.plan),
            self.plan,
            1,
            sinks={str(i): list(p) for i, p in enumerate(parts)},
            metrics={"rows_out": self.progress.rows_out, "finished": True},
        )


def _fingerprint(plan: str) -> str:
    return hashlib.sha256(plan.encode()).hexdigest()[:16]
