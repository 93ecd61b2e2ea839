"""The logical plan: one frozen dataclass a relational operator, all in this file.

A node derives its schema when it is made and refuses an impossible input. Keys, arguments and conditions refer to
input columns by position; aggregates and windows take plain columns, so a Project below computes their arguments.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from sqlstream.connectors.base import ScanColumn, Source
from sqlstream.errors import InternalError
from sqlstream.expressions import Expr
from sqlstream.plan.time_bounds import time_bounds
from sqlstream.types import (
    BIGINT,
    INT,
    LOCAL,
    LOCAL_WINDOW_START,
    PROC_WINDOW_START,
    PROCTIME,
    ROWTIME,
    WINDOW_ENDS,
    WINDOW_START,
    WINDOW_STARTS,
    Column,
    Schema,
    timestamp,
)  # fmt: skip


@dataclass(frozen=True)
class Node:
    """A relation."""

    schema: Schema = field(init=False, compare=False, repr=False)

    @property
    def inputs(self) -> tuple[Node, ...]:
        return ()

    def with_inputs(self, inputs: tuple[Node, ...]) -> Node:
        return self

    def derive(self, columns: tuple[Column, ...] | Schema) -> None:
        object.__setattr__(self, "schema", columns if isinstance(columns, Schema) else Schema(columns))

    def details(self) -> str:
        """What EXPLAIN prints in brackets."""
        return ""

    def column_names(self, indexes: tuple[int, ...]) -> str:
        return ", ".join(self.schema[i].name for i in indexes)


@dataclass(frozen=True)
class OneInput(Node):
    input: Node

    @property
    def inputs(self) -> tuple[Node, ...]:
        return (self.input,)

    def with_inputs(self, inputs: tuple[Node, ...]) -> Node:
        return replace(self, input=inputs[0])


@dataclass(frozen=True)
class Scan(Node):
    """Reads a table: some physical columns or fields of them. `watermark` and `predicate` are over these columns.

    The watermark looks at every row, also at those that `predicate` drops. `time_column`: the scan column that is
    itself the time attribute, if any (a computed one gets its mark in the Project above).
    """

    table: str
    source: Source
    columns: tuple[ScanColumn, ...]
    names: tuple[str, ...]
    watermark: Expr | None = None
    predicate: Expr | None = None
    time_column: int | None = None

    def __post_init__(self) -> None:
        self.derive(
            tuple(
                Column(n, c.type, ROWTIME if i == self.time_column else None)
                for i, (n, c) in enumerate(zip(self.names, self.columns, strict=True))
            )
        )

    def details(self) -> str:
        text = f"table={self.table}, columns=[{', '.join('.'.join(c.path) for c in self.columns)}]"
        if self.predicate is not None:
            text += f", filter={self.predicate}"
        if self.watermark is not None:
            text += f", watermark={self.watermark}"
        return text


@dataclass(frozen=True)
class Values(Node):
    """Constant rows (tuples of Python values as in Literal)."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Any, ...], ...]

    def __post_init__(self) -> None:
        self.derive(self.columns)

    def details(self) -> str:
        return f"{len(self.rows)} rows"


@dataclass(frozen=True)
class Project(OneInput):
    """One expression a column. `columns` names them and keeps time marks."""

    exprs: tuple[Expr, ...]
    columns: tuple[Column, ...]

    def __post_init__(self) -> None:
        if len(self.exprs) != len(self.columns):
            raise InternalError("Project: names and expressions differ in number")
        self.derive(self.columns)

    def details(self) -> str:
        return ", ".join(
            f"{e} AS {c.name}" if str(e) != c.name else c.name for e, c in zip(self.exprs, self.columns, strict=True)
        )


@dataclass(frozen=True)
class Filter(OneInput):
    """Keeps rows for which `condition` is true."""

    condition: Expr

    def __post_init__(self) -> None:
        self.derive(self.input.schema)

    def details(self) -> str:
        return str(self.condition)


@dataclass(frozen=True)
class WindowSpec:
    """A window over time. Lengths in µs. kind TUMBLE: size; HOP: size, slide; CUMULATE: size, slide = step;
    SESSION: size = gap. Windows begin at offset + k * slide."""

    kind: str
    size: int
    slide: int = 0
    offset: int = 0

    def __str__(self) -> str:
        parts = [self.kind, f"size={self.size / 1e6:g} s"]
        if self.slide:
            parts.append(f"slide={self.slide / 1e6:g} s")
        if self.offset:
            parts.append(f"offset={self.offset / 1e6:g} s")
        return ", ".join(parts)


_STARTS = {ROWTIME: WINDOW_START, LOCAL: LOCAL_WINDOW_START, PROCTIME: PROC_WINDOW_START}
_ENDS = {domain: end for end, domain in WINDOW_ENDS.items()}


@dataclass(frozen=True)
class Window(OneInput):
    """A window table function: input columns, then window_start, window_end, window_time (= end - 1 ms).

    A row comes once for each window that it is in. `partition`: SESSION's keys. Windows over TIMESTAMP_LTZ lie in the
    session's local time: a day may have 23 or 25 hours.
    """

    spec: WindowSpec
    time_column: int
    partition: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        time = self.input.schema[self.time_column]
        if time.time not in (ROWTIME, PROCTIME):
            raise InternalError("Window: the time column is no time attribute")
        t = time.type.null(False) if time.type.is_timestamp else timestamp(3).null(False)
        self.derive(
            (
                *self.input.schema.columns,
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

    def details(self) -> str:
        text = f"{self.spec}, time={self.input.schema[self.time_column].name}"
        return text + (f", partition=[{self.column_names(self.partition)}]" if self.partition else "")


@dataclass(frozen=True)
class AggCall:
    """An aggregate function of `functions/aggregates.py` over input columns. `filter`: a BOOLEAN column."""

    function: str
    args: tuple[int, ...]
    column: Column  # name and type of the result
    distinct: bool = False
    filter: int | None = None

    def text(self, schema: Schema) -> str:
        args = ", ".join(schema[i].name for i in self.args) or "*"
        text = f"{self.function}({'DISTINCT ' if self.distinct else ''}{args})"
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

    def __post_init__(self) -> None:
        schema = self.input.schema
        keep = (*WINDOW_STARTS, *WINDOW_ENDS)
        windowed = any(schema[k].time in keep for k in self.keys)
        columns = [
            replace(schema[k], time=schema[k].time if schema[k].time in keep or windowed else None) for k in self.keys
        ]
        self.derive((*columns, *(c.column for c in self.calls)))

    def details(self) -> str:
        schema = self.input.schema
        keys = ", ".join(schema[k].name for k in self.keys)
        return f"keys=[{keys}], calls=[{', '.join(c.text(schema) for c in self.calls)}]"


@dataclass(frozen=True)
class Join(OneInput):
    """Equi join: left columns then right columns (SEMI, ANTI: left only). `residual` is over both.

    kind: INNER, LEFT, RIGHT, FULL, SEMI, ANTI. `null_safe[i]`: key i compares by IS NOT DISTINCT FROM.
    ANTI keeps a left row when no right row satisfies keys and residual.
    """

    right: Node
    kind: str
    left_keys: tuple[int, ...]
    right_keys: tuple[int, ...]
    null_safe: tuple[bool, ...] = ()
    residual: Expr | None = None

    def __post_init__(self) -> None:
        if not self.null_safe:
            object.__setattr__(self, "null_safe", (False,) * len(self.left_keys))
        lefts, rights = self.input.schema.columns, self.right.schema.columns
        if self.kind in ("RIGHT", "FULL"):
            lefts = tuple(replace(c, type=c.type.null()) for c in lefts)
        if self.kind in ("LEFT", "FULL"):
            rights = tuple(replace(c, type=c.type.null()) for c in rights)
        columns = lefts if self.kind in ("SEMI", "ANTI") else (*lefts, *rights)
        if not self.windowed and time_bounds(self.residual, self.input.schema, self.right.schema) is None:
            # State of a regular join is never closed by time: its rows may come at any time.
            columns = tuple(replace(c, time=None) for c in columns)
        self.derive(columns)

    @property
    def windowed(self) -> tuple[int, int] | None:
        """The key pair that are window ends on both sides, as (left column, right column): a window join."""
        for a, b in zip(self.left_keys, self.right_keys, strict=True):
            mark = self.input.schema[a].time
            if mark in WINDOW_ENDS and self.right.schema[b].time == mark:
                return a, b
        return None

    @property
    def left(self) -> Node:
        return self.input

    @property
    def inputs(self) -> tuple[Node, ...]:
        return (self.input, self.right)

    def with_inputs(self, inputs: tuple[Node, ...]) -> Node:
        return replace(self, input=inputs[0], right=inputs[1])

    def details(self) -> str:
        on = ", ".join(
            f"{self.input.schema[a].name} = {self.right.schema[b].name}"
            for a, b in zip(self.left_keys, self.right_keys, strict=True)
        )
        return f"{self.kind}, on=[{on}]" + (f", where={self.residual}" if self.residual is not None else "")


@dataclass(frozen=True)
class LookupJoin(OneInput):
    """`JOIN table FOR SYSTEM_TIME AS OF proctime`: each left row meets the table as it is then. INNER or LEFT.

    `lookup` is a Scan (with Projects and Filters) of a bounded table. Output: left columns then the table's.
    """

    lookup: Node
    kind: str
    left_keys: tuple[int, ...]
    right_keys: tuple[int, ...]
    residual: Expr | None = None

    def __post_init__(self) -> None:
        rights = self.lookup.schema.columns
        if self.kind == "LEFT":
            rights = tuple(replace(c, type=c.type.null()) for c in rights)
        self.derive((*self.input.schema.columns, *rights))

    @property
    def inputs(self) -> tuple[Node, ...]:
        return (self.input, self.lookup)

    def with_inputs(self, inputs: tuple[Node, ...]) -> Node:
        return replace(self, input=inputs[0], lookup=inputs[1])

    def details(self) -> str:
        on = ", ".join(
            f"{self.input.schema[a].name} = {self.lookup.schema[b].name}"
            for a, b in zip(self.left_keys, self.right_keys, strict=True)
        )
        return f"{self.kind}, on=[{on}]"


@dataclass(frozen=True)
class SortKey:
    """One ORDER BY item. Flink's default: NULLs first when ascending, last when descending."""

    column: int
    ascending: bool = True
    nulls_first: bool = True


@dataclass(frozen=True)
class Frame:
    """OVER frame: ROWS or RANGE (µs or numeric distance) BETWEEN `preceding` PRECEDING (None: unbounded) AND CURRENT ROW.

    `following`: 0 is CURRENT ROW; None is UNBOUNDED FOLLOWING (batch and changelog inputs only).
    """

    unit: str = "RANGE"
    preceding: int | None = None
    following: int | None = 0


@dataclass(frozen=True)
class OverCall:
    """A window function: an aggregate, or ROW_NUMBER, RANK, DENSE_RANK, LAG, LEAD, FIRST_VALUE, LAST_VALUE, …

    `args` are columns; `constants` are trailing literal arguments (LAG's offset, NTILE's n).
    """

    function: str
    args: tuple[int, ...]
    column: Column
    frame: Frame | None = None
    constants: tuple[Any, ...] = ()
    distinct: bool = False


@dataclass(frozen=True)
class Over(OneInput):
    """Input columns, then one column a call; all calls share partition and order."""

    partition: tuple[int, ...]
    order: tuple[SortKey, ...]
    calls: tuple[OverCall, ...]

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
            and all(c.frame is None or c.frame.following == 0 for c in self.calls)
            and all(c.function not in ("LEAD", "NTILE", "PERCENT_RANK", "CUME_DIST") for c in self.calls)
        )

    def details(self) -> str:
        return (
            f"partition=[{self.column_names(self.partition)}], order=[{order_text(self.schema, self.order)}], "
            f"calls=[{', '.join(c.function for c in self.calls)}]"
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

    def __post_init__(self) -> None:
        extra = () if self.rank is None else (Column(self.rank, BIGINT.null(False)),)
        self.derive((*self.input.schema.columns, *extra))

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

    def details(self) -> str:
        return (
            f"{self.function}, partition=[{self.column_names(self.partition)}], "
            f"order=[{order_text(self.schema, self.order)}], ranks={self.first}..{self.last}"
            + (f", rank={self.rank}" if self.rank else "")
        )


@dataclass(frozen=True)
class Sort(OneInput):
    """ORDER BY and/or LIMIT, OFFSET."""

    order: tuple[SortKey, ...]
    limit: int | None = None
    offset: int = 0

    def __post_init__(self) -> None:
        self.derive(self.input.schema)

    def details(self) -> str:
        parts = [f"order=[{order_text(self.schema, self.order)}]"] if self.order else []
        if self.limit is not None:
            parts.append(f"limit={self.limit}")
        if self.offset:
            parts.append(f"offset={self.offset}")
        return ", ".join(parts)


@dataclass(frozen=True)
class Union(Node):
    """UNION ALL. Inputs have the same types; names are the first's."""

    all_inputs: tuple[Node, ...]

    def __post_init__(self) -> None:
        first = self.all_inputs[0].schema
        self.derive(
            tuple(
                Column(
                    c.name,
                    c.type.null(any(n.schema[i].type.nullable for n in self.all_inputs)),
                    c.time if all(n.schema[i].time == c.time for n in self.all_inputs) else None,
                )
                for i, c in enumerate(first)
            )
        )

    @property
    def inputs(self) -> tuple[Node, ...]:
        return self.all_inputs

    def with_inputs(self, inputs: tuple[Node, ...]) -> Node:
        return Union(inputs)


@dataclass(frozen=True)
class Unnest(OneInput):
    """Input columns, then the elements of ARRAY (or MAP: key, value) column `column`, a row each. INNER or LEFT."""

    column: int
    columns: tuple[Column, ...]
    kind: str = "INNER"
    ordinality: bool = False

    def __post_init__(self) -> None:
        extra = (Column("ORDINALITY", INT.null(False)),) if self.ordinality else ()
        self.derive((*self.input.schema.columns, *self.columns, *extra))


def order_text(schema: Schema, order: tuple[SortKey, ...]) -> str:
    return ", ".join(f"{schema[k.column].name} {'ASC' if k.ascending else 'DESC'}" for k in order)


def tree(node: Node, indent: int = 0) -> str:
    """The plan as EXPLAIN prints it: stable text, one node a line."""
    details = node.details()
    lines = ["  " * indent + type(node).__name__ + (f"({details})" if details else "")]
    lines += [tree(i, indent + 1) for i in node.inputs]
    return "\n".join(lines)
