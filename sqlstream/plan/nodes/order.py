"""Nodes that put rows in an order: OVER, top-N, ORDER BY and LIMIT."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from sqlstream.aggregates.registry import aggregate
from sqlstream.plan.nodes.node import LATER, TUNING, Mapping, OneInput, Prune, Pruned, all_at, ttl_text
from sqlstream.plan.over_functions import OVER_FUNCTIONS
from sqlstream.types import BIGINT, PROCTIME, ROWTIME, WINDOW_ENDS, WINDOW_STARTS, Column, Schema


@dataclass(frozen=True)
class SortKey:
    """One ORDER BY item. Flink's default: NULLs first when ascending, last when descending."""

    column: int
    ascending: bool = True
    nulls_first: bool = True


@dataclass(frozen=True)
class Frame:
    """OVER frame: ROWS or RANGE (µs, or a number) BETWEEN `preceding` PRECEDING AND `following` FOLLOWING; None is unbounded, 0
    the current row, and what is below 0 lies on the other side of it."""

    unit: str = "RANGE"
    preceding: int | None = None
    following: int | None = 0

    @property
    def has_current(self) -> bool:
        """Whether the row itself is in it."""
        return (self.preceding is None or self.preceding >= 0) and (self.following is None or self.following >= 0)

    @property
    def ends_now(self) -> bool:
        """Whether it goes from before the row, or from it, up to it: later rows change nothing."""
        return self.following == 0 and (self.preceding is None or self.preceding >= 0)


@dataclass(frozen=True)
class OverCall:
    """A window function: an aggregate, or ROW_NUMBER, RANK, DENSE_RANK, LAG, LEAD, FIRST_VALUE, LAST_VALUE, …

    `args` are columns; `constants` are trailing literal arguments (LAG's offset, NTILE's n). `filter`: a BOOLEAN column, of
    which rows of the frame an aggregate takes. `ignores_nulls`: LAG, LEAD and NTH_VALUE do as if rows were not there whose
    argument is NULL.
    """

    function: str
    args: tuple[int, ...]
    column: Column
    frame: Frame | None = None
    constants: tuple[Any, ...] = ()
    distinct: bool = False
    filter: int | None = field(default=None, metadata=LATER)
    ignores_nulls: bool = field(default=False, metadata=LATER)

    @property
    def reads(self) -> tuple[int, ...]:
        """The input columns that it reads."""
        return (*self.args, *(() if self.filter is None else (self.filter,)))

    def over(self, at: Mapping) -> OverCall:
        """The call over columns that are where `at` says."""
        where = None if self.filter is None else at[self.filter]
        return replace(self, args=all_at(self.args, at), filter=where)

    def text(self, schema: Schema) -> str:
        """As EXPLAIN prints it."""
        name = self.function if self.function in OVER_FUNCTIONS else aggregate(self.function).shown
        name += " IGNORE NULLS" if self.ignores_nulls else ""
        return name if self.filter is None else f"{name} FILTER {schema[self.filter].name}"


@dataclass(frozen=True)
class Reach:
    """How far from a row the frames of calls go, each way: so many rows, and so far in time (µs)."""

    rows_behind: int = 0
    rows_ahead: int = 0
    time_behind: int = 0
    time_ahead: int = 0


def reach_of(calls: tuple[OverCall, ...]) -> Reach | None:
    """Of calls over rows in order of time; None where one has no end."""
    most = {"ROWS": (0, 0), "RANGE": (0, 0)}
    for c in calls:
        frame = c.frame
        if frame is None and c.function in ("LAG", "LEAD") and not c.ignores_nulls:
            n = int(c.constants[0])
            frame = Frame("ROWS", n, 0) if c.function == "LAG" else Frame("ROWS", 0, n)
        if frame is None or frame.preceding is None or frame.following is None or c.ignores_nulls:
            return None
        behind, ahead = most[frame.unit]
        most[frame.unit] = max(behind, frame.preceding), max(ahead, frame.following)
    (rows_behind, rows_ahead), (time_behind, time_ahead) = most["ROWS"], most["RANGE"]
    return Reach(rows_behind, rows_ahead, time_behind, time_ahead)


@dataclass(frozen=True)
class Over(OneInput):
    """Input columns, then one column a call; all calls share partition and order."""

    partition: tuple[int, ...]
    order: tuple[SortKey, ...]
    calls: tuple[OverCall, ...]
    ttl: int | None = field(default=None, kw_only=True, metadata=TUNING)  # hint STATE_TTL, µs

    lowered_in = "over"
    wants_arrival = True  # for rows that tie

    def __post_init__(self) -> None:
        self.derive((*self.input.schema.columns, *(c.column for c in self.calls)))

    @property
    def in_time_order(self) -> bool:
        """Rows in order of time with frames that end at the current row: of append-only input each comes out once."""
        first = self.order[0] if self.order else None
        return (
            first is not None
            and first.ascending
            and self.input.schema[first.column].time in (ROWTIME, PROCTIME)
            and all(c.frame is None or c.frame.ends_now for c in self.calls)
            and not any(c.function in OVER_FUNCTIONS and OVER_FUNCTIONS[c.function].ahead for c in self.calls)
        )

    @property
    def reach(self) -> Reach | None:
        """Of frames that end, also behind their row, over rows in order of event time: of append-only input each row comes out
        once, when its frame is past."""
        first = self.order[0] if self.order else None
        if first is None or not first.ascending or self.input.schema[first.column].time != ROWTIME:
            return None
        return reach_of(self.calls)

    @property
    def waits_for_watermark(self) -> bool:
        return any(self.input.schema[k.column].time == ROWTIME for k in self.order)

    @property
    def knows_arrival(self) -> bool:
        return self.in_time_order and self.input.knows_arrival  # else its rows change with those that come later

    def pruned(self, needed: set[int], prune: Prune) -> Pruned:
        width = len(self.input.schema)
        calls = [i for i in range(len(self.calls)) if width + i in needed]
        if not calls:
            return prune(self.input, needed)
        reads = self.of_input(needed).union(self.partition, _columns(self.order), *(self.calls[i].reads for i in calls))
        below, at = prune(self.input, reads)
        kept = tuple(self.calls[i].over(at) for i in calls)
        made = Over(below, all_at(self.partition, at), _order_at(self.order, at), kept, ttl=self.ttl)
        return made, {**at, **{width + i: len(below.schema) + n for n, i in enumerate(calls)}}

    def details(self) -> str:
        hint = ttl_text(INPUT=self.ttl)
        return (
            f"partition=[{self.column_names(self.partition)}], order=[{order_text(self.schema, self.order)}], "
            f"calls=[{', '.join(c.text(self.input.schema) for c in self.calls)}]" + (f", {hint}" if hint else "")
        )


@dataclass(frozen=True)
class TopN(OneInput):
    """Rows whose `function` (ROW_NUMBER, RANK, DENSE_RANK) over partition and order is in first..last.

    `rank`: name of the rank column appended to the input's columns, or None when nobody reads it.
    """

    partition: tuple[int, ...]
    order: tuple[SortKey, ...]
    first: int
    last: int
    function: str = "ROW_NUMBER"
    rank: str | None = None
    ttl: int | None = field(default=None, kw_only=True, metadata=TUNING)  # hint STATE_TTL, µs

    lowered_in = "ranks"
    waits_for_watermark = False
    wants_arrival = True  # for rows that tie
    knows_arrival = False

    def __post_init__(self) -> None:
        extra = () if self.rank is None else (Column(self.rank, BIGINT.null(False)),)
        self.derive((*self.input.schema.columns, *extra))

    @property
    def window_end(self) -> int | None:
        """The end of the window among the columns of the partition, where its start is one, too: the ranks of a window
        are final when it closes. None: there is no window."""
        marks = {p: self.input.schema[p].time for p in self.partition}
        if not any(m in WINDOW_STARTS for m in marks.values()):
            return None
        return next((p for p, m in marks.items() if m in WINDOW_ENDS), None)

    @property
    def keeps_last(self) -> bool:
        """Deduplication that keeps the last row: one row by descending time. Of equal times the later arrival
        wins; everywhere else the earlier one ranks first (Flink's rules)."""
        return (
            self.last == 1
            and len(self.order) == 1
            and not self.order[0].ascending
            and self.input.schema[self.order[0].column].time in (ROWTIME, PROCTIME)
        )

    def pruned(self, needed: set[int], prune: Prune) -> Pruned:
        width = len(self.input.schema)
        below, at = prune(self.input, self.of_input(needed).union(self.partition, _columns(self.order)))
        rank = self.rank if width in needed else None
        made = replace(
            self, input=below, partition=all_at(self.partition, at), order=_order_at(self.order, at), rank=rank
        )
        return made, at if rank is None else {**at, width: len(below.schema)}

    def details(self) -> str:
        hint = ttl_text(INPUT=self.ttl)
        return (
            f"{self.function}, partition=[{self.column_names(self.partition)}], "
            f"order=[{order_text(self.schema, self.order)}], ranks={self.first}..{self.last}"
            + (f", rank={self.rank}" if self.rank else "")
            + (f", {hint}" if hint else "")
        )


@dataclass(frozen=True)
class Sort(OneInput):
    """ORDER BY and/or LIMIT, OFFSET."""

    order: tuple[SortKey, ...]
    limit: int | None = None
    offset: int = 0

    lowered_in = "ranks"
    knows_arrival = False

    def __post_init__(self) -> None:
        self.derive(self.input.schema)

    @property
    def in_time_order(self) -> bool:
        """Whether it begins with a time, ascending: the rows of a stream can come in its order."""
        first = self.order[0] if self.order else None
        return first is not None and first.ascending and self.schema[first.column].time in (ROWTIME, PROCTIME)

    @property
    def waits_for_watermark(self) -> bool:
        return self.limit is None and self.in_time_order

    @property
    def wants_arrival(self) -> bool:
        return self.limit is None and self.in_time_order  # for rows of one time

    def pruned(self, needed: set[int], prune: Prune) -> Pruned:
        below, at = prune(self.input, needed.union(_columns(self.order)))
        return replace(self, input=below, order=_order_at(self.order, at)), at

    def details(self) -> str:
        parts = [f"order=[{order_text(self.schema, self.order)}]"] if self.order else []
        if self.limit is not None:
            parts.append(f"limit={self.limit}")
        if self.offset:
            parts.append(f"offset={self.offset}")
        return ", ".join(parts)


def order_text(schema: Schema, order: tuple[SortKey, ...]) -> str:
    """ORDER BY items as SQL."""
    return ", ".join(f"{schema[k.column].name} {'ASC' if k.ascending else 'DESC'}" for k in order)


def _columns(order: tuple[SortKey, ...]) -> set[int]:
    return {k.column for k in order}


def _order_at(order: tuple[SortKey, ...], at: Mapping) -> tuple[SortKey, ...]:
    return tuple(replace(k, column=at[k.column]) for k in order)
