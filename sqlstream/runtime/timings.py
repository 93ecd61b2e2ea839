"""What EXPLAIN ANALYZE prints: a job's physical plan with what each operator did, summed over the tasks.

Counting is always on: two looks at the clock an operator and epoch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlstream.metrics.operators import OperatorMetrics
from sqlstream.metrics.state import StateMetrics, summed
from sqlstream.operators.source_scan import SourceScan
from sqlstream.runtime.graph import JobGraph


@dataclass
class JobTimes:
    """Seconds. `waiting`: for sources that had nothing. `barriers`: epochs that stood for a checkpoint, the longest
    task's share each; `writing`: of checkpoints, beside the epochs."""

    running: float = 0.0
    waiting: float = 0.0
    checkpoints: int = 0
    barriers: float = 0.0
    writing: float = 0.0


HEAD = ("rows in", "rows out", "busy", "share")


def timings(
    graph: JobGraph,
    tasks: Sequence[Sequence[OperatorMetrics]],
    states: Sequence[dict[str, StateMetrics]],
    epochs: int,
    times: JobTimes,
) -> str:
    """`tasks`: the metrics of each task, in the order of the graph's nodes; `states`: those of its state, by node. An
    operator read twice is counted once."""
    total = {id(node): OperatorMetrics() for node in graph.nodes}
    for metrics in tasks:
        for node, m in zip(graph.nodes, metrics, strict=True):
            total[id(node)].add(m)
    busy = sum(m.seconds for m in total.values()) or 1.0
    lines = [(*HEAD, "operator")]
    for shown, text in graph.lines():
        cells = ("", "", "", "")
        if shown is not None:
            m = total[id(shown)]
            cells = (f"{m.rows_in:,}", f"{m.rows_out:,}", f"{m.seconds:.3f} s", f"{m.seconds / busy:.0%}")
        lines.append((*cells, text))
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEAD))]
    table = "\n".join("  ".join([*(c.rjust(w) for c, w in zip(x, widths, strict=False)), x[-1]]) for x in lines)
    skipped = "".join(
        f"\nskipped of table {node.table}: {m.row_groups_skipped:,} row groups, {m.files_skipped:,} files"
        for node in graph.nodes
        if isinstance(node, SourceScan) and ((m := total[id(node)]).row_groups_skipped or m.files_skipped)
    )
    names = {graph.ids[i]: node.name for i, node in enumerate(graph.nodes)}
    kept = "".join(f"\nstate of {names[n]}: {m.text()}" for n, m in summed(list(states)).items())
    return (
        f"{table}\n\n"
        f"{epochs:,} epochs in {times.running:.3f} s, {times.waiting:.3f} s of it waiting for sources\n"
        f"{times.checkpoints:,} checkpoints: {times.barriers:.3f} s between epochs, {times.writing:.3f} s beside them{skipped}{kept}"
    )
