"""GROUP BY."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from sqlstream.aggregates.registry import aggregate
from sqlstream.plan.nodes.emission import Emission
from sqlstream.plan.nodes.node import LATER, TUNING, Mapping, OneInput, Prune, Pruned, all_at, ttl_text
from sqlstream.plan.nodes.order import SortKey, order_text
from sqlstream.types import PROCTIME, ROWTIME, WINDOW_ENDS, WINDOW_STARTS, Column, Schema


@dataclass(frozen=True)
class AggCall:
    """An aggregate function of `sqlstream.aggregates` over input columns. `filter`: a BOOLEAN column. `constants`: trailing
    literal arguments (PERCENTILE's share). `order`: in which order it takes the rows of a group."""

    function: str
    args: tuple[int, ...]
    column: Column  # name and type of the result
    distinct: bool = False
    filter: int | None = None
    constants: tuple[Any, ...] = field(default=(), metadata=LATER)
    order: tuple[SortKey, ...] = field(default=(), metadata=LATER)

    @property
    def reads(self) -> tuple[int, ...]:
        """The input columns that it reads."""
        return (*self.args, *(k.column for k in self.order), *(() if self.filter is None else (self.filter,)))

    def over(self, at: Mapping | list[int]) -> AggCall:
        """The call over columns that are where `at` says."""
        where = None if self.filter is None else at[self.filter]
        order = tuple(replace(k, column=at[k.column]) for k in self.order)
        return replace(self, args=tuple(at[a] for a in self.args), filter=where, order=order)

    def text(self, schema: Schema) -> str:
        """As SQL, with the names of the input columns."""
        args = ", ".join([schema[i].name for i in self.args] + [str(c) for c in self.constants]) or "*"
        order = f" ORDER BY {order_text(schema, self.order)}" if self.order else ""
        text = f"{aggregate(self.function).shown}({'DISTINCT ' if self.distinct else ''}{args}{order})"
        if self.filter is not None:
            text += f" FILTER {schema[self.filter].name}"
        return f"{text} AS {self.column.name}"


@dataclass(frozen=True)
class Aggregate(OneInput):
    """GROUP BY `keys`: key columns first, then one column a call. No keys and no rows give one row.

    With window marks among the keys it is a window aggregate: the marks stay on its key columns.
    """

    keys: tuple[int, ...]
    calls: tuple[AggCall, ...]
    ttl: int | None = field(default=None, kw_only=True, metadata=TUNING)  # hint STATE_TTL, µs
    # Of a window aggregate: what it tells besides; None: nothing.
    emit: Emission | None = field(default=None, kw_only=True, metadata=LATER)

    lowered_in = "aggregate"
    waits_for_watermark = False  # the Window below does
    knows_arrival = False

    def __post_init__(self) -> None:
        schema = self.input.schema
        keep = (*WINDOW_STARTS, *WINDOW_ENDS)
        windowed = any(schema[k].time in keep for k in self.keys)
        columns = [
            replace(schema[k], time=schema[k].time if schema[k].time in keep or windowed else None) for k in self.keys
        ]
        self.derive((*columns, *(c.column for c in self.calls)))

    @property
    def windowed(self) -> bool:
        """Whether its groups are of windows, and known when these close."""
        return any(self.schema[i].time in WINDOW_ENDS for i in range(len(self.keys)))

    @property
    def wants_arrival(self) -> bool:
        return any(aggregate(c.function).needs_arrival for c in self.calls)

    def pruned(self, needed: set[int], prune: Prune) -> Pruned:
        n = len(self.keys)
        keys = list(range(n))
        if any(self.schema[i].time in WINDOW_ENDS for i in keys):
            # window_time follows from window_end: as a key it is needed only where it is read
            keys = [i for i in keys if i in needed or not self._is_window_time(i)]
        calls = [i for i in range(len(self.calls)) if n + i in needed]
        if not keys and not calls:
            calls = [0]
        below, at = prune(self.input, {self.keys[i] for i in keys}.union(*(self.calls[i].reads for i in calls)))
        made = Aggregate(
            below,
            all_at(tuple(self.keys[i] for i in keys), at),
            tuple(self.calls[i].over(at) for i in calls),
            ttl=self.ttl,
            emit=self.emit,
        )
        return made, {old: new for new, old in enumerate([*keys, *(n + i for i in calls)])}

    def _is_window_time(self, key: int) -> bool:
        return self.schema[key].name == "window_time" and self.schema[key].time in (ROWTIME, PROCTIME)

    def details(self) -> str:
        schema = self.input.schema
        keys = ", ".join(schema[k].name for k in self.keys)
        hint = ttl_text(INPUT=self.ttl)
        text = f"keys=[{keys}], calls=[{', '.join(c.text(schema) for c in self.calls)}]"
        text = f"{text}, {hint}" if hint else text
        return text if self.emit is None else f"{text}, emit=[{self.emit}]"
