"""Going back behind output that is published already, without repeating it.

When the newest checkpoint's state is damaged, the job goes on from the one before, and what lies between the two is
published. Its manifest says how far every split was read. So the splits are read to exactly there, with sinks muted;
what the operators hold then is what the damaged checkpoint held, since an epoch's outcome depends on the input up to
it and on nothing else. (Processing time, idle splits and volatile functions are what it does depend on else: there the
second computation may differ from the first.) No checkpoint is taken on the way: a crash begins the replay anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlstream.batches import NO_WATERMARK
from sqlstream.checkpoint.manifest import Manifest
from sqlstream.operators.split_state import SplitState, unpacked
from sqlstream.runtime.graph import JobGraph
from sqlstream.runtime.worker import Worker


class Replay:
    """`goal`: the manifest of the checkpoint whose output is published."""

    def __init__(self, graph: JobGraph, goal: Manifest) -> None:
        self.graph, self.goal = graph, goal
        self._splits = {node_id: unpacked(sources) for node_id, sources in goal.sources.items()}
        self._arrived = False

    def limit(self, node_id: str, states: dict[str, SplitState]) -> None:
        """Lets the splits of a source be read as far as the goal, adding those that were met on the way to it."""
        for k, v in self._splits.get(node_id, {}).items():
            goal = SplitState.from_json(k, v)
            state = states.setdefault(k, SplitState(goal.split))
            state.limit, state.bad_limit = (None, None) if goal.finished else (goal.rows, goal.bad)

    def step(self, workers: list[Worker]) -> bool:
        """After an epoch: whether that was the last one of the replay. Time is made to stand as it stood at the goal,
        then one more epoch lets the operators see it."""
        if self._arrived:
            for worker in workers:
                worker.mute(False)
            for _, s in _splits(workers):
                s.limit = s.bad_limit = None
            _requeue(workers)
            return True
        for node, s in _splits(workers):
            goal = self._recorded(node, s)
            if not s.finished if goal["finished"] else s.rows < goal["rows"] or s.bad < goal.get("bad", 0):
                return False
        hold(self.graph, self.goal, workers)
        for node, s in _splits(workers):
            s.idle = bool(self._recorded(node, s).get("idle"))
        _requeue(workers)
        self._arrived = True
        return False

    def _recorded(self, node: int, split: SplitState) -> dict[str, Any]:
        """What the goal says of a split; one that it has forgotten had ended."""
        return self._splits[self.graph.ids[node]].get(split.id, {"finished": True})


def hold(graph: JobGraph, manifest: Manifest, workers: list[Worker]) -> None:
    """Watermarks of sources do not go back behind those of the checkpoint."""
    marks = manifest.metrics.get("source_watermarks", {})
    for worker in workers:
        for i, scan in worker.scans.items():
            scan.hold(marks.get(graph.ids[i], NO_WATERMARK))


def _requeue(workers: list[Worker]) -> None:
    for worker in workers:
        for scan in worker.scans.values():
            scan.requeue()


def _splits(workers: list[Worker]) -> Iterator[tuple[int, SplitState]]:
    for worker in workers:
        for i, scan in worker.scans.items():
            for s in scan.splits:
                yield i, s
