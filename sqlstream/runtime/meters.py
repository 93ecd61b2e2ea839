"""What a streaming job counts as long as it runs, over all its attempts: kept apart from the workers, which come and go."""

from __future__ import annotations

from collections.abc import Iterator

from sqlstream.metrics.operators import OperatorMetrics
from sqlstream.metrics.state import StateMetrics
from sqlstream.operators.exchange import Exchange
from sqlstream.operators.sink import Sink
from sqlstream.operators.source_scan import SourceScan
from sqlstream.runtime.graph import JobGraph


class Meters:
    """Tasks count in what `of` gives them; who looks at it from another thread never waits for them, and they for nobody."""

    def __init__(self) -> None:
        self._counted: dict[tuple[str, int], OperatorMetrics] = {}
        self._graph: JobGraph | None = None
        self._tasks = 0
        self.states: list[dict[str, StateMetrics]] = []  # of each task by operator, as they were last measured

    def begin(self, graph: JobGraph, tasks: int) -> None:
        """An attempt begins."""
        counted = {(i, t): OperatorMetrics() for i in graph.ids for t in range(tasks)}
        self._counted = {**counted, **self._counted}
        self._graph, self._tasks = graph, tasks

    def of(self, graph: JobGraph, task: int) -> list[OperatorMetrics]:
        """Those of a task, in the order of the graph's nodes. `begin` was called with it."""
        return [self._counted[i, task] for i in graph.ids]

    def operators(self) -> Iterator[tuple[str, str, SourceScan | Sink | None, int, OperatorMetrics]]:
        """Id, name, what reads or writes a table, task, counts: of each operator and task."""
        graph, counted = self._graph, self._counted
        if graph is None:
            return
        for id_, node in zip(graph.ids, graph.nodes, strict=True):
            if isinstance(node, Exchange):
                continue
            outside = node if isinstance(node, (SourceScan, Sink)) else None
            name = id_ if outside is None else f"{node.name}: {outside.table}"
            for task in range(self._tasks):
                yield id_, name, outside, task, counted[id_, task]
