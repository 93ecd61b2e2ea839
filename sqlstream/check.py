"""`--check`: what would become of a job that goes on, and nothing is run or written.

A line for each operator with state and each output: kept, rebuilt (and from what), begins, dropped, or refused and why.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from sqlstream.checkpoint.coordinator import CheckpointCoordinator
from sqlstream.checkpoint.manifest import Manifest
from sqlstream.checkpoint.storage import CheckpointStorage
from sqlstream.environment import Environment
from sqlstream.errors import CheckpointError
from sqlstream.results import Result
from sqlstream.runtime.directory import JobDirectory, JobState, locate, resolved
from sqlstream.runtime.tables import Tables, check_tables, remembered
from sqlstream.secrets import shown_value

if TYPE_CHECKING:
    from sqlstream.runtime.batch_job import BatchJob
    from sqlstream.runtime.graph import JobGraph


@dataclass(frozen=True)
class Planned:
    """What a streaming job would be: its graph, the options of its tables, the graphs as versions before made them, and the
    fingerprint of the same statements in batch mode."""

    graph: JobGraph
    tables: Tables
    former: Callable[[], Iterator[JobGraph]]
    batch: Callable[[], str]


def check(env: Environment, planned: Planned | BatchJob) -> Result:
    """What would become of a job; `env.refused` where it could not go on."""
    o = env.settings
    place = locate(o.name, o.checkpoint_dir, env.jobs, env.working_directory)
    env.jobs += 1
    if place is None:
        return _said("the job has no pipeline.name: it starts anew each time")
    job, path, _ = place
    directory = JobDirectory(*place, env.stores) if path.is_dir() else None
    state = None if directory is None or env.fresh else directory.read()
    coordinator = None
    if directory is not None and state is not None:
        storage = CheckpointStorage(directory.place(state), directory.stores)
        coordinator = CheckpointCoordinator(storage, f"{state.job}/{state.run}")
    if directory is None or state is None or coordinator is None or not coordinator.checkpoints():
        if o.recovery_path is not None and isinstance(planned, Planned):
            return _begins(env, planned, job, resolved(o.recovery_path, env.working_directory))
        none = "there is nothing that it goes on from" if state is None else "it has no checkpoint yet"
        return _said(f"job {job} begins: {none}")
    manifest = coordinator.manifest(coordinator.checkpoints()[-1])
    try:
        if isinstance(planned, Planned):
            lines = _stream(env, planned, manifest, state)
        else:
            lines = _batch(planned, manifest, state)
    except CheckpointError as e:
        env.refused = True
        return _said(f"job {job} cannot go on from checkpoint {manifest.checkpoint_id}:", *str(e).splitlines())
    verb = "cannot go on" if env.refused else "goes on"
    head = f"job {job} {verb} from checkpoint {manifest.checkpoint_id} of {manifest.created}"
    return _said(f"{head}:" if lines else f"{head}, as it was", *lines)


def _begins(env: Environment, planned: Planned, job: str, path: str) -> Result:
    """From a savepoint."""
    from sqlstream.runtime.run import Identity, recovery_of
    from sqlstream.savepoint.recovery import origin_of

    lines = list[str]()
    identity = Identity.of(planned.graph, planned.tables, planned.former)
    run = JobState(job, "0" * 8, "RUNNING", "")
    try:
        with tempfile.TemporaryDirectory(prefix="sqlstream-check-") as work:
            new = identity.new_job(f"{job}/{run.run}", job, run.run, remembered(planned.tables, run.run))
            recovery = recovery_of(env.settings, path, env.stores)
            manifest = origin_of(recovery, new, Path(work), lines.append).manifest
        lines += _stream(env, planned, manifest, replace(run, published=manifest.checkpoint_id))
    except CheckpointError as e:
        env.refused = True
        return _said(f"job {job} cannot begin from {shown_value('', path)}:", *str(e).splitlines())
    verb = "cannot begin" if env.refused else "begins"
    return _said(f"job {job} {verb} from {shown_value('', path)}, of checkpoint {manifest.checkpoint_id}", *lines)


def _said(head: str, *lines: str) -> Result:
    return Result("CHECK", message="\n".join([head, *(f"  {line}" for line in lines)]))


def _batch(job: BatchJob, manifest: Manifest, state: JobState) -> list[str]:
    manifest.check_plan(job.fingerprint, job.plan)
    check_tables(state.job, manifest.checkpoint_id, manifest.tables, remembered(job.tables, state.run))
    return ["the job has finished: nothing is left to do"]


def _stream(env: Environment, planned: Planned, manifest: Manifest, state: JobState) -> list[str]:
    from sqlstream.runtime.changes import allowed_from, change_of, fitting

    graph, tables = fitting(planned.graph, planned.former, manifest), planned.tables
    allowed = allowed_from(env.allowed, env.settings, manifest)
    change = change_of(state.run, state.published, manifest, graph, tables, allowed, planned.batch)
    if change is None:
        manifest.check_plan(graph.fingerprint, graph.text)
        check_tables(state.job, manifest.checkpoint_id, manifest.tables, remembered(tables, state.run))
        return ["the job has finished: nothing is left to do"] if manifest.metrics.get("finished") else []
    if change.refused:
        env.refused = True
        return [*change.lines(), *(f"to go on: {way}" for way in change.ways())]
    return change.lines()
