"""Joins: of two streams, of a stream with a table that is looked up, with the versions of one, and with the nearest row."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from sqlstream.expressions import Expr, named
from sqlstream.plan.nodes.node import TUNING, Mapping, Node, OneInput, Prune, Pruned, all_at, moved, ttl_text
from sqlstream.plan.time_bounds import TimeBounds, time_bounds
from sqlstream.types import ROWTIME, WINDOW_ENDS


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
    ttl: tuple[int | None, int | None] = field(
        default=(None, None), kw_only=True, metadata=TUNING
    )  # hints STATE_TTL by input, µs

    lowered_in = "joins"
    wants_arrival = False
    knows_arrival = False

    def __post_init__(self) -> None:
        if not self.null_safe:
            object.__setattr__(self, "null_safe", (False,) * len(self.left_keys))
        lefts, rights = self.input.schema.columns, self.right.schema.columns
        if self.kind in ("RIGHT", "FULL"):
            lefts = tuple(replace(c, type=c.type.null()) for c in lefts)
        if self.kind in ("LEFT", "FULL"):
            rights = tuple(replace(c, type=c.type.null()) for c in rights)
        columns = lefts if self.kind in ("SEMI", "ANTI") else (*lefts, *rights)
        if not self.windowed and self.bounds is None:
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
    def bounds(self) -> TimeBounds | None:
        """The distance in time that the residual allows between two rows: an interval join."""
        return time_bounds(self.residual, self.input.schema, self.right.schema)

    @property
    def waits_for_watermark(self) -> bool:
        return self.bounds is not None

    @property
    def left(self) -> Node:
        """The input whose columns come first."""
        return self.input

    @property
    def inputs(self) -> tuple[Node, ...]:
        return (self.input, self.right)

    def with_inputs(self, inputs: tuple[Node, ...]) -> Node:
        return replace(self, input=inputs[0], right=inputs[1])

    def pruned(self, needed: set[int], prune: Prune) -> Pruned:
        left, right, keys, at = join_sides(self, needed, prune)
        return replace(self, input=left, right=right, **keys), at

    def details(self) -> str:
        hint = ttl_text(LEFT=self.ttl[0], RIGHT=self.ttl[1])
        return f"{join_details(self)}, {hint}" if hint else join_details(self)


@dataclass(frozen=True)
class LookupJoin(OneInput):
    """`JOIN table FOR SYSTEM_TIME AS OF proctime`: each left row meets the table as it is then. INNER or LEFT.

    `lookup` is a Scan (with Projects and Filters) of a bounded table. Output: left columns then the table's.
    """

    lookup: Node
    kind: str
    left_keys: tuple[int, ...]
    right_keys: tuple[int, ...]
    null_safe: tuple[bool, ...]
    residual: Expr | None = None

    lowered_in = "lookup_join"
    waits_for_watermark = False
    wants_arrival = False

    def __post_init__(self) -> None:
        rights = self.lookup.schema.columns
        if self.kind == "LEFT":
            rights = tuple(replace(c, type=c.type.null()) for c in rights)
        self.derive((*self.input.schema.columns, *rights))

    @property
    def inputs(self) -> tuple[Node, ...]:
        return (self.input, self.lookup)

    @property
    def streams(self) -> tuple[Node, ...]:
        return (self.input,)

    def with_inputs(self, inputs: tuple[Node, ...]) -> Node:
        return replace(self, input=inputs[0], lookup=inputs[1])

    @property
    def knows_arrival(self) -> bool:
        return self.input.knows_arrival

    def pruned(self, needed: set[int], prune: Prune) -> Pruned:
        left, right, keys, at = join_sides(self, needed, prune)
        return replace(self, input=left, lookup=right, **keys), at

    def details(self) -> str:
        return join_details(self)


@dataclass(frozen=True)
class TemporalJoin(OneInput):
    """`JOIN table FOR SYSTEM_TIME AS OF rowtime`: each left row meets the version that was valid at its time.

    `right`: the versions of a table, rows that only come. Of those with a row's keys at most its time that of the
    greatest `right_time` is valid, of equal times the one that arrived last; where `there` (a right column) is not
    true it says that there was no row. kind: INNER, LEFT; LEFT pads where `residual` does not hold, too.
    Output: left columns then right ones.
    """

    right: Node
    kind: str
    left_keys: tuple[int, ...]
    right_keys: tuple[int, ...]
    null_safe: tuple[bool, ...]
    left_time: int
    right_time: int
    there: int | None = None
    residual: Expr | None = None

    lowered_in = "temporal_join"
    waits_for_watermark = True
    wants_arrival = True  # for versions of equal times

    def __post_init__(self) -> None:
        rights = tuple(replace(c, time=None) for c in self.right.schema)
        if self.kind == "LEFT":
            rights = tuple(replace(c, type=c.type.null()) for c in rights)
        self.derive((*self.input.schema.columns, *rights))

    @property
    def inputs(self) -> tuple[Node, ...]:
        return (self.input, self.right)

    def with_inputs(self, inputs: tuple[Node, ...]) -> Node:
        return replace(self, input=inputs[0], right=inputs[1])

    @property
    def goes_by_arrival(self) -> bool:
        return self.right.knows_arrival

    @property
    def knows_arrival(self) -> bool:
        return self.input.knows_arrival

    def pruned(self, needed: set[int], prune: Prune) -> Pruned:
        width = len(self.input.schema)
        own = {self.left_time, width + self.right_time, *(() if self.there is None else (width + self.there,))}
        left, right, keys, at = join_sides(self, needed | own, prune)
        shifted = len(left.schema)
        made = replace(
            self,
            input=left,
            right=right,
            left_time=at[self.left_time],
            right_time=at[width + self.right_time] - shifted,
            there=None if self.there is None else at[width + self.there] - shifted,
            **keys,
        )
        return made, at

    def details(self) -> str:
        return (
            f"{join_details(self)}, time={self.input.schema[self.left_time].name}, "
            f"versions={self.right.schema[self.right_time].name}"
        )


@dataclass(frozen=True)
class AsofJoin(OneInput):
    """`l ASOF JOIN r ON l.k = r.k AND l.ts >= r.ts`: each left row meets the nearest right row of its keys, or none.

    Of those for which `left_time` `comparison` `right_time` holds (>=, >, <=, <) that of the nearest `right_time`; of
    equal ones the first in the order of the right's columns (ascending, NULLs last). kind: INNER, LEFT.
    Output: left columns then right ones.
    """

    right: Node
    kind: str
    left_keys: tuple[int, ...]
    right_keys: tuple[int, ...]
    null_safe: tuple[bool, ...]
    left_time: int
    right_time: int
    comparison: str
    residual: None = field(default=None, init=False, repr=False, compare=False)  # other conditions are refused

    lowered_in = "asof_join"
    wants_arrival = False

    def __post_init__(self) -> None:
        rights = tuple(replace(c, time=None) for c in self.right.schema)
        if self.kind == "LEFT":
            rights = tuple(replace(c, type=c.type.null()) for c in rights)
        lefts = self.input.schema.columns
        if not (self.timed and self.backward):
            # The answer changes with rows to come, or comes long after its row.
            lefts = tuple(replace(c, time=None) for c in lefts)
        self.derive((*lefts, *rights))

    @property
    def timed(self) -> bool:
        """Whether both sides go by event time: a row is answered once, when time has passed its answer."""
        return self.input.schema[self.left_time].time == ROWTIME == self.right.schema[self.right_time].time

    @property
    def backward(self) -> bool:
        """Whether the answer lies before the row."""
        return self.comparison in (">=", ">")

    @property
    def waits_for_watermark(self) -> bool:
        return self.timed

    @property
    def inputs(self) -> tuple[Node, ...]:
        return (self.input, self.right)

    def with_inputs(self, inputs: tuple[Node, ...]) -> Node:
        return replace(self, input=inputs[0], right=inputs[1])

    @property
    def knows_arrival(self) -> bool:
        return self.timed and self.backward and self.input.knows_arrival

    def pruned(self, needed: set[int], prune: Prune) -> Pruned:
        width = len(self.input.schema)
        # Which of equal times is first depends on all columns.
        everything = set(range(width, width + len(self.right.schema)))
        left, right, keys, at = join_sides(self, needed | everything | {self.left_time}, prune)
        del keys["residual"]
        time = at[width + self.right_time] - len(left.schema)
        return replace(self, input=left, right=right, left_time=at[self.left_time], right_time=time, **keys), at

    def details(self) -> str:
        left, right = self.input.schema[self.left_time].name, self.right.schema[self.right_time].name
        return f"{join_details(self)}, nearest={left} {self.comparison} {right}"


def join_details(node: Any) -> str:
    """Kind, keys and residual of a join of two inputs, as EXPLAIN prints them."""
    left, right = node.inputs
    on = ", ".join(
        f"{left.schema[a].name} {'IS NOT DISTINCT FROM' if safe else '='} {right.schema[b].name}"
        for a, b, safe in zip(node.left_keys, node.right_keys, node.null_safe, strict=True)
    )
    return f"{node.kind}, on=[{on}]" + (
        f", where={named(node.residual, left.schema, right.schema)}" if node.residual is not None else ""
    )


def join_sides(node: Any, needed: set[int], prune: Prune) -> tuple[Node, Node, dict[str, Any], Mapping]:
    """Both inputs pruned, the keys and the residual over what is left of them, and where the columns are."""
    left, right = node.inputs
    width = len(left.schema)
    reads = needed | (set() if node.residual is None else node.residual.columns())
    new_left, at_left = prune(left, {i for i in reads if i < width} | set(node.left_keys))
    new_right, at_right = prune(right, {i - width for i in reads if i >= width} | set(node.right_keys))
    shifted = len(new_left.schema)
    at = {**at_left, **{width + old: shifted + new for old, new in at_right.items()}}
    keys = {
        "left_keys": all_at(node.left_keys, at_left),
        "right_keys": all_at(node.right_keys, at_right),
        "residual": None if node.residual is None else moved(node.residual, at),
    }
    return new_left, new_right, keys, at
