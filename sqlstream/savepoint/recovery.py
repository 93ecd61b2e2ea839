"""What a new run goes on from: a savepoint, or a checkpoint that another run has left, brought into its own checkpoints.

All of it is copied, under the numbers of the old checkpoint, and the manifest comes last: from then on it is a checkpoint
like any other, of this run, and refers to nothing outside. A process that is killed meanwhile begins it again.

Which operator gets which state: where the plan is the same, that of its id; else that of the operator which computed
the same, from the same below it (`NodeMark.hash`). Where the job has more than that (an operator that is new, a statement),
the manifest is that of a job which had the rest only: the run goes on from it as a changed job does.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sqlstream import faults
from sqlstream.checkpoint.chain import local_file
from sqlstream.checkpoint.coordinator import manifest_name
from sqlstream.checkpoint.manifest import (
    BASE,
    SHARED,
    FileEntry,
    Manifest,
    NodeMark,
    OperatorState,
    TaskState,
    likeness,
)
from sqlstream.checkpoint.storage import CheckpointStorage, failing_as, sha256_of
from sqlstream.errors import CheckpointError
from sqlstream.savepoint.reader import SavedRows
from sqlstream.savepoint.record import METADATA, SavedState
from sqlstream.savepoint.writer import delete_savepoint
from sqlstream.secrets import shown_value
from sqlstream.state.files import SUFFIX, StateRows, write_file
from sqlstream.stores import ENVIRONMENT, Stores

CLAIM, NO_CLAIM = "CLAIM", "NO_CLAIM"
_CHECKPOINT = re.compile(r"(.*)/chk-(\d+)(/manifest\.json)?")


@dataclass(frozen=True)
class Recovery:
    """From where, and how: `execution.state-recovery.*`."""

    path: str
    claim: bool = False
    ignore_unclaimed: bool = False
    stores: Stores = ENVIRONMENT


def no_sink(key: str, table: str) -> str:
    """The hash of a sink in a plan without sinks (see `NewJob.sink_hash`)."""
    return ""


@dataclass(frozen=True)
class NewJob:
    """Who goes on: its run, its plan, and which of the plan's nodes keep state. `places`: the ids by those of before;
    `sink_hash`: the hash that the sink of an id would have under another table's name."""

    job_id: str
    name: str
    run: str
    plan: str
    fingerprint: str
    nodes: Mapping[str, NodeMark] = field(default_factory=dict)
    places: Mapping[str, str] = field(default_factory=dict)
    tables: dict[str, dict[str, str]] = field(default_factory=dict)
    sink_hash: Callable[[str, str], str] = no_sink
    former: Callable[[], Iterable[NewJob]] = tuple  # as versions before made the plan, or other settings do

    def suiting(self, fingerprint: str, nodes: Mapping[str, NodeMark]) -> NewJob:
        """The one of these that suits what is gone on from."""
        if fingerprint == self.fingerprint:
            return self
        return max([self, *self.former()], key=lambda j: likeness(j.fingerprint, j.nodes, fingerprint, nodes))


@dataclass(frozen=True)
class Origin:
    """What is gone on from, as the manifest of a checkpoint of the new run: without its files, and (`bring`) with them."""

    manifest: Manifest
    bring: Callable[[CheckpointStorage], Manifest]


def recovered(
    recovery: Recovery,
    job: NewJob,
    storage: CheckpointStorage,
    work: Path,
    say: Callable[[str], object],
    begin: Callable[[Manifest], object],
) -> Manifest:
    """The manifest of the checkpoint that the run goes on from: its files are in `storage`, it is not yet. What it says of
    sinks is for these to remember: it counts as published.

    `work`: a local directory, which is made and goes. `begin` is called with the manifest, without its files, before
    anything is written. CheckpointError when there is nothing good, or it does not fit.
    """
    with failing_as("make the directory", str(work)):
        work.mkdir(parents=True)
    try:
        origin = origin_of(recovery, job, work, say)
        begin(origin.manifest)
        return origin.bring(storage)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def origin_of(recovery: Recovery, job: NewJob, work: Path, say: Callable[[str], object]) -> Origin:
    """What there is to begin from, read and compared; nothing is written. `say` is told what is dropped."""
    checkpoint = _CHECKPOINT.fullmatch(recovery.path.rstrip("/"))
    if checkpoint is not None:
        found = _of_checkpoint(recovery, checkpoint[1], int(checkpoint[2]), job, work, say)
    else:
        found = _of_savepoint(recovery, job, work, say)
    shown = shown_value("", recovery.path)

    def ours(manifest: Manifest) -> Manifest:
        metrics = {k: v for k, v in manifest.metrics.items() if k != "claimed"}
        metrics |= {"recovered": shown} | ({"claimed": shown} if recovery.claim else {})
        return replace(
            manifest,
            job_id=job.job_id,
            job_name=job.name,
            run_id=job.run,
            metrics=metrics,
            tables=job.tables,
            previous=None,
        )

    return Origin(ours(found.manifest), lambda storage: ours(found.bring(storage)))


# ---- a savepoint


def _of_savepoint(recovery: Recovery, job: NewJob, work: Path, say: Callable[[str], object]) -> Origin:
    saved = SavedRows(recovery.path, work, recovery.stores)
    record = saved.record
    if record.drained:
        raise CheckpointError(
            f"savepoint {recovery.path} was taken WITH DRAIN: all of its windows are closed, and every row that came now "
            "would be late",
            hint="go on from a savepoint without drain; this one can be read (docs/savepoints.md)",
        )
    holding = {key: [f"{s.schema.name}: {sum(p.rows for p in s.pieces):,} rows" for s in o.states if s.pieces]
               for key, o in record.operators.items()
               if any(s.pieces for s in o.states) or any(t.snapshot for t in o.tasks)}  # fmt: skip
    job = job.suiting(record.plan_fingerprint, record.nodes)
    match = _matched(
        recovery, record.plan_fingerprint, record.nodes, record.tables, holding, set(record.sources), job, say
    )
    mine = {new: record.operators[old] for new, old in match.items() if old in record.operators}
    fingerprint, plan, nodes = _plan(record.plan_fingerprint, record.plan, record.nodes, record.tables, match, job)
    operators = {k: OperatorState(o.name, tuple(s.schema for s in o.states), o.tasks) for k, o in mine.items()}
    manifest = Manifest(
        job.job_id, job.name, job.run, record.checkpoint_id, record.epoch, record.created, fingerprint, plan,
        record.parallelism,
        operators,
        {new: record.sources[old] for new, old in match.items() if old in record.sources},
        _sinks(record.sinks, record.nodes, record.tables, match, job),
        metrics=_metrics(record.metrics, match),
        nodes=nodes,
    )  # fmt: skip

    def bring(storage: CheckpointStorage) -> Manifest:
        made = {}
        for key, o in mine.items():
            tasks = tuple(replace(t, files=_copied(saved, o.states, t, storage, work)) for t in o.tasks)
            made[key] = replace(operators[key], tasks=tasks)
        say(
            f"job {job.name} begins from savepoint {shown_value('', recovery.path)}, of checkpoint {record.checkpoint_id} of "
            f"job {record.job_name}"
        )
        return replace(manifest, operators=made)

    return Origin(manifest, bring)


def _copied(
    saved: SavedRows, states: tuple[SavedState, ...], task: TaskState, storage: CheckpointStorage, work: Path
) -> tuple[FileEntry, ...]:
    """The rows of a task as state files in `storage`."""
    out = []
    for state in states:
        path = work / f"state{SUFFIX}"
        spec, number = state.schema.spec(), state.schema.number
        rows = write_file(path, (StateRows(number, spec, some) for some in saved.rows(state, task.subtask)))
        if rows:
            digest, size = sha256_of(path), path.stat().st_size
            entry = FileEntry(f"{SHARED}/{digest}{SUFFIX}", size, digest, BASE, rows)
            _bring(storage, entry, path)
            path.unlink()
            out.append(entry)
    return tuple(out)


def _bring(storage: CheckpointStorage, entry: FileEntry, path: Path) -> None:
    storage.put_file(entry.name, path)
    faults.point("mid-recovery")


# ---- a checkpoint


def _of_checkpoint(
    recovery: Recovery,
    root: str,
    number: int,
    job: NewJob,
    work: Path,
    say: Callable[[str], object],
) -> Origin:
    theirs = CheckpointStorage(root, recovery.stores)
    if theirs.stat(manifest_name(number)) is None:
        raise CheckpointError(
            f"there is no checkpoint {number} in {root}: {theirs.shown(manifest_name(number))} is missing",
            hint="name the directory chk-<n> of a complete checkpoint, or that of a savepoint",
        )
    old = Manifest.from_json(theirs.read(manifest_name(number)))
    if old.metrics.get("finished") or old.metrics.get("drained"):
        raise CheckpointError(
            f"checkpoint {number} in {root} is the last one of a job that has finished: nothing is left to do"
        )
    holding = {
        key: [", ".join(s.name for s in o.states)]
        for key, o in old.operators.items()
        if any(t.files or t.snapshot for t in o.tasks)
    }
    job = job.suiting(old.plan_fingerprint, old.nodes)
    match = _matched(recovery, old.plan_fingerprint, old.nodes, old.tables, holding, set(old.sources), job, say)
    operators = {new: old.operators[key] for new, key in match.items() if key in old.operators}
    metrics = _metrics(old.metrics, match)
    sinks = _sinks(old.sinks, old.nodes, old.tables, match, job)
    if any(sinks.values()):  # whether it was published before its job ended is not known here
        metrics["inherited"] = {"job": old.job_name, "run": old.run_id, "sinks": sinks}
    sources = {new: old.sources[key] for new, key in match.items() if key in old.sources}
    fingerprint, plan, nodes = _plan(old.plan_fingerprint, old.plan, old.nodes, old.tables, match, job)
    manifest = replace(
        old, operators=operators, sources=sources, sinks=sinks, metrics=metrics, plan_fingerprint=fingerprint, plan=plan,
        nodes=nodes,
    )  # fmt: skip

    def bring(storage: CheckpointStorage) -> Manifest:
        for entry in manifest.files().values():
            _bring(storage, entry, local_file(theirs, entry, work))
        say(f"job {job.name} begins from checkpoint {number} of job {old.job_name} in {shown_value('', root)}")
        return manifest

    return Origin(manifest, bring)


def _plan(
    fingerprint: str,
    plan: str,
    nodes: Mapping[str, NodeMark],
    tables: Mapping[str, Mapping[str, str]],
    match: Mapping[str, str],
    job: NewJob,
) -> tuple[str, str, dict[str, NodeMark]]:
    """The plan of the manifest: the job's own, where all of it was there; else what of it was, and what was written to where
    the job writes now by other queries."""
    known = {new: old for new, old in match.items() if old in nodes}
    needed = (k for k, m in job.nodes.items() if m.stateful or m.table)
    if not nodes or (
        all(k in known for k in needed) and all(nodes[o].hash == job.nodes[n].hash for n, o in known.items())
    ):
        return job.fingerprint, job.plan, dict(job.nodes)
    out = {new: job.nodes[new] if _writes(job.nodes[new]) else nodes[old] for new, old in known.items()}
    places = {_place(job.tables, mark) for mark in job.nodes.values() if _writes(mark)}
    for old, mark in nodes.items():
        if old not in match.values() and _writes(mark) and _place(tables, mark) in places - {None}:
            out[old if old not in out else f"{old}-before"] = mark
    return fingerprint, plan, out


def _writes(mark: NodeMark) -> bool:
    return bool(mark.table) and bool(mark.inputs)


def _place(tables: Mapping[str, Mapping[str, str]], mark: NodeMark) -> str | None:
    """Where a sink writes, if anywhere that lasts."""
    return tables.get(mark.table, {}).get("path")


def _sinks(
    old: Mapping[str, list[Any]],
    nodes: Mapping[str, NodeMark],
    tables: Mapping[str, Mapping[str, str]],
    match: Mapping[str, str],
    job: NewJob,
) -> dict[str, list[Any]]:
    """What sinks have prepared and remember, for those that write to the same place now."""

    found = {new: match.get(new, new) for new in job.nodes}
    return {
        new: old[key]
        for new, key in found.items()
        if key in old and (key not in nodes or _place(job.tables, job.nodes[new]) == _place(tables, nodes[key]))
    }


def _metrics(old: Mapping[str, Any], match: Mapping[str, str]) -> dict[str, Any]:
    marks = old.get("source_watermarks", {})
    counts = {k: old[k] for k in ("rows_in", "rows_out", "late_rows") if k in old}
    return counts | {"source_watermarks": {new: marks[key] for new, key in match.items() if key in marks}}


# ---- who gets what


def _matched(
    recovery: Recovery,
    fingerprint: str,
    nodes: Mapping[str, NodeMark],
    tables: Mapping[str, Mapping[str, str]],
    holding: Mapping[str, list[str]],
    sources: set[str],
    job: NewJob,
    say: Callable[[str], object],
) -> dict[str, str]:
    """By the new plan's ids those of the old one. CheckpointError when state of the old one, or positions, would be lost;
    unless that is to be ignored, which is said."""
    if fingerprint == job.fingerprint and not nodes:
        return {new: old for old, new in job.places.items()}
    if fingerprint == job.fingerprint and {k: m.hash for k, m in nodes.items()} == {
        k: m.hash for k, m in job.nodes.items()
    }:
        return {key: key for key in job.nodes}
    by_hash: dict[str, list[str]] = {}
    for key, mark in nodes.items():
        by_hash.setdefault(mark.hash, []).append(key)
    match: dict[str, str] = {}
    for key, mark in job.nodes.items():
        if by_hash.get(mark.hash):
            match[key] = by_hash[mark.hash].pop(0)
    for key, mark in job.nodes.items():  # a source whose watermark is another one
        left = [k for k, m in nodes.items() if (m.name, m.table) == (mark.name, mark.table) and k not in match.values()]
        if mark.table and key not in match and left and not _writes(mark):
            match[key] = left[0]
    for key, mark in job.nodes.items():  # a statement that writes to another table, or to one of another name
        if _writes(mark) and key not in match:
            sinks = {k: m for k, m in nodes.items() if _writes(m)}
            there = {k: m for k, m in sinks.items() if _place(tables, m) == _place(job.tables, mark) is not None}
            left = [k for k in there or sinks if k not in match.values()]
            same = next((k for k in left if job.sink_hash(key, nodes[k].table) == nodes[k].hash), None)
            match |= {} if same is None else {key: same}
    claimed = set(match.values())
    lost = [
        f"{key} ({'; '.join(what) or 'what it knows of time'})" for key, what in holding.items() if key not in claimed
    ]
    lost += [f"{key} (positions in table {nodes[key].table if key in nodes else '?'})" for key in sources - claimed]
    if not recovery.ignore_unclaimed and lost:
        raise CheckpointError(
            f"{recovery.path} does not fit the job:\n  "
            + "\n  ".join(sorted(f"{text} is nowhere in the job" for text in lost)),
            hint="run the statement that wrote it; or SET 'execution.state-recovery.ignore-unclaimed-state' = 'true': then such "
            "state is dropped, and what is new is computed from its tables, or begins empty where that cannot be",
        )
    for text in lost:
        say(f"warning: {text} is dropped")
    return match


# ---- claimed


def forget_claimed(path: str, stores: Stores = ENVIRONMENT) -> None:
    """Deletes what was claimed: a savepoint; of a checkpoint the manifest, and the files that no other one there names."""
    checkpoint = _CHECKPOINT.fullmatch(path.rstrip("/"))
    if checkpoint is None:
        storage = CheckpointStorage(path.rstrip("/").removesuffix(f"/{METADATA}"), stores)
        if storage.stat(METADATA) is not None:
            delete_savepoint(storage.url, SavedRows(storage.url, Path("."), stores).record, stores)
        return
    storage, name = CheckpointStorage(checkpoint[1], stores), manifest_name(int(checkpoint[2]))
    if storage.stat(name) is None:
        return
    mine = Manifest.from_json(storage.read(name)).files().keys()
    others = [f.name for f in storage.files() if f.name.endswith("/manifest.json") and f.name != name]
    needed = {n for other in others for n in Manifest.from_json(storage.read(other)).files()}
    storage.delete([name, *sorted(mine - needed)])
