"""LATERAL SNAPSHOT: a join with what a table holds when the row is processed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from sqlstream.expressions import Expr
from sqlstream.options import duration_text
from sqlstream.plan.nodes.join import join_details, join_sides
from sqlstream.plan.nodes.node import TUNING, Node, OneInput, Prune, Pruned


@dataclass(frozen=True)
class SnapshotJoin(OneInput):
    """`JOIN LATERAL SNAPSHOT(input => TABLE r, …) AS s ON …`: each left row meets `right` as it stands. INNER or LEFT.

    on_time    the right column whose watermark says how far it is loaded; `timed`: it has one
    load_time  (TIMESTAMP_LTZ, a constant) left rows wait until that watermark has reached it; None: the time when the job begins
    idle       µs without a move of that watermark after which they wait no more; None: for ever
    ttl        µs for which rows of the right side live without being written or met; None: as the session says
    """

    right: Node
    kind: str
    left_keys: tuple[int, ...]
    right_keys: tuple[int, ...]
    null_safe: tuple[bool, ...]
    residual: Expr | None = None
    on_time: str | None = None
    timed: bool = False
    load_time: Expr | None = field(default=None, metadata=TUNING)
    idle: int | None = field(default=None, metadata=TUNING)
    ttl: int | None = field(default=None, metadata=TUNING)

    lowered_in = "snapshot_join"
    waits_for_watermark = True  # of the right side, until it is loaded
    wants_arrival = False

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
    def knows_arrival(self) -> bool:
        return self.input.knows_arrival

    def pruned(self, needed: set[int], prune: Prune) -> Pruned:
        left, right, keys, at = join_sides(self, needed, prune)
        return replace(self, input=left, right=right, **keys), at

    def arguments(self) -> str:
        """Those of SNAPSHOT but `state_ttl`, as EXPLAIN prints them."""
        given = [] if self.on_time is None else [f"onTime={self.on_time}"]
        given.append(f"loadCompletedTime={'job start' if self.load_time is None else self.load_time}")
        given += [] if self.idle is None else [f"loadCompletedIdleTimeout={duration_text(self.idle)}"]
        return ", ".join(given)

    def details(self) -> str:
        live = "" if self.ttl is None else f", stateTtl={duration_text(self.ttl)}"
        return f"{join_details(self)}, {self.arguments()}{live}"
