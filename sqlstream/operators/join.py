"""Join: two streams, appended to or changing, joined on equal keys (or on none) and a residual condition.

State: the rows of both sides. Of the right side of SEMI and ANTI without a residual: only how often each key is
there. Rows whose key can equal nothing (NULL under `=`) are never stored. A side whose unmatched rows are seen
keeps the number of matches of each row in `_matches`.

Out, an epoch: with L- and R- the rows that go, L+ and R+ those that come, L and R those that stay,

    - (L-, R and R-)   - (L, R-)   + (L+, R)   + (L and L+, R+)

Inputs are made net first, so no pair is both added and taken away, and what leaves is net too. A padded row comes
when its number of matches falls to 0 and goes when it rises from 0; in between nothing is said of it.

A side that is only appended to need not be in the index while the other one brings few rows: see `unlinked.py`.

With `close`, a pair of window-end columns among the keys, it is a window join: see `window_join.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa

from sqlstream.batches import OP, Delta, meet
from sqlstream.expressions import Expr
from sqlstream.operators.base import Operator, OperatorContext, PhysicalNode, Traits
from sqlstream.operators.pairs import LEFT_ONLY, Output, Residual, check, never_equal, pieces
from sqlstream.operators.row_store import EMPTY, BatchRows, Change, Layout, RowSource, RowStore
from sqlstream.operators.unlinked import FEW, Unlinked
from sqlstream.state.arrays import Array, fixed, plain
from sqlstream.state.index import HashIndex
from sqlstream.state.multimap import MultiMap
from sqlstream.state.spec import StateSpec
from sqlstream.types import ROWTIME, Schema

MATCHES = "_matches"


@dataclass(frozen=True)
class Join(PhysicalNode):
    """`kind`: INNER, LEFT, RIGHT, FULL, SEMI, ANTI. Keys are pairs of columns of one type; none: a cross join.

    `null_safe[i]`: key i compares by IS NOT DISTINCT FROM. `residual` is over left columns, then right columns.
    `close`: (left column, right column), the window ends, which are among the keys; `domain`: what closes them.
    """

    kind: str
    left_keys: tuple[int, ...]
    right_keys: tuple[int, ...]
    null_safe: tuple[bool, ...]
    residual: Expr | None
    output: Schema
    close: tuple[int, int] | None = None
    domain: str = ROWTIME

    def __post_init__(self) -> None:
        if not self.null_safe:
            object.__setattr__(self, "null_safe", (False,) * len(self.left_keys))
        left, right = self.inputs
        check(self.kind, left.schema, right.schema, self.left_keys, self.right_keys, self.output)
        both = left.traits.append_only and right.traits.append_only
        append_only = both and (self.kind in ("INNER", "SEMI") or self.close is not None)
        self.derive(self.output, Traits(append_only=append_only, key=self._key()))

    @property
    def name(self) -> str:  # type: ignore[override]
        return "Join" if self.close is None else "WindowJoin"

    def _key(self) -> tuple[int, ...]:
        left, right = (n.traits.key for n in self.inputs)
        if self.kind in LEFT_ONLY:
            return left
        shifted = tuple(len(self.inputs[0].schema) + k for k in right)
        # A side that is unique on the join keys meets each row of the other at most once.
        if left and right and set(right) <= set(self.right_keys) and self.kind in ("INNER", "LEFT"):
            return left
        if left and right and set(left) <= set(self.left_keys) and self.kind in ("INNER", "RIGHT"):
            return shifted
        return (*left, *shifted) if left and right else ()

    def distribution(self) -> tuple[tuple[int, ...] | None, ...]:
        return (self.left_keys, self.right_keys)

    def details(self) -> str:
        left, right = (n.schema for n in self.inputs)
        on = ", ".join(
            f"{left[a].name} {'IS NOT DISTINCT FROM' if safe else '='} {right[b].name}"
            for a, b, safe in zip(self.left_keys, self.right_keys, self.null_safe, strict=True)
        )
        text = f"{self.kind}, on=[{on}]"
        if self.residual is not None:
            text += f", where={self.residual}"
        return text if self.close is None else text + f", close={left[self.close[0]].name}"

    @property
    def tracked(self) -> tuple[bool, bool]:
        """Whether the matches of left, of right rows are counted."""
        if self.close is not None:
            return False, False
        return self.kind in ("LEFT", "FULL", *LEFT_ONLY), self.kind in ("RIGHT", "FULL")

    @property
    def may_wait(self) -> bool:
        """Whether rows may be looked through instead of being in the index by their key."""
        if self.kind != "INNER" or not self.traits.append_only or self.close is not None or len(self.left_keys) != 1:
            return False
        t = self.inputs[0].schema[self.left_keys[0]].type
        return not self.null_safe[0] and (t.is_integer or t.is_timestamp or t.kind == "DATE")

    @property
    def keys_only(self) -> bool:
        """Whether of the right side only its keys are kept."""
        return self.kind in LEFT_ONLY and self.residual is None and self.close is None

    def layouts(self) -> tuple[Layout, Layout]:
        (left, right), extras = self.inputs, ((MATCHES, pa.int64()),)
        tracked = self.tracked
        rows = self._stays(Layout.of("left", left, self.left_keys, extras if tracked[0] else ()))
        if self.keys_only:
            types = [right.schema.arrow().field(k).type for k in self.right_keys]
            if not types:  # EXISTS without a condition: one constant stands for the key
                return rows, Layout("right", pa.schema([("c0", pa.int8())]), (), (0,), True)
            keys = pa.schema([(f"c{j}", t) for j, t in enumerate(types)])
            return rows, Layout("right", keys, tuple(range(len(types))), (), True)
        return rows, self._stays(Layout.of("right", right, self.right_keys, extras if tracked[1] else ()))

    def _stays(self, layout: Layout) -> Layout:
        """Rows that are appended to and have no matches counted."""
        return replace(layout, stays=layout.identity is None and not layout.extras and self.close is None)

    def states(self) -> tuple[StateSpec, ...]:
        left, right = self.layouts()
        return left.spec(), right.spec()

    def operator(self, context: OperatorContext) -> Operator:
        if self.close is not None:
            from sqlstream.operators.window_join import WindowJoinOperator

            return WindowJoinOperator(self, context)
        return JoinOperator(self, context)


@dataclass(frozen=True)
class Part:
    """Some rows of an epoch with the slots of their join keys and (where stored already) their own."""

    rows: pa.RecordBatch
    counts: Array
    keys: Array
    slots: Array = field(default_factory=lambda: EMPTY)

    def __len__(self) -> int:
        return len(self.counts)

    def only(self, mask: Array) -> Part:
        if mask.all():
            return self
        slots = self.slots[mask] if len(self.slots) else self.slots
        return Part(self.rows.filter(pa.array(mask)), self.counts[mask], self.keys[mask], slots)


class Side:
    """One input: its rows, and which of them have a join key. `keys` are columns of the rows as they are kept."""

    def __init__(self, node: PhysicalNode, keys: tuple[int, ...], layout: Layout, context: OperatorContext) -> None:
        self.columns, self.append_only = node.schema.arrow(), node.traits.append_only
        self.keys = keys
        self.store = RowStore(layout, context.state(layout.spec()))
        self.map = MultiMap(removes=not layout.stays)
        self.unlinked = Unlinked(self.store)
        self.waits = False  # rows that come in this epoch need not be in the index

    def open(self, index: HashIndex, may_wait: bool) -> None:
        slots = self.store.table.slots()
        if may_wait:
            self.unlinked.add(slots)
        elif len(slots):
            self._link(slots, index)

    def expect(self, rows: int, index: HashIndex) -> None:
        """The other side brings so many rows in this epoch."""
        self.waits = rows <= FEW
        for slots in self.unlinked.due(not self.waits):
            self._link(slots, index)

    def _link(self, slots: Array, index: HashIndex) -> None:
        keys, _ = index.upsert(self.store.partition(slots), len(slots))
        self.map.add(keys, slots)

    def change(self, delta: Delta) -> Change:
        return Change.of(delta.batches, self.columns, self.append_only)

    def part(self, rows: pa.RecordBatch, counts: Array, index: HashIndex) -> Part:
        if not rows.num_rows:
            return Part(rows, counts, EMPTY)
        columns = [rows.column(k) for k in self.keys]
        if self.waits:
            return Part(rows, counts, index.find(columns, rows.num_rows))
        return Part(rows, counts, index.upsert(columns, rows.num_rows)[0])

    def going(self, part: Part) -> Part:
        """`part` with its slots. A row that goes but never came is left out."""
        slots = self.store.find(part.rows)
        counts = np.minimum(part.counts, self.store.copies(np.maximum(slots, 0)))
        return replace(part, counts=counts, slots=slots).only((slots >= 0) & (counts > 0))

    def coming(self, part: Part) -> Part:
        return part

    def copies(self, slots: Array) -> Array:
        return self.store.copies(slots)

    def remove(self, part: Part) -> Array:
        """Unlinks the rows that went; those slots, to be deleted when the epoch is done."""
        gone = self.store.remove(part.slots, part.counts)
        self.map.remove(part.keys[gone], part.slots[gone])
        return part.slots[gone]

    def add(self, part: Part, matches: Array | None) -> Part:
        """Stores and links rows."""
        extras = None if matches is None else [pa.array(matches)]
        slots = self.store.add(part.rows, part.counts, extras)
        if self.waits:
            self.unlinked.add(slots)
        else:
            self.map.add(part.keys, slots)
        return replace(part, slots=slots)

    def meet(self, part: Part, keys: tuple[int, ...]) -> Iterator[tuple[Array, Array]]:
        """All pairs (row of `part`, slot of a stored row) with equal keys; `keys`: the columns of part's rows."""
        for piece in pieces(self.map.counts(part.keys)):
            at, slots = self.map.probe(part.keys[piece])
            yield at + piece.start, slots
        if self.unlinked:
            yield from self.unlinked.find(fixed(plain(part.rows.column(keys[0]))))


class KeySide(Side):
    """The right side of SEMI and ANTI: a row is a key, which comes with its first row and goes with its last."""

    def __init__(self, node: PhysicalNode, keys: tuple[int, ...], layout: Layout, context: OperatorContext) -> None:
        super().__init__(node, tuple(range(len(keys))), layout, context)
        self._from = keys

    def change(self, delta: Delta) -> Change:
        kept = []
        for b in delta.batches:
            names = self.store.layout.columns.names
            columns = [b.column(k) for k in self._from] or [pa.array(np.zeros(b.num_rows, np.int8))]
            if not self.append_only:
                columns, names = [*columns, b.column(OP)], [*names, OP]
            kept.append(pa.RecordBatch.from_arrays(columns, names=names))
        # Equal keys are counted together, also of an append-only input.
        return Change.of(kept, self.store.layout.columns, False)

    def going(self, part: Part) -> Part:
        part = super().going(part)
        part = part.only(self.store.remove(part.slots, part.counts))
        return replace(part, counts=np.ones(len(part), np.int64))

    def coming(self, part: Part) -> Part:
        slots = self.store.find(part.rows)
        there = (slots >= 0) & (self.store.copies(np.maximum(slots, 0)) > 0)
        if self.append_only:  # how often does not matter: the key never goes
            part, there = part.only(~there), np.zeros(np.count_nonzero(~there), np.bool_)
        part = replace(part, slots=self.store.add(part.rows, part.counts)).only(~there)
        return replace(part, counts=np.ones(len(part), np.int64))

    def copies(self, slots: Array) -> Array:
        return np.ones(len(slots), np.int64)

    def remove(self, part: Part) -> Array:
        self.map.remove(part.keys, part.slots)
        return part.slots

    def add(self, part: Part, matches: Array | None) -> Part:
        self.map.add(part.keys, part.slots)
        return part


class JoinOperator(Operator):
    def __init__(self, node: Join, context: OperatorContext) -> None:
        super().__init__(context)
        self.node = node
        left, right = node.inputs
        layouts = node.layouts()
        self.left = Side(left, node.left_keys, layouts[0], context)
        self.right = (KeySide if node.keys_only else Side)(right, node.right_keys, layouts[1], context)
        self.index = HashIndex([left.schema.arrow().field(k).type for k in node.left_keys])
        self.residual = (
            None if node.residual is None else Residual(node.residual, left.schema, right.schema, context.time_zone)
        )
        self.left_only = node.kind in LEFT_ONLY
        self.out = Output(node.arrow_schema(), left.schema, right.schema, self.left_only)
        # A left row of an append-only SEMI join is done with once it found a match.
        self.once = node.kind == "SEMI" and node.traits.append_only
        self.plain = node.traits.append_only and not self.left_only
        self.may_wait = node.may_wait

    def open(self) -> None:
        self.left.open(self.index, self.may_wait)
        self.right.open(self.index, self.may_wait)

    def step(self, inputs: list[Delta]) -> Delta:
        left, right = self.left, self.right
        if self.may_wait:
            left.expect(inputs[1].num_rows, self.index)
            right.expect(inputs[0].num_rows, self.index)
        left_tracked, right_tracked = self.node.tracked
        left_goes, left_comes = self._parts(left, inputs[0])
        right_goes, right_comes = self._parts(right, inputs[1])
        left_gone = right_gone = EMPTY
        left_notes: list[tuple[Array, Array]] = []
        right_notes: list[tuple[Array, Array]] = []

        if len(left_goes):
            if left_tracked:
                self._alone(left, left_goes, -left_goes.counts)
            if not self.left_only:
                self._meet(right, left_goes, -1, right_notes, True)
            left_gone = left.remove(left_goes)
        if len(right_goes):
            if right_tracked:
                self._alone(right, right_goes, -right_goes.counts)
            self._meet(left, right_goes, -1, left_notes, False)
            right_gone = right.remove(right_goes)
        if len(left_comes):
            matches = self._meet(right, left_comes, 1, right_notes, True)
            if self.once:
                self.out.left(BatchRows(left_comes.rows), np.flatnonzero(matches))
                left_comes, matches = left_comes.only(matches == 0), matches[matches == 0]
            left_comes = left.add(left_comes, matches if left_tracked else None)
        if right_tracked:
            # Before rows come in: a slot may be taken over by a new row with the same key.
            self._turn(right, right_notes, None, right_gone)
        if len(right_comes):
            matches = self._meet(left, right_comes, 1, left_notes, False)
            right_comes = right.add(right_comes, matches if right_tracked else None)
            if right_tracked:
                self._alone(right, right_comes, right_comes.counts)
        if left_tracked:
            self._turn(left, left_notes, left_comes, EMPTY)
            if len(left_comes) and not self.once:
                self._alone(left, left_comes, left_comes.counts)

        self._free(left, left_gone, left_comes)
        self._free(right, right_gone, right_comes)
        if len(left_goes) or len(right_goes):
            self._forget_keys(np.concatenate([left_goes.keys, right_goes.keys]))
        return Delta(self.out.take(), meet([d.time for d in inputs]))

    def _parts(self, side: Side, delta: Delta) -> tuple[Part, Part]:
        """The net change of a side. Rows whose key equals nothing leave at once: padded, alone, or not at all."""
        left = side is self.left
        emits = self.node.kind != "SEMI" and self.node.tracked[0 if left else 1]
        c = side.change(delta)
        parts = []
        for rows, counts, sign in ((c.minus, c.minus_counts, -1), (c.plus, c.plus_counts, 1)):
            outside = never_equal(rows, side.keys, self.node.null_safe) if rows.num_rows else EMPTY
            if outside.size:
                if emits:
                    at = np.flatnonzero(outside)
                    (self.out.left if left else self.out.right)(BatchRows(rows), at, sign * counts[at])
                rows, counts = rows.filter(pa.array(~outside)), counts[~outside]
            parts.append(side.part(rows, counts, self.index))
        minus, plus = parts
        return (side.going(minus) if len(minus) else minus), (side.coming(plus) if len(plus) else plus)

    def _meet(self, side: Side, part: Part, sign: int, notes: list[tuple[Array, Array]], stored_right: bool) -> Array:
        """Joins `part` of one input with the stored rows of the other, `side`. The matches of each of its rows.

        Emits the pairs, and notes for each stored row how its matches change.
        """
        left: RowSource = BatchRows(part.rows) if stored_right else side.store
        right: RowSource = side.store if stored_right else BatchRows(part.rows)
        matches = EMPTY if self.plain else np.zeros(len(part), np.int64)
        for at, slots in side.meet(part, self.node.left_keys if stored_right else self.node.right_keys):
            if self.residual is not None:
                holds = self.residual.holds(*_sides(left, right, at, slots, stored_right))
                at, slots = at[holds], slots[holds]
            pairs = _sides(left, right, at, slots, stored_right)
            if self.plain:
                self.out.pairs(*pairs, None)
                continue
            copies = side.copies(slots)
            if not self.left_only:
                self.out.pairs(*pairs, sign * part.counts[at] * copies)
            notes.append((slots, sign * part.counts[at]))
            matches += np.bincount(at, weights=copies, minlength=len(part)).astype(np.int64)
        return matches

    def _shown(self, matches: Array) -> Array:
        """Whether rows with so many matches are seen alone (1) or not (0)."""
        return ((matches > 0) if self.node.kind == "SEMI" else (matches == 0)).astype(np.int64)

    def _alone(self, side: Side, part: Part, weight: Array) -> None:
        """Emits rows of the epoch that are seen alone, by their present matches."""
        weight = weight * self._shown(side.store.table.fixed(MATCHES).data[part.slots])
        at = np.flatnonzero(weight)
        (self.out.left if side is self.left else self.out.right)(BatchRows(part.rows), at, weight[at])

    def _turn(self, side: Side, notes: list[tuple[Array, Array]], came: Part | None, gone: Array) -> None:
        """Applies `notes` to the matches of stored rows; emits the rows that stay and begin or cease to be alone.

        Copies that came in this epoch or went are spoken of elsewhere.
        """
        if not notes:
            return
        slots, inverse = np.unique(np.concatenate([s for s, _ in notes]), return_inverse=True)
        if not len(slots):
            return
        change = np.bincount(inverse, weights=np.concatenate([c for _, c in notes])).astype(np.int64)
        table = side.store.table
        matches = table.fixed(MATCHES)
        old = matches.data[slots]
        matches.data[slots] += change
        table.touch(slots)
        stays = side.store.copies(slots)
        if came is not None and len(came):
            added = np.zeros(table.capacity, np.int64)
            added[came.slots] = came.counts
            stays -= added[slots]
        if len(gone):
            stays[np.isin(slots, gone)] = 0
        if self.once:
            seen = slots[matches.data[slots] > 0]
            self.out.left(side.store, seen)
            side.map.remove(seen, seen)
            side.store.delete(seen)
            return
        weight = stays * (self._shown(old + change) - self._shown(old))
        at = np.flatnonzero(weight)
        (self.out.left if side is self.left else self.out.right)(side.store, slots[at], weight[at])

    def _free(self, side: Side, gone: Array, came: Part) -> None:
        """Deletes the slots whose row went, unless another row took one over."""
        if len(gone):
            side.store.delete(gone[~np.isin(gone, came.slots)])

    def _forget_keys(self, keys: Array) -> None:
        """Drops join keys that no row has any more from the index."""
        slots = np.unique(keys)
        empty = (self.left.map.counts(slots) == 0) & (self.right.map.counts(slots) == 0)
        self.index.delete(slots[empty])

    def close(self) -> None:
        if self.residual is not None:
            self.residual.close()


def _sides(
    left: RowSource, right: RowSource, at: Array, slots: Array, stored_right: bool
) -> tuple[RowSource, Array, RowSource, Array]:
    return (left, at, right, slots) if stored_right else (left, slots, right, at)
