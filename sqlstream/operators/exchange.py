"""Exchange: rows with equal keys meet in one task. The only place where tasks talk; the runtime carries it out.

Each task sends every task its share of the epoch, and goes on when it has everybody's: so the end of an epoch is
an aligned barrier.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from sqlstream.batches import Delta
from sqlstream.checkpoint.restore import subtask_of
from sqlstream.operators.base import Way
from sqlstream.operators.distribution import Spread
from sqlstream.state.keys import key_groups
from sqlstream.state.spec import KEY_GROUPS


@dataclass(frozen=True)
class Exchange(Way):
    """`keys`: columns by whose key group rows go; () sends all rows to the task of key group 0. `tasks`: without regard to keys, the
    rows of each task go to one of the first so many, so that rows stay together, and in their order, that were together; 0: by `keys`."""

    keys: tuple[int, ...]
    tasks: int = 0
    name = "Exchange"

    def __post_init__(self) -> None:
        self.derive(self.inputs[0].schema, replace(self.inputs[0].traits, paired=False))

    def distribution(self) -> tuple[tuple[int, ...] | None, ...]:
        return (None,)

    def spread(self) -> Spread | None:
        return None if self.tasks else Spread.by(self.keys)

    def details(self) -> str:
        if self.tasks:
            return f"tasks={self.tasks}"
        names = ", ".join(self.schema[k].name for k in self.keys)
        return f"hash[{names}]" if self.keys else "single"


def partition(node: Exchange, delta: Delta, parallelism: int, subtask: int) -> list[list[pa.RecordBatch]]:
    """The rows of a delta of task `subtask`, for each task."""
    out: list[list[pa.RecordBatch]] = [[] for _ in range(parallelism)]
    if not node.keys:
        out[subtask % node.tasks if node.tasks else 0] = [b for b in delta.batches if b.num_rows]
        return out
    owner = np.array([subtask_of(g, parallelism) for g in range(KEY_GROUPS)], np.uint16)
    for b in delta.batches:
        if not b.num_rows:
            continue
        target = owner[key_groups([b.column(f"c{k}") for k in node.keys], b.num_rows)]
        for t in range(parallelism):
            rows = np.flatnonzero(target == t)
            if len(rows):
                out[t].append(b if len(rows) == b.num_rows else b.take(pa.array(rows)))
    return out
