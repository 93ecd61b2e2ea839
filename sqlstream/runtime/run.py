"""A run of a durable job: its record in the job's directory, its checkpoints, and where it goes on from.

Streaming and batch jobs stand on it alike. All of it happens under the job's lock.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlstream import faults
from sqlstream.checkpoint.coordinator import Attempt, CheckpointCoordinator, Found
from sqlstream.checkpoint.local_copies import CopyingStorage, copies_of
from sqlstream.checkpoint.lock import LockLost
from sqlstream.checkpoint.manifest import Manifest, NodeMark
from sqlstream.checkpoint.storage import CheckpointStorage
from sqlstream.checkpoint.verification import Verification
from sqlstream.clock import Clock
from sqlstream.contracts import Stage
from sqlstream.errors import Canceled, CheckpointError, JobLocked, SqlStreamError
from sqlstream.options import SessionOptions
from sqlstream.runtime.directory import JobDirectory, JobState
from sqlstream.runtime.graph import JobGraph
from sqlstream.runtime.publisher import Publisher
from sqlstream.runtime.tables import Tables, check_tables, remembered
from sqlstream.savepoint.recovery import CLAIM, NewJob, Recovery, forget_claimed, no_sink, recovered
from sqlstream.secrets import redacted, shown_value
from sqlstream.stores import Stores


@dataclass(frozen=True)
class Identity:
    """What must be the same when a job goes on. `plan`: its text, shown where it differs; `fingerprint`: its hash.

    `nodes`: its operators by id; `places`: the ids by those that manifests had before; `sink_hash`: of a sink by its id,
    under another table's name. `former`: what it is by the plans that versions before made, or other settings do.
    """

    plan: str
    fingerprint: str
    tables: Tables
    nodes: Mapping[str, NodeMark] = field(default_factory=dict)
    places: Mapping[str, str] = field(default_factory=dict)
    sink_hash: Callable[[str, str], str] = no_sink
    former: Callable[[], Iterable[Identity]] = tuple

    def new_job(self, job_id: str, name: str, run: str, tables: dict[str, dict[str, str]]) -> NewJob:
        """Who goes on from a savepoint. `tables`: as manifests of the run remember them."""
        nodes, places = dict(self.nodes), dict(self.places)
        return NewJob(
            job_id, name, run, self.plan, self.fingerprint, nodes, places, tables, self.sink_hash,
            lambda: [i.new_job(job_id, name, run, tables) for i in self.former()],
        )  # fmt: skip

    @staticmethod
    def of(graph: JobGraph, tables: Tables, former: Callable[[], Iterable[JobGraph]] = tuple) -> Identity:
        """Of a plan."""
        return Identity(
            graph.text, graph.fingerprint, tables, graph.marks, graph.places, graph.sink_hash,
            lambda: [Identity.of(g, tables) for g in former()],
        )  # fmt: skip

    def with_ids(self, manifest: Manifest) -> Manifest:
        """A manifest of this plan, also one of before, with its operators by their ids."""
        by_place = not manifest.nodes and self.nodes and manifest.plan_fingerprint == self.fingerprint
        return manifest.renamed(self.places) if by_place else manifest


class Run:
    """The current run, or (`fresh`, or the first time) a new one; the record is not written yet.

    `replaced`: the run that this one takes the place of, None when there was none or when it is the same. `before`: the run
    as an attempt before in this process had it. It is to go on: LockLost when its record is gone, JobLocked when it is
    another run's.
    """

    def __init__(
        self,
        directory: JobDirectory,
        name: str,
        identity: Identity,
        say: Callable[[str], None],
        *,
        fresh: bool = False,
        options: SessionOptions | None = None,
        clock: Clock | None = None,
        cache: Path | None = None,
        before: Run | None = None,
    ) -> None:
        self.directory, self.name, self.identity = directory, name, identity
        self._options = options = options or SessionOptions()
        self._say = say
        self._work = directory.path / "work" / "recovery"
        self._claimed: set[str] = set()  # what the engine deletes when it is not needed any more
        found = directory.read(broken=fresh, gone=before is not None)
        if before is not None:
            self._refuse_another(before, found)
        self.state: JobState = found if found is not None and not fresh else directory.new_run()
        self.replaced = found if found is not None and found.run != self.state.run else None
        self.verification = Verification()  # of the checkpoint that it goes on from
        self._begun = False
        self._lock = directory.locked().number
        self.tables = remembered(identity.tables, self.id)
        self.storage = self._place(options)
        if not self.storage.is_local:
            self.storage.check_writable()  # said now, and not when the first checkpoint is due
        self._kept = self._kept_manifest()
        if (shown := directory.shown(self.id)) != self.state.checkpoints:
            self._refuse_moved(shown)
        self.coordinator: CheckpointCoordinator = CheckpointCoordinator(
            self.storage,
            f"{self.state.job}/{self.state.run}",
            retained=options.retained,
            clock=clock,
            cache=cache,
            after=0 if before is None else before.coordinator.last,
        )

    def _place(self, options: SessionOptions) -> CheckpointStorage:
        """Where its checkpoints are; with copies here, if the options say so. Those are in the way if not."""
        directory, transfers = self.directory, options.transfers
        storage = CheckpointStorage(directory.place(self.state), directory.stores, transfers)
        copies = copies_of(directory.path, options.local_backup_dirs)
        if storage.is_local or not options.local_backup:
            directory.forget_copies()
            return storage
        return CopyingStorage(directory.place(self.state), directory.stores, transfers, copies, self._say)

    @property
    def id(self) -> str:
        """The run's name within the job."""
        return self.state.run

    @property
    def publishing(self) -> int:
        """The last checkpoint whose publication has begun; 0: none."""
        return 0 if self._kept is None else self._kept.checkpoint_id

    def _refuse_another(self, before: Run, found: JobState | None) -> None:
        """What is in the directory must be what this process left there: to begin anew would write all rows again."""
        if found is None:
            raise LockLost(
                f"the record of job {before.state.job} is gone from {self.directory.path}",
                hint="was the directory moved or unmounted? The job goes on when it is back",
            )
        if found.run != before.id:
            raise JobLocked(
                f"another run of job {found.job} was begun in {self.directory.path}, by another process, while this one "
                "waited",
                hint="run it again, to go on with that",
            )

    def _kept_manifest(self) -> Manifest | None:
        text = self.directory.kept_manifest()
        try:
            kept = None if text is None else Manifest.from_json(text)
        except CheckpointError:
            return None
        return kept if kept is not None and kept.job_id == f"{self.state.job}/{self.id}" else None

    def _refuse_moved(self, shown: str) -> None:
        """The options say another place than the record: fine when checkpoints were taken there, or there are none."""
        if self._kept is not None and not self.storage.files():
            raise CheckpointError(
                f"the checkpoints of job {self.state.job} are not in {shown}: they were in {self.state.checkpoints}",
                hint="set 'execution.checkpointing.dir' as it was, move them to where it says now, or start anew with "
                "--fresh",
            )
        self.state = replace(self.state, checkpoints=shown)

    def latest(self, whole: bool = True, fits: Callable[[Manifest], object] = lambda manifest: None) -> Found | None:
        """The newest good checkpoint, whatever plan wrote it; None: there is none. Unless `whole`, some of its files are
        verified from now on, and no checkpoint completes before they were. `fits` raises where the job cannot go on from
        what the options say instead."""
        self._repair()
        found = self.coordinator.latest(whole)
        path = self._options.recovery_path
        if found is None and path is not None:
            found = Found(self._recovered(path, fits), [])
        elif path is not None:
            self._say(
                f"note: job {self.state.job} goes on from a checkpoint of its own, and not from {shown_value('', path)} "
                "(--fresh begins there)"
            )
        self._claimed = self._claims()
        if found is not None:
            self.verification = found.verification
            for text in found.skipped:
                self._say(f"warning: {text}")
        return found

    def going_on(self, found: Found) -> Found:
        """The checkpoint to go on from. CheckpointError when another plan wrote it, or its tables are others."""
        found.manifest.check_plan(self.identity.fingerprint, self.identity.plan)
        check_tables(self.state.job, found.manifest.checkpoint_id, found.manifest.tables, self.tables)
        newer = [self.identity.with_ids(m) for m in found.newer]
        return Found(self.identity.with_ids(found.manifest), found.skipped, newer)

    def _recovered(self, path: str, fits: Callable[[Manifest], object]) -> Manifest:
        """What a savepoint or another run's checkpoint has, as a checkpoint of this run."""

        def begin(manifest: Manifest) -> None:
            before, self.state = self.state, replace(self.state, published=manifest.checkpoint_id)
            fits(manifest)
            self.state = before
            self.begin()

        recovery = recovery_of(self._options, self.directory.resolved(path), self.directory.stores)
        job = self.identity.new_job(self.coordinator.job_id, self.name, self.id, self.tables)
        made = recovered(recovery, job, self.storage, self._work, self._say, begin)
        # What its sinks have prepared is another run's. Before the checkpoint is there: else it would be published.
        self.state = replace(self.state, published=made.checkpoint_id)
        self.begin()
        faults.point("after-recovery")
        return self.coordinator.adopt(made)

    def _claims(self) -> set[str]:
        kept = [self.coordinator.manifest(n) for n in self.coordinator.checkpoints()]
        return {str(m.metrics["claimed"]) for m in kept if m.metrics.get("claimed")}

    def _forget_claimed(self) -> None:
        """What was claimed goes when the checkpoint that was made of it has gone."""
        claims = self._claims()
        for path in self._claimed - claims:
            try:
                forget_claimed(path, self.directory.stores)
            except SqlStreamError as e:
                self._say(f"warning: {path}, which this job has claimed, was not deleted: {e.message}")
        self._claimed = claims

    def _repair(self) -> None:
        """The last checkpoint's manifest, from the job's own copy, when the store has lost or damaged it."""
        if self._kept is not None and self.coordinator.repair(self._kept):
            self._say(
                f"warning: the manifest of checkpoint {self._kept.checkpoint_id} was damaged or gone: written again"
            )

    def begin(self) -> None:
        """Records that it runs."""
        self.record("RUNNING")
        self._begun = True
        faults.point("job-recorded")

    def record(self, state: str, message: str = "") -> None:
        """Writes what has become of the run, in Flink's names of states. LockLost when it is not known whether the record
        that is there now is this run's."""
        if self._lock != self.directory.locked().number:
            raise self.directory.locked().lost()
        self.directory.write(replace(self.state, state=state, message=message))

    def fail(self, error: BaseException) -> None:
        """Records what ended it; what was refused before it began changes no record. Where it cannot be written, the
        record says RUNNING: the same to the next run."""
        if not self._begun:
            return
        lines = [] if canceled(error) else str(error).splitlines() or [type(error).__name__]
        with contextlib.suppress(SqlStreamError):
            self.record("CANCELED" if canceled(error) else "FAILED", redacted("".join(lines[:1])))

    def say_finished(self) -> None:
        """Tells who runs it again that there is nothing to do."""
        self._say(f"job {self.state.job} has finished: nothing to do (--fresh runs it anew)")

    def check(self) -> None:
        """LockLost when another process may have the job: nothing is to be written for it."""
        self.directory.locked().check()

    def complete(self, attempt: Attempt, epoch: int, parallelism: int, **parts: Any) -> Manifest:
        """Completes a checkpoint; `parts`: the fields of its manifest that are the job's own. CheckpointError (`Damaged`)
        when the one that the job went on from turns out to be no good."""
        self.verification.wait()
        self.check()
        manifest = Manifest(
            f"{self.state.job}/{self.state.run}",
            self.name,
            self.state.run,
            attempt.checkpoint_id,
            epoch,
            datetime.now(UTC).isoformat(timespec="milliseconds"),
            self.identity.fingerprint,
            self.identity.plan,
            parallelism,
            tables=self.tables,
            nodes=dict(self.identity.nodes),
            **parts,
        )
        faults.point("before-manifest")
        completed = self.coordinator.complete(attempt, manifest)
        faults.point("after-manifest")
        self._text = completed.to_json()
        if self._claimed:
            self._forget_claimed()
        return completed

    def publish(self, publisher: Publisher, manifest: Manifest) -> None:
        """Publishes what a checkpoint that was just completed has prepared. Before and after it is written down how far
        that goes: readers may take published files away, so whether one is there says nothing."""
        self.directory.keep_manifest(self._text)
        publisher.publish(manifest.sinks)
        if any(manifest.sinks.values()):
            self.state = replace(self.state, published=manifest.checkpoint_id)
            self.record("RUNNING")

    def republish(self, publisher: Publisher, manifests: list[Manifest]) -> None:
        """When a run begins or goes on: publishes what these checkpoints prepared and a process before this one did
        not, and removes what none of them knows."""
        publisher.refuse_unknown(max((m.checkpoint_id for m in manifests), default=0))
        for m in sorted(manifests, key=lambda m: m.checkpoint_id):
            before = Stage.COMMITTING if m.checkpoint_id <= self.publishing else Stage.PREPARED
            if m.checkpoint_id <= self.state.published:
                before = Stage.COMMITTED
            gone = publisher.recover(m.sinks, before)
            if gone:
                self._say(
                    f"warning: {listed(gone)} of checkpoint {m.checkpoint_id} is neither staged nor there: it was being "
                    "published when the job ended, and a reader has taken it away since"
                )
        faults.point("republished")
        publisher.abort()  # all that is staged now belongs to no checkpoint
        newest = max((m.checkpoint_id for m in manifests if any(m.sinks.values())), default=0)
        if newest > self.state.published:  # before anything is staged anew: it may get the names that these parts had
            self.state = replace(self.state, published=newest)
            if self._begun:
                self.record("RUNNING")
        if not manifests and (others := publisher.others()):
            self._say(
                f"warning: the sink holds output of earlier runs of job {self.state.job}, and its rows stay beside the "
                f"new ones: {listed(others)}"
            )

    def discard(self, publisher: Publisher) -> None:
        """Its checkpoints go, and what it has staged: the job will begin anew, as another run, of which the record says
        what became of this one."""
        with contextlib.suppress(SqlStreamError):
            publisher.abort()
        before = self.directory.read(broken=True)
        self.state = self.directory.new_run()
        # before the checkpoints go: there must never be a record of a run that has lost them
        self.record(before.state if before is not None else "CANCELED", before.message if before is not None else "")
        self.directory.forget_manifest()
        self.directory.forget_runs(self.state)

    def forget_others(self) -> None:
        """Removes the checkpoints of earlier runs, once this one has its own."""
        self.directory.forget_runs(self.state)


def recovery_of(options: SessionOptions, path: str, stores: Stores) -> Recovery:
    """What the options say of a savepoint that a job begins from; `path`: in full."""
    return Recovery(path, options.claim_mode == CLAIM, options.ignore_unclaimed, stores)


def listed(names: list[str], most: int = 3) -> str:
    """The first few of many names."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def canceled(error: BaseException) -> bool:
    """Whether somebody stopped the job, rather than a fault."""
    return isinstance(error, (KeyboardInterrupt, Canceled))
