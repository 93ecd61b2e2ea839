"""ASOF JOIN as a stream: which operators run it.

times of both sides are event times, >= or >     TemporalJoin: the right rows are versions
times of both sides are event times, <= or <     NextJoin, here: rows wait for the next one
else                                             the top of the pairs, joined back: an answer changes with rows to come

NextJoin. In: append-only rows of both sides. State:

    left     rows that have no answer yet
    right    rows that wait for time to pass their own

Out: a left row with its answer once time has passed the answer's; without one (LEFT) when the input has ended, or at once
where its key or time is NULL. Append-only, without time attributes: an answer may come long after its row.

A right row is the answer of all left rows that are there when time has passed it: those on time with a lesser time have come,
and those before the right row of before have gone. So a row of either side that is behind its watermark is late: what it
belongs to was answered. It is dropped and counted. Right rows are never kept once time has passed them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from sqlstream.batches import END, NO_WATERMARK, WM, Delta, concat, hidden, meet, visible
from sqlstream.errors import InternalError, NotSupported
from sqlstream.expressions import Call, Column
from sqlstream.operators.base import Operator, OperatorContext, PhysicalNode, Traits
from sqlstream.operators.calc import all_columns
from sqlstream.operators.lowering import Lowering, first_changing, lower
from sqlstream.operators.ordering import sort, sortable
from sqlstream.operators.pairs import Output, never_equal
from sqlstream.operators.row_store import BatchRows, Layout, RowStore
from sqlstream.operators.temporal_join import TemporalJoin, TimedJoin, Waiting
from sqlstream.plan import nodes
from sqlstream.plan.nodes import SortKey
from sqlstream.state.arrays import Array, fixed, plain
from sqlstream.state.index import HashIndex
from sqlstream.state.multimap import MultiMap
from sqlstream.state.sets import ascending, numbered
from sqlstream.state.spec import StateSpec
from sqlstream.types import BOOLEAN, Schema
from sqlstream.types import Column as SchemaColumn


@dataclass(frozen=True)
class NextJoin(TimedJoin):
    """`comparison`: <= or <, of `left_time` with `right_time`, columns of their sides. `kind`: INNER, LEFT."""

    comparison: str
    output: Schema

    name = "NextJoin"
    changes = ""

    def waits(self) -> bool:
        return True

    def __post_init__(self) -> None:
        self.check(self.output)
        if self.kind not in ("INNER", "LEFT") or self.comparison not in ("<=", "<"):
            raise InternalError(f"NextJoin: {self.kind}, {self.comparison}")
        if not all(n.traits.append_only for n in self.inputs):
            raise InternalError("NextJoin takes append-only inputs")
        self.derive(self.output, Traits(key=self.inputs[0].traits.key))

    def drops_late(self) -> tuple[int, ...]:
        return tuple(i for i, n in enumerate(self.inputs) if n.traits.row_wm)

    def own_details(self) -> tuple[str, ...]:
        left, right = self.inputs[0].schema[self.left_time].name, self.inputs[1].schema[self.right_time].name
        return (f"nearest={left} {self.comparison} {right}",)

    def layouts(self) -> tuple[Layout, Layout]:
        """How rows of left and right are kept; the right ones with their marks."""
        left = Layout.of("left", self.inputs[0], self.left_keys)
        return left, Layout.of("right", self.inputs[1], self.right_keys, ((WM, pa.int64()),))

    def states(self) -> tuple[StateSpec, ...]:
        left, right = self.layouts()
        return left.spec(), right.spec()

    def operator(self, context: OperatorContext) -> Operator:
        return NextJoinOperator(self, context)


@lower.register(nodes.AsofJoin)
def _asof_join(node: nodes.AsofJoin, job: Lowering) -> PhysicalNode:
    if not node.timed:
        return job.lower(top_of_pairs(node))
    left, right = job.lower(node.input), job.lower(node.right)
    for side, name in ((left, "left"), (right, "right")):
        if not side.traits.append_only:
            raise NotSupported(
                f"an ASOF join on event time takes rows that only come, and those of its {name} side change: "
                f"{first_changing(side).changes}",
                hint="compare a value that is no time attribute, CAST(l.ts AS TIMESTAMP(6)) >= r.ts: its answers change "
                "with the rows",
            )
    keys = (node.kind, node.left_keys, node.right_keys, node.null_safe, None, node.left_time, node.right_time)
    if node.backward:
        return TemporalJoin((left, right), *keys, None, node.schema, node.comparison)
    return NextJoin((left, right), *keys, node.comparison, node.schema)


def top_of_pairs(node: nodes.AsofJoin) -> nodes.Node:
    """The plan of an ASOF join whose answers change: for each key and time of the left side the first of the right rows that
    come into question, and all left rows with these."""
    left, right = _timeless(node.input), _timeless(node.right)
    asked = (*node.left_keys, node.left_time)
    width, n = len(right.schema), len(asked)
    questions = nodes.Aggregate(nodes.keep(left, asked), tuple(range(n)), ())
    mine = Column(questions.schema[n - 1].type, n - 1, questions.schema[n - 1].name)
    theirs = Column(right.schema[node.right_time].type, n + node.right_time, right.schema[node.right_time].name)
    before = Call(BOOLEAN, node.comparison, (mine, theirs))
    pairs = nodes.Join(questions, right, "INNER", tuple(range(n - 1)), node.right_keys, node.null_safe, before)
    others = [nodes.SortKey(n + i, True, False) for i in range(width) if i != node.right_time]
    order = (nodes.SortKey(n + node.right_time, not node.backward, False), *others)
    answers = nodes.TopN(pairs, tuple(range(n)), order, 1, 1)
    safe = (*node.null_safe, False)
    made = nodes.Join(left, answers, node.kind, asked, tuple(range(n)), safe)
    at = [*range(len(left.schema)), *range(len(left.schema) + n, len(made.schema))]
    exprs = tuple(Column(made.schema[i].type, i, made.schema[i].name) for i in at)
    return nodes.Project(made, exprs, node.schema.columns)


def _timeless(node: nodes.Node) -> nodes.Node:
    """The rows without marks of time: no operator is to wait for it."""
    return nodes.Project(node, all_columns(node.schema), tuple(SchemaColumn(c.name, c.type) for c in node.schema))


class NextJoinOperator(Operator):
    """The running half: right rows that time has passed answer the left rows of their keys."""

    def __init__(self, node: NextJoin, context: OperatorContext) -> None:
        super().__init__(context)
        self.node = node
        left, right = node.inputs
        layouts = node.layouts()
        self.store = RowStore(layouts[0], context.state(layouts[0].spec()))
        self.index = HashIndex([layouts[0].columns.field(k).type for k in node.left_keys])
        self.map = MultiMap()
        self.right = Waiting(node, 1, layouts[1], context)
        self.out = Output(node.arrow_schema(), left.schema, right.schema, False)
        self.exact = all(n.traits.row_wm for n in node.inputs)
        # A task that another's rows come to has not closed what that one has not.
        self.closed = min((int(r["closed"]) for r in context.restored), default=NO_WATERMARK)

    def open(self) -> None:
        slots = self.store.table.slots()
        if len(slots):
            self._link(self.store.partition(slots), slots)
        self.right.open()

    def snapshot(self) -> dict[str, Any]:
        return {"closed": self.closed}

    def _link(self, keys: list[pa.Array], slots: Array) -> None:
        self.map.add(self.index.upsert(keys, len(slots))[0], slots)

    def step(self, inputs: list[Delta]) -> Delta:
        time = meet([d.time for d in inputs])
        upto = time.watermark
        if not self.exact and upto != END:
            upto = max(upto, -END) - 1  # a row that carries no watermark may have the time's own
        upto = max(upto, self.closed)
        self._arrive(self._on_time(inputs[0], 0))
        right = self._on_time(inputs[1], 1)
        rights, _ = self.right.take(Delta([] if right is None else [right], inputs[1].time), self.closed, upto)
        self.closed = upto
        if rights.num_rows:
            self._answer(visible(rights, self.right.width))
        if upto == END:
            self._finish()
        return Delta(self.out.take(), time)

    def _on_time(self, delta: Delta, which: int) -> pa.RecordBatch | None:
        """The rows that are not late, and those that can have no answer or be none."""
        batch = concat(delta.batches)
        if batch is None:
            return None
        node = self.node
        time, keys = ((node.left_time, node.left_keys), (node.right_time, node.right_keys))[which]
        marks = hidden(batch, WM) if node.inputs[which].traits.row_wm else None
        bounds = np.full(batch.num_rows, self.closed) if marks is None else np.maximum(marks, self.closed)
        late = fixed(plain(batch.column(time))) <= bounds
        outside = never_equal(batch, (*keys, time), (*node.null_safe, False))
        if outside.size:
            late &= ~outside
        if not late.any():
            return batch
        self.context.late(batch.filter(pa.array(late)), bounds[late], which)
        return batch.filter(pa.array(~late))

    def _arrive(self, batch: pa.RecordBatch | None) -> None:
        """Left rows, which wait for an answer if they can have one."""
        if batch is None:
            return
        node, rows = self.node, visible(batch, len(self.node.inputs[0].schema))
        outside = never_equal(rows, (*node.left_keys, node.left_time), (*node.null_safe, False))
        if outside.size:
            if node.kind == "LEFT":
                self.out.left(BatchRows(rows), np.flatnonzero(outside))
            rows = rows.filter(pa.array(~outside))
        if rows.num_rows:
            self._link([rows.column(k) for k in node.left_keys], self.store.add(rows))

    def _answer(self, rights: pa.RecordBatch) -> None:
        """Each left row of the keys of `rights` gets the nearest of them that is not before it."""
        node = self.node
        keys = self.index.find([rights.column(k) for k in node.right_keys], rights.num_rows)
        known = np.flatnonzero(keys >= 0)
        here, group = numbered(keys[known])
        of, slots = self.map.probe(here)
        if not len(slots):
            return
        when = fixed(plain(rights.column(node.right_time)))[known]
        ties = [k[known] for c in rights.columns for k in sortable(plain(c), SortKey(0, True, False))]
        order, _ = sort(group, [when, *ties], len(here))
        rank = np.empty(len(known), np.int64)
        rank[order] = np.arange(len(known))
        # All in the order of their times, by key: the least rank from a left row on is that of its answer, if it is of this
        # key at all. Of one time the side that `comparison` leaves out comes first.
        times = self.store.table.fixed(f"c{node.left_time}").data[slots]
        side = np.repeat([1, 0] if node.comparison == "<=" else [0, 1], [len(known), len(slots)])
        all_groups = np.concatenate([group, of])
        events, _ = sort(all_groups, [np.concatenate([when, times]), side], len(here))
        ranks = np.concatenate([rank, np.full(len(slots), len(known))])[events]
        least = np.minimum.accumulate(ranks[::-1])[::-1]
        lefts = events >= len(known)
        found = np.empty(len(slots), np.int64)
        found[events[lefts] - len(known)] = least[lefts]
        answer = order[np.minimum(found, len(known) - 1)]
        met = (found < len(known)) & (group[answer] == of)
        if met.any():
            self.out.pairs(self.store, slots[met], BatchRows(rights), known[answer[met]])
            self._forget(here[of[met]], slots[met])

    def _forget(self, keys: Array, slots: Array) -> None:
        self.map.remove(keys, slots)
        self.store.delete(slots)
        keys = ascending(keys)
        self.index.delete(keys[self.map.counts(keys) == 0])

    def _finish(self) -> None:
        """The end: no right row comes any more."""
        slots = self.store.table.slots()
        if len(slots):
            if self.node.kind == "LEFT":
                self.out.left(self.store, slots)
            self._forget(self.index.find(self.store.partition(slots), len(slots)), slots)
