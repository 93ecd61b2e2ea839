"""Computes state, and rows of new sinks, up to where a checkpoint stands, and makes the next checkpoint with them.

The part of the new graph that they need runs by itself: without any state at first, over the splits of the checkpoint
from their starts, each to where it was read. Then it holds what an operator that had been there all the time would
hold, since what that is depends on the input so far and on nothing else. (Processing time, idle splits, lookup tables
and volatile functions are what it does depend on else: those are as they are now.) The checkpoint that comes out has
what is kept from the old one, what was rebuilt from this run, and positions as they were. It is complete with its
manifest: a process that is killed before finds the job as it was, one that is killed later finds the changed one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event
from typing import Any

import pyarrow as pa

from sqlstream import faults
from sqlstream.batches import END
from sqlstream.checkpoint.coordinator import Attempt, Found
from sqlstream.checkpoint.manifest import Manifest
from sqlstream.checkpoint.storage import CheckpointStorage
from sqlstream.clock import Clock
from sqlstream.errors import Canceled, CheckpointError
from sqlstream.operators.source_scan import SourceScan
from sqlstream.operators.split_state import SplitState, unpacked
from sqlstream.own_files import OwnDirectory
from sqlstream.runtime.allowed import Allowed
from sqlstream.runtime.changes import Change, change_of
from sqlstream.runtime.channels import LocalChannels
from sqlstream.runtime.graph import JobGraph
from sqlstream.runtime.pace import READING, Pace
from sqlstream.runtime.publisher import Publisher
from sqlstream.runtime.replay import Replay
from sqlstream.runtime.run import Run
from sqlstream.runtime.store_places import StoreShare
from sqlstream.runtime.tables import Tables, differences
from sqlstream.runtime.worker import EpochCommand, TaskShare, Worker, WorkerSettings, step, written
from sqlstream.threads import Threads

REBUILD = "rebuild"
TOLD = 10.0  # seconds between two words on how far it is


@dataclass(frozen=True)
class Rebuild:
    """`settings`: of the job's workers, with a local directory of its own. `stopped`: whether to give up."""

    change: Change
    settings: WorkerSettings
    storage: CheckpointStorage
    clock: Clock
    say: Callable[[str], None]
    stopped: Callable[[], bool]

    def parts(self, attempt: Attempt) -> dict[str, Any]:
        """The fields of the new checkpoint's manifest that are the job's own. Its files are written, and staged.

        Canceled when it was stopped: then nothing has changed. CheckpointError when the tables are not what they were.
        """
        parts = self.change.composed()
        if not self.change.targets:
            return parts
        shares, rows_in, rows_out = self._run(attempt.checkpoint_id)
        wanted = {id(n) for n in self.change.targets}
        ids = {i for n, i in zip(self._graph.nodes, self._graph.ids, strict=True) if id(n) in wanted}
        if not self.change.finished:
            states = written(shares, lambda node_id: node_id in ids, attempt.protected.update)
            parts["operators"] |= states
        anew: dict[str, dict[str, Any]] = {}  # positions with watermarks by another expression
        for share in shares:
            for node_id, prepared in share.sinks.items():
                parts["sinks"].setdefault(node_id, []).extend(prepared)
            for node_id, splits in share.sources.items():
                if node_id in self.change.sources and node_id not in self.change.timed:
                    anew.setdefault(node_id, {}).update(splits)
        parts["sources"] |= {k: _as_they_are(v) for k, v in anew.items()} if self.change.batch else anew
        if self.change.batch:
            parts["metrics"]["rows_in"] = rows_in
        parts["metrics"]["rows_out"] = parts["metrics"].get("rows_out", 0) + rows_out
        return parts

    @property
    def _graph(self) -> JobGraph:
        return self.change.graph.part(self.change.targets)

    def _run(self, number: int) -> tuple[list[TaskShare], int, int]:
        graph, options = self._graph, self.settings.options
        goal = self._goal()
        replay = Ends() if self.change.batch else Replay(graph, goal)
        channels = LocalChannels(options.parallelism)
        workers = [
            Worker(graph, t, self.settings, self.clock, channels, None, _unheard, self.storage, self.say)
            for t in range(options.parallelism)
        ]
        pool = Threads(len(workers), "rebuild") if len(workers) > 1 else None
        try:
            self._hurry(graph, True)
            for worker in workers:
                worker.open_sources()
            self._assign(graph, goal, replay, workers)
            for worker in workers:
                worker.open(None)
            self._read(replay, workers, channels, pool)
            shares = [w.share(number, self.change.finished) for w in workers]
            for worker, share in zip(workers, shares, strict=True):
                share.sinks = share.sinks or worker.prepare(number)
            rows = sum(o.rows_written for w in workers for o in w.sinks())
            return shares, sum(s.rows_read for w in workers for s in w.scans.values()), rows
        finally:
            self._hurry(graph, False)
            for worker in workers:
                worker.close()
            if pool is not None:
                pool.close()

    def _hurry(self, graph: JobGraph, hurried: bool) -> None:
        for node in graph.nodes:
            if isinstance(node, SourceScan):
                node.source.hurry(hurried)

    def _goal(self) -> Manifest:
        """The old checkpoint's positions, by the new ids."""
        old, change = self.change.manifest, self.change
        marks = change.moved(old.metrics.get("source_watermarks", {}), change.timed)
        sources = {new: old.sources[key] for new, key in change.sources.items()}
        return replace(old, sources=sources, metrics={"source_watermarks": marks})

    def _assign(self, graph: JobGraph, goal: Manifest, replay: Replay | Ends, workers: list[Worker]) -> None:
        """The splits of the checkpoint, from their starts to where they were read; a new table has none yet."""
        for i, node in enumerate(graph.nodes):
            if not isinstance(node, SourceScan):
                continue
            old = unpacked(goal.sources.get(graph.ids[i], {}))
            states = {k: SplitState(SplitState.from_json(k, v).split) for k, v in old.items()}
            known = tuple(s.split for s in sorted(states.values(), key=lambda s: s.split.number))
            if isinstance(replay, Ends):
                known = tuple(node.source.ended(known))
                states = {s.id: SplitState(s) for s in known}
            elif known:
                replay.limit(graph.ids[i], states)
                node.source.splits(known, {k: v["position"] for k, v in old.items()}, ())
            begins = graph.ids[i] not in self.change.sources
            for t, worker in enumerate(workers):
                worker.scans[i].awaited = begins
                mine = [states[s.id] for s in known[t :: len(workers)]]
                worker.assign(i, mine, node.source.bounded and not begins)

    def _read(
        self, replay: Replay | Ends, workers: list[Worker], channels: LocalChannels, pool: Threads | None
    ) -> None:
        """Epoch by epoch to the goal."""
        pace, told, epoch, slowest, idle = Pace(self.settings.options.max_rows, None), self.clock.monotonic(), 0, END, 0
        while True:
            if self.stopped():
                raise Canceled("stopped while state was being rebuilt: the job is as it was")
            epoch += 1
            reports = step(
                workers, channels, EpochCommand(epoch, self.clock.now(), pace.rows(), READING, None, slowest), pool
            )
            slowest = min(r.watermark for r in reports)
            if replay.step(workers):
                return
            idle = 0 if any(r.read or r.backlog for r in reports) else idle + 1
            if idle:
                self._wait(idle)
            if self.clock.monotonic() - told >= TOLD:
                told = self.clock.monotonic()
                done = sum(r.rows_in for r in reports)
                self.say(f"rebuilding: {done:,} of {self.change.rows:,} rows read")

    def _wait(self, idle: int) -> None:
        """Files are looked at now and then; what does not come in a minute is not there."""
        if idle > 6000:
            raise CheckpointError(
                "state cannot be rebuilt: the tables do not have the rows any more that were read of them",
                hint="see what became of the files; --check says what else would do",
            )
        self.clock.wait(Event(), 0.01)


@contextlib.contextmanager
def apart(local: Path, stores: StoreShare) -> Iterator[tuple[Path, StoreShare]]:
    """A directory, and places of stores, of which nothing is left: the job's own come later."""
    places = [local, *stores.places]
    try:
        yield local / REBUILD, replace(stores, places=tuple(p / REBUILD for p in stores.places))
    finally:
        for place in places:
            with contextlib.suppress(OSError):
                OwnDirectory(str(place)).remove_tree(REBUILD)


def changed(
    run: Run, found: Found, graph: JobGraph, options: Tables, allowed: Allowed, batch: Callable[[], str] | None
) -> Change | None:
    """What becomes of a job that goes on from a checkpoint as another one; None: it goes on as it was, if it can.
    CheckpointError where it cannot go on as another one."""
    old = found.manifest
    change = change_of(run.id, run.state.published, old, graph, options, allowed, batch)
    if change is None:
        return None
    name = f"job {run.state.job}"
    if found.newer:
        raise CheckpointError(
            f"{name} has changed, and its checkpoint {found.newer[0].checkpoint_id}, whose output is published, is damaged",
            hint=f"run it as it was first; it goes on from checkpoint {old.checkpoint_id}, and repeats nothing",
        )
    if not change.refused:
        return change
    which = ("plan", "is not that") if old.plan_fingerprint != graph.fingerprint else ("tables", "are not those")
    what = [f.text() for f in change.refused] + differences(old.tables, run.tables)
    raise CheckpointError(
        f"the {which[0]} of {name} {which[1]} of its checkpoint {old.checkpoint_id}, and it cannot go on so:\n  "
        + "\n  ".join(what),
        hint="; ".join(change.ways()),
    )


def go_on_changed(rebuild: Rebuild, run: Run, publisher: Publisher) -> Manifest:
    """The checkpoint that the changed job goes on from: made, complete and published. What the old job had prepared is
    published before."""
    change = rebuild.change
    run.republish(publisher, [change.manifest.renamed({i: i for i in change.graph.ids})])
    attempt = run.coordinator.begin()
    try:
        parts = rebuild.parts(attempt)
        parts["sinks"] = publisher.combine(parts["sinks"], rebuild.clock.now())
        run.verification.wait()
        faults.point("before-changed")
        made = run.complete(attempt, change.manifest.epoch, rebuild.settings.options.parallelism, **parts)
    except BaseException:
        run.coordinator.abort(attempt)
        publisher.abort()
        raise
    run.publish(publisher, made)
    faults.point("after-changed")
    return made


class Ends:
    """Instead of a replay, where a batch query has read all that there was: the splits' ends of then."""

    def __init__(self) -> None:
        self._arrived = False

    def step(self, workers: list[Worker]) -> bool:
        """After an epoch: whether that was the last one."""
        splits = [s for w in workers for scan in w.scans.values() for s in scan.splits]
        before, self._arrived = self._arrived, all(map(_ended, splits))
        return before


def _ended(split: SplitState) -> bool:
    upto = split.split.info.get("upto")
    return split.finished or (upto is not None and (split.position or {}).get("byte", 0) == upto)


def _as_they_are(splits: dict[str, Any]) -> dict[str, Any]:
    """Positions without where a batch query had ended."""
    found = unpacked(splits).items()
    return {k: {**v, "info": {name: x for name, x in v["info"].items() if name != "upto"}} for k, v in found}


def _unheard(node_id: str, batch: pa.RecordBatch) -> None:
    """Late rows were counted when they came first."""
