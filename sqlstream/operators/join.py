"""Join: two streams, appended to or changing, joined on equal keys (or on none) and a residual condition.

State: the rows of both sides. Of the right side of SEMI and ANTI without a residual: only how often each key is
there. Rows whose key can equal nothing (NULL under `=`) are never stored. A side whose unmatched rows are seen
keeps the number of matches of each row in `_matches`.

Out, an epoch: with L- and R- the rows that go, L+ and R+ those that come, L and R those that stay,

    - (L-, R and R-)   - (L, R-)   + (L+, R)   + (L and L+, R+)

Inputs are made net first, so no pair is both added and taken away, and what leaves is net too. A padded row comes
when its number of matches falls to 0 and goes when it rises from 0; in between nothing is said of it.

A side that is only appended to need not be in the index while the other one brings few rows: see `unlinked.py`.

Rows that live for a time go as in Flink: each side by itself and without a word, so a row that matched is not padded; and
when a row is taken back whose time is over, its pairs with rows that are there are taken back.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa

from sqlstream.batches import Delta, meet
from sqlstream.operators.base import Operator, OperatorContext, Traits
from sqlstream.operators.equi_join import EquiJoin
from sqlstream.operators.join_sides import JoinSide, KeySide, Part
from sqlstream.operators.pairs import LEFT_ONLY, Output, never_equal
from sqlstream.operators.row_store import EMPTY, BatchRows, Layout, RowSource
from sqlstream.plan.nodes import TUNING
from sqlstream.state.arrays import Array
from sqlstream.state.index import HashIndex
from sqlstream.state.sets import among, ascending, numbered
from sqlstream.state.spec import StateSpec
from sqlstream.types import Column, Schema

MATCHES = "_matches"


@dataclass(frozen=True)
class Join(EquiJoin):
    """Keeps both sides for good."""

    output: Schema
    ttl: tuple[int, int] = field(default=(0, 0), kw_only=True, metadata=TUNING)  # of left and of right rows

    name = "Join"

    def __post_init__(self) -> None:
        self.check(self.output)
        both = all(n.traits.append_only for n in self.inputs)
        self.derive(self.output, Traits(append_only=both and self.kind in ("INNER", "SEMI"), key=self.output_key()))

    def own_details(self) -> tuple[str, ...]:
        return ()

    @property
    def changes(self) -> str:  # type: ignore[override]
        """What of the query it stands for. An INNER JOIN's rows change with those of its inputs only."""
        return "NOT IN or NOT EXISTS" if self.kind == "ANTI" else "outer JOIN"

    @property
    def tracked(self) -> tuple[bool, bool]:
        """Whether the matches of left, of right rows are counted."""
        return self.kind in ("LEFT", "FULL", *LEFT_ONLY), self.kind in ("RIGHT", "FULL")

    @property
    def may_wait(self) -> bool:
        """Whether rows may be looked through instead of being in the index by their key."""
        if self.kind != "INNER" or not self.traits.append_only or len(self.left_keys) != 1 or any(self.ttl):
            return False
        t = self.inputs[0].schema[self.left_keys[0]].type
        return not self.null_safe[0] and (t.is_integer or t.is_timestamp or t.kind == "DATE")

    @property
    def keys_only(self) -> bool:
        """Whether of the right side only its keys are kept."""
        return self.left_only and self.residual is None

    def layouts(self) -> tuple[Layout, Layout]:
        """How the rows of left and right are kept; of a right side that is `keys_only`, its keys as c0, c1, …"""
        (left, right), extras = self.inputs, ((MATCHES, pa.int64()),)
        tracked = self.tracked
        rows = self._stays(Layout.of("left", left, self.left_keys, extras if tracked[0] else ()), self.ttl[0])
        if self.keys_only:
            types = [right.schema.arrow().field(k).type for k in self.right_keys]
            if not types:  # EXISTS without a condition: one constant stands for the key
                return rows, Layout("right", pa.schema([("c0", pa.int8())]), (), (0,), True)
            keys = pa.schema([(f"c{j}", t) for j, t in enumerate(types)])
            return rows, Layout("right", keys, tuple(range(len(types))), (), True)
        right_rows = Layout.of("right", right, self.right_keys, extras if tracked[1] else ())
        return rows, self._stays(right_rows, self.ttl[1])

    def _stays(self, layout: Layout, ttl: int) -> Layout:
        """Rows that are appended to, have no matches counted, and live for ever."""
        return replace(layout, stays=layout.identity is None and not layout.extras and not ttl)

    def states(self) -> tuple[StateSpec, ...]:
        left, right = self.layouts()
        return left.spec().living(self.ttl[0]), right.spec().living(self.ttl[1])

    def state_column(self, state: str, name: str) -> Column | None:
        if state == "right" and self.keys_only:
            at = int(name[1:]) if name[:1] == "c" and name[1:].isdecimal() else len(self.right_keys)
            return self.inputs[1].schema[self.right_keys[at]] if at < len(self.right_keys) else None
        return super().state_column(state, name)

    def lifetimes(self) -> tuple[tuple[str, int], ...]:
        return ("leftState", self.ttl[0]), ("rightState", self.ttl[1])

    def operator(self, context: OperatorContext) -> Operator:
        return JoinOperator(self, context)


class JoinOperator(Operator):
    """The running half: what goes is joined first, then what comes, as above."""

    def __init__(self, node: Join, context: OperatorContext) -> None:
        super().__init__(context)
        self.node = node
        left, right = node.inputs
        layouts = node.layouts()
        self.left = JoinSide(left, node.left_keys, layouts[0], context)
        self.right = (KeySide if node.keys_only else JoinSide)(right, node.right_keys, layouts[1], context)
        self.index = HashIndex([left.schema.arrow().field(k).type for k in node.left_keys])
        self.residual = node.residual_in(context.time_zone)
        self.left_only = node.left_only
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
        if any(self.node.ttl):
            over = np.concatenate([left.expire(self.index), right.expire(self.index)])
            if len(over):
                self._forget_keys(over)
        if self.may_wait:
            left.expect(inputs[1].num_rows, self.index)
            right.expect(inputs[0].num_rows, self.index)
        left_tracked, right_tracked = self.node.tracked
        left_goes, left_lost, left_comes = self._parts(left, inputs[0])
        right_goes, right_lost, right_comes = self._parts(right, inputs[1])
        left_gone = right_gone = EMPTY
        left_notes: list[tuple[Array, Array]] = []
        right_notes: list[tuple[Array, Array]] = []

        if left.lives and len(left_lost):
            self._take_back(left_lost, right, right_notes)
        if right.lives and len(right_lost):
            self._take_back(right_lost, left, left_notes)
        if isinstance(right, KeySide) and left.lives and len(right.repeated):
            _, matched = left.map.probe(ascending(right.repeated))
            left.store.table.touch(matched)
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

        left.free(left_gone, left_comes)
        right.free(right_gone, right_comes)
        gone = np.concatenate([p.keys for p in (left_goes, left_lost, right_goes, right_lost)])
        if len(gone):
            self._forget_keys(gone)
        return Delta(self.out.take(), meet([d.time for d in inputs]))

    def _take_back(self, part: Part, side: JoinSide, notes: list[tuple[Array, Array]]) -> None:
        """Takes back rows whose time was over before: their pairs with the rows of the other `side` that are there."""
        self.context.lost(int(part.counts.sum()))
        stored_right = side is self.right
        if not stored_right and self.node.keys_only:
            return  # how many rows the key stood for is not known any more
        matches = self._meet(side, part, -1, notes, stored_right)
        if self.node.tracked[0 if stored_right else 1]:
            weight = -part.counts * self._shown(matches)
            at = np.flatnonzero(weight)
            (self.out.left if stored_right else self.out.right)(BatchRows(part.rows), at, weight[at])

    def _parts(self, side: JoinSide, delta: Delta) -> tuple[Part, Part, Part]:
        """The net change of a side: rows that go, rows that go and are not there, rows that come. Rows whose key equals nothing leave at once: padded, alone, or not at all."""
        left = side is self.left
        emits = self.node.kind != "SEMI" and self.node.tracked[0 if left else 1]
        c = side.change(delta, self.node.null_safe)
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
        goes, lost = side.going(minus) if len(minus) else (minus, minus)
        return goes, lost, (side.coming(plus) if len(plus) else plus)

    def _meet(
        self, side: JoinSide, part: Part, sign: int, notes: list[tuple[Array, Array]], stored_right: bool
    ) -> Array:
        """Joins `part` of one input with the stored rows of the other, `side`. The matches of each of its rows.

        Emits the pairs, and notes for each stored row how its matches change.
        """
        left: RowSource = BatchRows(part.rows) if stored_right else side.store
        right: RowSource = side.store if stored_right else BatchRows(part.rows)
        matches = EMPTY if self.plain else np.zeros(len(part), np.int64)
        tracked = self.node.tracked[1 if stored_right else 0]
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
            if tracked:
                notes.append(summed(slots, sign * part.counts[at]))
            matches += np.bincount(at, weights=copies, minlength=len(part)).astype(np.int64)
        return matches

    def _shown(self, matches: Array) -> Array:
        """Whether rows with so many matches are seen alone (1) or not (0)."""
        return ((matches > 0) if self.node.kind == "SEMI" else (matches == 0)).astype(np.int64)

    def _alone(self, side: JoinSide, part: Part, weight: Array) -> None:
        """Emits rows of the epoch that are seen alone, by their present matches."""
        weight = weight * self._shown(side.store.table.fixed(MATCHES).data[part.slots])
        at = np.flatnonzero(weight)
        (self.out.left if side is self.left else self.out.right)(BatchRows(part.rows), at, weight[at])

    def _turn(self, side: JoinSide, notes: list[tuple[Array, Array]], came: Part | None, gone: Array) -> None:
        """Applies `notes` to the matches of stored rows; emits the rows that stay and begin or cease to be alone.

        Copies that came in this epoch or went are spoken of elsewhere.
        """
        if not notes:
            return
        slots, change = summed(*(np.concatenate(x) for x in zip(*notes, strict=True)))
        if not len(slots):
            return
        table = side.store.table
        matches = table.fixed(MATCHES)
        table.writing(slots)
        old = matches.data[slots]
        matches.data[slots] += change
        table.touch(slots)
        stays = side.store.copies(slots)
        if came is not None and len(came):
            added = np.zeros(table.capacity, np.int64)
            added[came.slots] = came.counts
            stays -= added[slots]
        if len(gone):
            stays[among(slots, gone)] = 0
        if self.once:
            seen = slots[matches.data[slots] > 0]
            self.out.left(side.store, seen)
            side.map.remove(seen, seen)
            side.store.delete(seen)
            return
        weight = stays * (self._shown(old + change) - self._shown(old))
        at = np.flatnonzero(weight)
        (self.out.left if side is self.left else self.out.right)(side.store, slots[at], weight[at])

    def _forget_keys(self, keys: Array) -> None:
        """Drops join keys that no row has any more from the index."""
        slots = ascending(keys)
        empty = (self.left.map.counts(slots) == 0) & (self.right.map.counts(slots) == 0)
        self.index.delete(slots[empty])

    def close(self) -> None:
        if self.residual is not None:
            self.residual.close()


def summed(slots: Array, counts: Array) -> tuple[Array, Array]:
    """Each slot once, with its counts together."""
    slots, inverse = numbered(slots)
    return slots, np.bincount(inverse, weights=counts, minlength=len(slots)).astype(np.int64)


def _sides(
    left: RowSource, right: RowSource, at: Array, slots: Array, stored_right: bool
) -> tuple[RowSource, Array, RowSource, Array]:
    return (left, at, right, slots) if stored_right else (left, slots, right, at)
