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
from sqlstream.operators.source_scan import SplitState
from sqlstream.runtime.graph import JobGraph
from sqlstream.runtime.worker import Worker


class Replay:
    """`goal`: the manifest of the checkpoint whose output is published."""

    def __init__(self, graph: JobGraph, goal: Manifest) -> None:
        self.graph, self.goal = graph, goal
        self._arrived = False

    def limit(self, node_id: str, states: dict[str, SplitState]) -> None:
        """Lets the splits of a source be read as far as the goal, adding those that were met on the way to it."""
        for k, v in self.goal.sources.get(node_id, {}).items():
            goal = SplitState.from_json(k, v)
            state = states.setdefault(k, SplitState(goal.split))
            state.limit = None if goal.finished else goal.rows

    def step(self, workers: list[Worker]) -> bool:
        """After an epoch: whether that was the last one of the replay. Time is made to stand as it stood at the goal,
        then one more epoch lets the operators see it."""
        if self._arrived:
            for worker in workers:
                worker.mute(False)
            for _, s in _splits(workers):
                s.limit = None
            return True
        for node, s in _splits(workers):
            finished = self._recorded(node, s)["finished"]
            if not s.finished if finished else s.rows < self._recorded(node, s)["rows"]:
                return False
        hold(self.graph, self.goal, workers)
        for node, s in _splits(workers):
            s.idle = bool(self._recorded(node, s).get("idle"))
        self._arrived = True
        return False

    def _recorded(self, node: int, split: SplitState) -> dict[str, Any]:
        recorded: dict[str, Any] = self.goal.sources[self.graph.ids[node]][split.split.id]
        return recorded


def hold(graph: JobGraph, manifest: Manifest, workers: list[Worker]) -> None:
    """Watermarks of sources do not go back behind those of the checkpoint."""
    marks = manifest.metrics.get("source_watermarks", {})
    for worker in workers:
        for i, scan in worker.scans.items():
            scan.hold(marks.get(graph.ids[i], NO_WATERMARK))


def _splits(workers: list[Worker]) -> Iterator[tuple[int, SplitState]]:
    for worker in workers:
        for i, scan in worker.scans.items():
            for s in scan.splits:
                yield i, s
