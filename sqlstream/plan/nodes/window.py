"""Window table functions."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from sqlstream.errors import InternalError, Position
from sqlstream.literals import interval_text
from sqlstream.plan.nodes.node import OneInput, Prune, Pruned, all_at
from sqlstream.types import (
    FORMER_ROWTIME,
    LOCAL,
    LOCAL_WINDOW_START,
    PROC_WINDOW_START,
    PROCTIME,
    ROWTIME,
    WINDOW_ENDS,
    WINDOW_START,
    Column,
    timestamp,
)  # fmt: skip


@dataclass(frozen=True)
class WindowSpec:
    """A window over time. Lengths in µs. kind TUMBLE: size; HOP: size, slide; CUMULATE: size, slide = step;
    SESSION: size = gap. Windows begin at offset + k * slide."""

    kind: str
    size: int
    slide: int = 0
    offset: int = 0

    def __str__(self) -> str:
        parts = [self.kind, f"size={interval_text(self.size)}"]
        if self.slide:
            parts.append(f"slide={interval_text(self.slide)}")
        if self.offset:
            parts.append(f"offset={interval_text(self.offset)}")
        return ", ".join(parts)


@dataclass(frozen=True)
class BatchTime(OneInput):
    """Its input, with a column of times as the time attribute of a window above, though no watermark goes with it: in batch all
    rows are there. `function`, `called`, `position`: what names it, how and where, for who asks for it as a stream."""

    column: int
    function: str
    called: str
    position: Position | None = field(default=None, compare=False, repr=False)

    lowered_in = "window_function"
    waits_for_watermark = False
    wants_arrival = False

    def __post_init__(self) -> None:
        columns = self.input.schema.columns
        self.derive(tuple(replace(c, time=ROWTIME) if i == self.column else c for i, c in enumerate(columns)))

    @property
    def knows_arrival(self) -> bool:
        return self.input.knows_arrival

    def pruned(self, needed: set[int], prune: Prune) -> Pruned:
        below, at = prune(self.input, needed | {self.column})
        return replace(self, input=below, column=at[self.column]), at

    def details(self) -> str:
        return self.input.schema[self.column].name


_STARTS = {ROWTIME: WINDOW_START, LOCAL: LOCAL_WINDOW_START, PROCTIME: PROC_WINDOW_START}
_ENDS = {domain: end for end, domain in WINDOW_ENDS.items()}


@dataclass(frozen=True)
class Window(OneInput):
    """A window table function: input columns, then window_start, window_end, window_time (= end - 1 ms).

    A row comes once for each window that it is in. Its time is an ordinary column from here on, as in Flink: what goes on
    with a window comes at its end, when the watermark has passed the row's own time. `window_time` has not been passed. `partition`: SESSION's keys. Windows over TIMESTAMP_LTZ lie in the
    session's local time: a day may have 23 or 25 hours.
    """

    spec: WindowSpec
    time_column: int
    partition: tuple[int, ...] = ()

    lowered_in = "window_function"

    @property
    def wants_arrival(self) -> bool:
        return self.spec.kind == "SESSION"  # for rows behind the watermark

    def __post_init__(self) -> None:
        time = self.input.schema[self.time_column]
        if time.time not in (ROWTIME, PROCTIME):
            raise InternalError("Window: the time column is no time attribute")
        t = time.type.null(False) if time.type.is_timestamp else timestamp(3).null(False)
        self.derive(
            (
                *(replace(c, time=FORMER_ROWTIME) if c is time and c.time == ROWTIME else c for c in self.input.schema),
                Column("window_start", timestamp(3).null(False), _STARTS[self.domain]),
                Column("window_end", timestamp(3).null(False), _ENDS[self.domain]),
                Column("window_time", t, time.time),
            )
        )

    @property
    def domain(self) -> str:
        """What closes its windows: ROWTIME, LOCAL or PROCTIME."""
        time = self.input.schema[self.time_column]
        return LOCAL if time.time == ROWTIME and time.type.kind == "TIMESTAMP_LTZ" else time.time or ROWTIME

    @property
    def waits_for_watermark(self) -> bool:
        return self.domain != PROCTIME  # what groups or joins by its windows does

    @property
    def knows_arrival(self) -> bool:
        return self.input.knows_arrival

    def pruned(self, needed: set[int], prune: Prune) -> Pruned:
        below, at = prune(self.input, self.of_input(needed) | {self.time_column, *self.partition})
        made = replace(self, input=below, time_column=at[self.time_column], partition=all_at(self.partition, at))
        old, new = len(self.input.schema), len(below.schema)
        return made, {**at, **{old + i: new + i for i in range(3)}}

    def details(self) -> str:
        text = f"{self.spec}, time={self.input.schema[self.time_column].name}"
        return text + (f", partition=[{self.column_names(self.partition)}]" if self.partition else "")
