"""SnapshotJoin (LATERAL SNAPSHOT): each left row beside the right rows that are there when it is processed, INNER or LEFT.

In: append-only rows on the left; any on the right. State:

    left    rows that wait until the right side is loaded
    right   the right rows that are there

Out: append-only, a left row once, with its `_wm` and place. It has two phases, as Flink's has:

    load    left rows wait. It ends when the right side's watermark reaches the time that is given (else that of the job's
            beginning: all that had happened by then is there), or when that watermark has stood still for so long.
    join    a left row meets the right rows of its epoch's end, and leaves.

So the answer depends on which rows came in one epoch; of inputs that end before the right side is loaded by time, it is batch's: the
right side as it is in the end. Time behind it is the left side's, and stands still while rows wait. No row is late.

Rows of the right side that live for a time do so from the beginning of the join phase on; those of a key that is written
or met live on.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa

from sqlstream.batches import HIDDEN_TYPES, NO_WATERMARK, Delta, Time, concat, visible
from sqlstream.errors import InternalError, NotSupported
from sqlstream.expressions import Expr
from sqlstream.operators.base import Operator, OperatorContext, PhysicalNode, Traits
from sqlstream.operators.equi_join import EquiJoin
from sqlstream.operators.evaluate import Evaluator
from sqlstream.operators.join_sides import JoinSide, Part
from sqlstream.operators.lowering import Lowering, first_changing, lower
from sqlstream.operators.pairs import never_equal
from sqlstream.operators.row_store import EMPTY, BatchRows, Layout, RowStore
from sqlstream.plan import nodes
from sqlstream.plan.nodes import TUNING
from sqlstream.rendering.expressions import to_duckdb
from sqlstream.state.arrays import Array
from sqlstream.state.index import HashIndex
from sqlstream.state.sets import among, ascending
from sqlstream.state.spec import StateSpec
from sqlstream.types import Schema


@dataclass(frozen=True)
class SnapshotJoin(EquiJoin):
    """`arguments`: SNAPSHOT's, as EXPLAIN prints them. `load_time`, `idle`: as the plan's node has them. `ttl`: µs, 0 for ever."""

    arguments: str = field(metadata=TUNING)
    load_time: Expr | None = field(metadata=TUNING)
    idle: int | None = field(metadata=TUNING)
    output: Schema
    ttl: int = 0

    name = "SnapshotJoin"
    changes = ""

    def waits(self) -> bool:
        return True

    def __post_init__(self) -> None:
        self.check(self.output)
        if self.kind not in ("INNER", "LEFT") or not self.inputs[0].traits.append_only:
            raise InternalError(f"SnapshotJoin: {self.kind}, over {self.inputs[0].name}")
        left, right = (n.traits for n in self.inputs)
        once = bool(right.key) and set(right.key) <= set(self.right_keys)
        key = left.key if once else ()
        self.derive(self.output, Traits(key=key, row_wm=left.row_wm, arrival=left.arrival))

    def own_details(self) -> tuple[str, ...]:
        return (self.arguments,)

    def layouts(self) -> tuple[Layout, Layout]:
        """How left rows wait, with their hidden columns, and right rows are kept."""
        hidden = tuple((h, HIDDEN_TYPES[h]) for h in self.inputs[0].traits.hidden)
        return (
            Layout.of("left", self.inputs[0], self.left_keys, hidden),
            Layout.of("right", self.inputs[1], self.right_keys),
        )

    def states(self) -> tuple[StateSpec, ...]:
        left, right = self.layouts()
        return left.spec(), right.spec().living(self.ttl)

    def lifetimes(self) -> tuple[tuple[str, int], ...]:
        return (("rightState", self.ttl),)

    def operator(self, context: OperatorContext) -> Operator:
        return SnapshotJoinOperator(self, context)


@lower.register(nodes.SnapshotJoin)
def _snapshot_join(node: nodes.SnapshotJoin, job: Lowering) -> PhysicalNode:
    if node.on_time is None or not node.timed:
        what = "on_time" if node.on_time is None else f"a watermark of {node.on_time}"
        raise NotSupported(
            f"LATERAL SNAPSHOT in a stream needs {what}: it says how far the table is loaded",
            hint="on_time => DESCRIPTOR(ts), ts being a column of it with a WATERMARK; batch needs none",
        )
    left, right = job.lower(node.input), job.lower(node.right)
    if not left.traits.append_only:
        raise NotSupported(
            f"LATERAL SNAPSHOT takes left rows that only come: {first_changing(left).changes}",
            hint="a row that is taken back would meet another table than it met; a plain JOIN follows both sides",
        )
    return SnapshotJoin(
        (left, right), node.kind, node.left_keys, node.right_keys, node.null_safe, node.residual, node.arguments(),
        node.load_time, node.idle, node.schema, job.ttl(node.ttl),
    )  # fmt: skip


class SnapshotJoinOperator(Operator):
    """The running half. `joining`: the phase; `until`: the watermark that ends the load phase."""

    def __init__(self, node: SnapshotJoin, context: OperatorContext) -> None:
        super().__init__(context)
        self.node, self.out = node, node.arrow_schema()
        self.width = len(node.inputs[0].schema)
        left, right = node.layouts()
        self.waiting = RowStore(left, context.state(left.spec()))
        self.right = JoinSide(node.inputs[1], node.right_keys, right, context)
        self.index = HashIndex([right.columns.field(k).type for k in node.right_keys])
        self.residual = node.residual_in(context.time_zone)
        restored = context.restored
        # A task that another's rows come to goes on loading where that one does.
        self.joining = bool(restored) and all(r["joining"] for r in restored)
        self.until = self._until()
        self._mark = NO_WATERMARK
        self._moved: int | None = None  # when the right side's watermark moved last

    def _until(self) -> int:
        if self.node.load_time is None:  # when the job began for the first time
            return min((int(r["until"]) for r in self.context.restored), default=self.context.clock.now())
        sql = f"SELECT epoch_us({to_duckdb(self.node.load_time, set())}) AS t"
        return int(Evaluator.constant(sql, self.context.time_zone).column(0)[0].as_py())

    def open(self) -> None:
        self.right.open(self.index, False)

    def snapshot(self) -> dict[str, Any]:
        return {"joining": self.joining, "until": self.until}

    def step(self, inputs: list[Delta]) -> Delta:
        left, build = inputs
        if self.joining and self.node.ttl:
            self._forget(self.right.expire(self.index))
        self._build(build)
        if not self.joining and self._loaded(build.time):
            self.joining = True
            self.right.store.table.touch(self.right.store.table.slots())
        batch = concat(left.batches)
        proctime = min(left.time.proctime, build.time.proctime)
        if not self.joining:
            if batch is not None:
                extras = batch.columns[self.width :]
                self.waiting.add(visible(batch, self.width), None, extras)
            return Delta([], Time(NO_WATERMARK, proctime))
        rows = [b for b in (self._waited(), batch) if b is not None]
        out = [self._joined(b) for b in rows]
        return Delta([b for b in out if b.num_rows], replace(left.time, proctime=proctime))

    def _loaded(self, time: Time) -> bool:
        """Whether the load phase ends."""
        if time.watermark > self._mark or self._moved is None:
            self._mark, self._moved = time.watermark, time.proctime
        stands = self.node.idle is not None and time.proctime - self._moved >= self.node.idle
        return time.watermark >= self.until or stands

    def _build(self, delta: Delta) -> None:
        """Applies the changes of the right side."""
        c = self.right.change(delta, self.node.null_safe)
        minus, plus = (self._part(r, n) for r, n in ((c.minus, c.minus_counts), (c.plus, c.plus_counts)))
        gone = keys = EMPTY
        if len(minus):
            goes, lost = self.right.going(minus)
            if len(lost):
                self.context.lost(int(lost.counts.sum()))
            gone, keys = self.right.remove(goes), minus.keys
        came = self.right.add(plus, None) if len(plus) else plus
        if len(gone):
            self.right.store.delete(gone[~among(gone, came.slots)])
        if self.node.ttl:
            self._live_on(ascending(np.concatenate([keys, came.keys])))
        self._forget(keys)

    def _part(self, rows: pa.RecordBatch, counts: Array) -> Part:
        """Rows that can be met."""
        outside = never_equal(rows, self.node.right_keys, self.node.null_safe) if rows.num_rows else EMPTY
        if outside.size:
            rows, counts = rows.filter(pa.array(~outside)), counts[~outside]
        return self.right.part(rows, counts, self.index)

    def _live_on(self, keys: Array) -> None:
        _, slots = self.right.map.probe(keys)
        self.right.store.table.touch(slots)

    def _forget(self, keys: Array) -> None:
        """Drops keys that no right row has any more from the index."""
        if len(keys):
            keys = ascending(keys)
            self.index.delete(keys[self.right.map.counts(keys) == 0])

    def _waited(self) -> pa.RecordBatch | None:
        """The rows that have waited, which do no more."""
        table = self.waiting.table
        slots = table.slots()
        if not len(slots):
            return None
        extras = [table.column(h).get(slots) for h in self.node.inputs[0].traits.hidden]
        columns = [*self.waiting.rows(slots).columns, *extras]
        self.waiting.delete(slots)
        return pa.RecordBatch.from_arrays(columns, schema=self.node.inputs[0].arrow_schema())

    def _joined(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Left rows beside the right ones that are there."""
        node, store = self.node, self.right.store
        keys = self.index.find([batch.column(k) for k in node.left_keys], batch.num_rows)
        outside = never_equal(batch, node.left_keys, node.null_safe)
        if outside.size:
            keys = np.where(outside, -1, keys)
        lefts, rights = [EMPTY], [EMPTY]
        for at, slots in self.right.meet(Part(batch, np.ones(batch.num_rows, np.int64), keys), node.left_keys):
            if self.residual is not None:
                holds = self.residual.holds(BatchRows(batch), at, store, slots)
                at, slots = at[holds], slots[holds]
            copies = store.copies(slots)
            lefts.append(np.repeat(at, copies))
            rights.append(np.repeat(slots, copies))
        at, slots = np.concatenate(lefts), np.concatenate(rights)
        if node.ttl:
            self._live_on(ascending(keys[keys >= 0]))
        columns = store.columns(slots, list(range(len(node.inputs[1].schema))))
        if node.kind == "LEFT":
            alone = np.flatnonzero(np.bincount(at, minlength=batch.num_rows) == 0)
            at = np.concatenate([at, alone])
            columns = [pa.concat_arrays([c, pa.nulls(len(alone), c.type)]) for c in columns]
        rows = batch.take(pa.array(at)).columns
        return pa.RecordBatch.from_arrays([*rows[: self.width], *columns, *rows[self.width :]], schema=self.out)

    def close(self) -> None:
        if self.residual is not None:
            self.residual.close()
