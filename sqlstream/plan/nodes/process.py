"""Users' functions of a table's rows, with state and timers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

from sqlstream.errors import InternalError
from sqlstream.expressions import Literal
from sqlstream.plan.nodes.node import OneInput, Prune, Pruned, all_at
from sqlstream.plan.nodes.rows import keep
from sqlstream.types import ROWTIME, Column, Type

ROWTIME_COLUMN = "rowtime"


@dataclass(frozen=True)
class ProcessTableFunction(OneInput):
    """A call of the class at `path` ('module.Class').

    names      of the input's columns, as the function knows them: they are data, whatever is below calls them
    arguments  the scalar ones that are given, by name
    results    columns of the function's rows
    partition  None: row semantics, each row by itself
    on_time    the time attribute that the function goes by, if it does
    through    whether the output begins with all input columns, and not with those of the partition

    Output: partition (or all input columns), results, and `rowtime` where there is `on_time`.
    """

    path: str
    names: tuple[str, ...]
    arguments: tuple[tuple[str, Literal], ...]
    results: tuple[tuple[str, Type], ...]
    partition: tuple[int, ...] | None
    on_time: int | None = None
    through: bool = False
    uid: str | None = None
    # As SQL names it, for EXPLAIN and messages.
    function: str = field(default="", compare=False)

    lowered_in = "process_table_function"
    runs_as_batch = False
    wants_arrival = True
    knows_arrival = False  # what a timer gives stood in no place

    def __post_init__(self) -> None:
        schema = self.input.schema
        if self.on_time is not None and schema[self.on_time].time != ROWTIME:
            raise InternalError("ProcessTableFunction: on_time is no event time")
        columns = [Column(self.names[c], schema[c].type) for c in self.kept]
        columns += [Column(n, t) for n, t in self.results]
        if self.on_time is not None:
            columns.append(Column(ROWTIME_COLUMN, schema[self.on_time].type, ROWTIME))
        self.derive(tuple(_unique(columns)))

    @property
    def kept(self) -> tuple[int, ...]:
        """The input columns that the output begins with."""
        return tuple(range(len(self.input.schema))) if self.through else self.partition or ()

    @property
    def waits_for_watermark(self) -> bool:
        return self.on_time is not None

    def pruned(self, needed: set[int], prune: Prune) -> Pruned:
        # The function sees whole rows, in their order.
        width = range(len(self.input.schema))
        below, at = prune(self.input, set(width))
        if len(below.schema) != len(width) or any(at[i] != i for i in width):
            below = keep(below, all_at(tuple(width), at))
        return replace(self, input=below), {i: i for i in range(len(self.schema))}

    def details(self) -> str:
        parts = [self.function or self.path]
        if self.partition is not None:
            parts.append(f"partition=[{', '.join(self.names[c] for c in self.partition)}]")
        if self.on_time is not None:
            parts.append(f"on_time={self.names[self.on_time]}")
        parts += [f"{name}={value}" for name, value in self.arguments]
        if self.uid is not None:
            parts.append(f"uid={self.uid}")
        return ", ".join(parts)


def _unique(columns: list[Column]) -> list[Column]:
    """With names of their own: of several of one name the second has 0 behind it, the third 1, as in Flink."""
    seen: Counter[str] = Counter()
    out = []
    for c in columns:
        n = seen[c.name]
        seen[c.name] += 1
        out.append(c if not n else replace(c, name=f"{c.name}{n - 1}"))
    return out
