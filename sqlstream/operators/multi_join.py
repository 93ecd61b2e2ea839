"""MultiJoin: several INNER JOINs in a row by one key, as one operator that keeps each input once.

`a JOIN b ON a.k = b.k JOIN c ON a.k = c.k` as two Joins keeps the pairs of a and b, too: as many rows as they have
together, which may be far more than their own. Here a row that comes or goes meets the rows of its key of all the
other inputs, one input after the other, so that the conditions of the joins thin out what goes on to the next.

State: the rows of each input. Out, an epoch: what goes of the inputs, one after the other, then what comes of them, each
joined with what the others have at that point; so no row is both added and taken away (see `join.py`).

As Flink's, by `table.optimizer.multi-join.enabled`; without being asked where it keeps less (`joins.py`). It pays where the
pairs are many and the others of a key are few: a row that comes makes its pairs anew, which a Join has kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa

from sqlstream.batches import Delta, meet
from sqlstream.errors import InternalError
from sqlstream.expressions import Expr, named
from sqlstream.operators.base import Operator, OperatorContext, PhysicalNode, Traits
from sqlstream.operators.distribution import Spread, places_in
from sqlstream.operators.equi_join import check_keys
from sqlstream.operators.join_sides import JoinSide, Part
from sqlstream.operators.pairs import Output, Residual, never_equal, pieces
from sqlstream.operators.row_store import EMPTY, BatchRows, Beside, Layout, RowSource
from sqlstream.plan import nodes
from sqlstream.plan.nodes import TUNING
from sqlstream.state.arrays import Array
from sqlstream.state.index import HashIndex
from sqlstream.state.sets import ascending
from sqlstream.state.spec import StateSpec
from sqlstream.types import Column, Schema

NOTHING = Schema(())


@dataclass(frozen=True)
class Chain:
    """Logical joins that can be one. keys: of each input, in one order. residuals[i]: over the columns of inputs 0 to i."""

    inputs: tuple[nodes.Node, ...]
    keys: tuple[tuple[int, ...], ...]
    residuals: tuple[Expr | None, ...]
    ttl: tuple[int | None, ...]

    @staticmethod
    def of(node: nodes.Node) -> Chain:
        """The longest one that ends in `node`, which may be none but itself."""
        alone = Chain((node,), (), (None,), (None,))
        if not isinstance(node, nodes.Join) or node.kind != "INNER" or not node.left_keys or any(node.null_safe):
            return alone
        if node.windowed is not None or node.bounds is not None:
            return alone
        two = Chain((node.left, node.right), (node.left_keys, node.right_keys), (None, node.residual), node.ttl)
        left = Chain.of(node.left)
        order = left.places(node.left_keys)
        if len(left.inputs) == 1 or order is None or node.ttl[0] is not None:
            return two
        right = tuple(node.right_keys[i] for i in order)
        return Chain(
            (*left.inputs, node.right), (*left.keys, right), (*left.residuals, node.residual), (*left.ttl, node.ttl[1])
        )

    def places(self, keys: tuple[int, ...]) -> tuple[int, ...] | None:
        """For each of our keys, which of the columns `keys` of the output holds it; None where they are not the same."""
        if not self.keys or len(keys) != len(self.keys[0]):
            return None
        starts = np.cumsum([0, *(len(i.schema) for i in self.inputs)])
        same = [{int(s) + k[i] for s, k in zip(starts, self.keys, strict=False)} for i in range(len(keys))]
        found = tuple(next((i for i, k in enumerate(keys) if k in s), -1) for s in same)
        return found if sorted(found) == list(range(len(keys))) else None


@dataclass(frozen=True)
class MultiJoin(PhysicalNode):
    """All columns of all inputs, of rows that agree in `keys`, by `=`. residuals[i]: a condition over inputs 0 to i."""

    keys: tuple[tuple[int, ...], ...]
    residuals: tuple[Expr | None, ...]
    output: Schema
    ttl: tuple[int, ...] = field(default=(), kw_only=True, metadata=TUNING)  # of each input's rows

    name = "MultiJoin"
    changes = ""

    def __post_init__(self) -> None:
        if not len(self.inputs) == len(self.keys) == len(self.residuals) == len(self.ttl):
            raise InternalError(f"MultiJoin: {len(self.inputs)} inputs, and as many of the rest")
        for node, keys in zip(self.inputs[1:], self.keys[1:], strict=True):
            check_keys(self.inputs[0].schema, node.schema, self.keys[0], keys)
        append_only = all(n.traits.append_only for n in self.inputs)
        self.derive(self.output, Traits(append_only=append_only, key=self._key()))

    @property
    def starts(self) -> tuple[int, ...]:
        """Where each input's columns begin in the output."""
        widths = [len(n.schema) for n in self.inputs]
        return tuple(sum(widths[:i]) for i in range(len(widths)))

    def _key(self) -> tuple[int, ...]:
        """Those of the inputs; one that is unique on the join's keys adds nothing to the others."""
        if not all(n.traits.key for n in self.inputs):
            return ()
        many = [i for i, n in enumerate(self.inputs) if not set(n.traits.key) <= set(self.keys[i])]
        return tuple(self.starts[i] + k for i in many or [0] for k in self.inputs[i].traits.key)

    def distribution(self) -> tuple[tuple[int, ...] | None, ...]:
        return self.keys

    def spread(self) -> Spread | None:
        all_of: Spread | None = None
        for i, start in enumerate(self.starts):
            below = self.placed(i)
            width = len(self.inputs[i].schema)
            moved = None if below is None else below.moved(places_in([-1] * start + list(range(width))))
            if moved is None:
                return None
            all_of = moved if all_of is None else all_of.joined(moved)
        return all_of

    def details(self) -> str:
        schemas = [n.schema for n in self.inputs]
        on = [
            " = ".join(s[k[i]].name for s, k in zip(schemas, self.keys, strict=True)) for i in range(len(self.keys[0]))
        ]
        where = [named(r, *schemas[: i + 1]) for i, r in enumerate(self.residuals) if r is not None]
        parts = ["INNER", f"on=[{', '.join(on)}]", *([f"where={' AND '.join(where)}"] if where else [])]
        return ", ".join(parts)

    def layouts(self) -> tuple[Layout, ...]:
        """How the rows of each input are kept."""
        made = [Layout.of(f"input{i}", n, k) for i, (n, k) in enumerate(zip(self.inputs, self.keys, strict=True))]
        return tuple(replace(m, stays=m.identity is None and not ttl) for m, ttl in zip(made, self.ttl, strict=True))

    def states(self) -> tuple[StateSpec, ...]:
        return tuple(m.spec().living(ttl) for m, ttl in zip(self.layouts(), self.ttl, strict=True))

    def state_column(self, state: str, name: str) -> Column | None:
        schema = self.inputs[int(state.removeprefix("input"))].schema
        place = int(name[1:]) if name[:1] == "c" and name[1:].isdecimal() else len(schema)
        return schema[place] if place < len(schema) else None

    def lifetimes(self) -> tuple[tuple[str, int], ...]:
        return tuple((f"input{i}State", ttl) for i, ttl in enumerate(self.ttl))

    def operator(self, context: OperatorContext) -> Operator:
        return MultiJoinOperator(self, context)


class MultiJoinOperator(Operator):
    """The running half."""

    def __init__(self, node: MultiJoin, context: OperatorContext) -> None:
        super().__init__(context)
        self.node = node
        self.sides = [
            JoinSide(n, keys, layout, context)
            for n, keys, layout in zip(node.inputs, node.keys, node.layouts(), strict=True)
        ]
        first = node.inputs[0].schema.arrow()
        self.index = HashIndex([first.field(k).type for k in node.keys[0]])
        ends = [*node.starts[1:], len(node.output)]
        self.residuals = [
            None if r is None else Residual(r, Schema(node.output.columns[:end]), NOTHING, context.time_zone)
            for r, end in zip(node.residuals, ends, strict=True)
        ]
        self.out = Output(node.arrow_schema(), node.output, NOTHING, left_only=True)

    def open(self) -> None:
        for side in self.sides:
            side.open(self.index, False)

    def step(self, inputs: list[Delta]) -> Delta:
        touched = [side.expire(self.index) for side in self.sides if side.lives]
        goes, comes, gone = [], [], []
        for side, delta in zip(self.sides, inputs, strict=True):
            c = side.change(delta, (False,) * len(side.keys))
            minus, plus = self._part(side, c.minus, c.minus_counts), self._part(side, c.plus, c.plus_counts)
            there, lost = side.going(minus) if len(minus) else (minus, minus)
            if side.lives and len(lost):
                # Their time was over: what they make with rows that are there is taken back.
                self.context.lost(int(lost.counts.sum()))
                self._meet(side, lost, -1)
            goes.append(there)
            comes.append(plus)
            touched += [there.keys, lost.keys]
        for side, part in zip(self.sides, goes, strict=True):
            self._meet(side, part, -1)
            gone.append(side.remove(part) if len(part) else EMPTY)
        for i, (side, part) in enumerate(zip(self.sides, comes, strict=True)):
            self._meet(side, part, 1)
            comes[i] = side.add(part, None) if len(part) else part
        for side, slots, part in zip(self.sides, gone, comes, strict=True):
            side.free(slots, part)
        self._forget_keys(touched)
        return Delta(self.out.take(), meet([d.time for d in inputs]))

    def _part(self, side: JoinSide, rows: pa.RecordBatch, counts: Array) -> Part:
        """Rows whose key can equal one, with its slot."""
        outside = never_equal(rows, side.keys, (False,) * len(side.keys)) if rows.num_rows else EMPTY
        if outside.size:
            rows, counts = rows.filter(pa.array(~outside)), counts[~outside]
        return side.part(rows, counts, self.index)

    def _meet(self, side: JoinSide, part: Part, sign: int) -> None:
        """Emits what rows of one input make with the stored ones of all others."""
        if not len(part):
            return
        many = np.ones(len(part), np.int64)
        for other in self.sides:
            if other is not side:
                many *= other.map.counts(part.keys)
        some = np.flatnonzero(many)
        for piece in pieces(many[some]):
            for sources, at in self._rows(side, part, some[piece]):
                weight: Array | None = None
                if not self.node.traits.append_only:
                    weight = sign * part.counts[at[self.sides.index(side)]]
                    for other, slots in zip(self.sides, at, strict=True):
                        if other is not side:
                            weight = weight * other.copies(slots)
                self.out.left(Beside(sources, at, self.node.starts), np.arange(len(at[0])), weight)

    def _rows(self, side: JoinSide, part: Part, rows: Array) -> Iterator[tuple[list[RowSource], list[Array]]]:
        """The joined rows of these of `part`: for each input its rows, and which of them; nothing where none is left."""
        at: list[Array] = []
        sources: list[RowSource] = []
        for other, residual in zip(self.sides, self.residuals, strict=True):
            if other is side:
                sources.append(BatchRows(part.rows))
                at.append(rows)
            else:
                of, slots = other.map.probe(part.keys[rows])
                rows, at = rows[of], [a[of] for a in at]
                sources.append(other.store)
                at.append(slots)
            if residual is not None:
                so_far = Beside(sources, at, self.node.starts)
                holds = residual.holds(so_far, np.arange(len(rows)), BatchRows(part.rows), EMPTY)
                rows, at = rows[holds], [a[holds] for a in at]
            if not len(rows):
                return
        yield sources, at

    def _forget_keys(self, touched: list[Array]) -> None:
        """Drops join keys that no row has any more from the index."""
        slots = ascending(np.concatenate([EMPTY, *touched]))
        if len(slots):
            empty = np.ones(len(slots), np.bool_)
            for side in self.sides:
                empty &= side.map.counts(slots) == 0
            self.index.delete(slots[empty])

    def close(self) -> None:
        for residual in self.residuals:
            if residual is not None:
                residual.close()
