"""TopN: the rows whose rank over partition and order lies in first..last; also ORDER BY … LIMIT … OFFSET.

State: of an append-only input the rows with rank <= last, of a changelog all rows. Out: the net change, made once
an epoch from one sort of the candidates of the partitions that changed.

Rows that tie are ranked (ROW_NUMBER) by arrival where the input is append-only and has it, else by their content,
so that every run and every parallelism agrees. Without an order, rows that were first stay (append-only), or any
that all runs agree on are taken (changelog).

Most changes of a large partition are far from its top. So its rows are hot or cold: a threshold on the first order
column (coarse: see `ordering.py`) separates them, hot rows are at least `last`, and cold ones are only looked at
when deletes make the hot ones fewer. Which row is hot is not durable.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from sqlstream.batches import ORD, Delta, concat, hidden, meet
from sqlstream.errors import InternalError
from sqlstream.operators.base import Operator, OperatorContext, Traits
from sqlstream.operators.changelog import paired, repeated, with_operations
from sqlstream.operators.ordering import GREATEST, break_ties, by_hash, coarse, sort, sortable
from sqlstream.operators.pairs import operations
from sqlstream.operators.partition_lives import PartitionLives
from sqlstream.operators.partitioned import Partitioned
from sqlstream.operators.row_store import EMPTY, Change, RowStore, net
from sqlstream.plan.over_functions import RANKINGS
from sqlstream.state.arrays import Array, grown
from sqlstream.state.index import HashIndex
from sqlstream.state.multimap import MultiMap
from sqlstream.state.sets import among, ascending
from sqlstream.state.spec import StateSpec
from sqlstream.types import WINDOW_ENDS, WINDOW_STARTS, Schema


def best_once(schema: Schema, partition: tuple[int, ...]) -> str:
    """The query that gives the best rows of each partition once, for a hint."""
    windowed = any(schema[p].time in WINDOW_ENDS for p in partition)
    keys = [schema[p].name for p in partition if schema[p].time not in (*WINDOW_ENDS, *WINDOW_STARTS)]
    by = ", ".join(["window_start", "window_end", *keys])
    if windowed:
        return f"take what a window gives once, when it ends: PARTITION BY {by}"
    return f"take the best of each window, over TABLE(TUMBLE(…)): PARTITION BY {by}"


@dataclass(frozen=True)
class TopN(Partitioned):
    """`rank`: whether the rank is appended as a BIGINT column. No partition: all rows are one, in one task."""

    first: int
    last: int
    function: str
    rank: bool
    output: Schema

    name = "TopN"
    changes = "top-N"

    @property
    def once(self) -> str:  # type: ignore[override]
        return best_once(self.inputs[0].schema, self.partition)

    def __post_init__(self) -> None:
        (input_,) = self.inputs
        if self.function not in RANKINGS:
            raise InternalError(f"TopN by {self.function}")
        if len(self.output) != len(input_.schema) + self.rank:
            raise InternalError(f"TopN: {len(self.output)} output columns")
        key = input_.traits.key
        if self.function == "ROW_NUMBER" and self.rank:
            key = (*self.partition, len(input_.schema))
        elif self.function == "ROW_NUMBER" and self.first >= self.last and self.partition:
            key = self.partition
        self.derive(self.output, Traits(append_only=False, key=key, single=input_.traits.single))

    def details(self) -> str:
        return f"{self.function}, {self.place()}, ranks={self.first}..{self.last}{', rank' if self.rank else ''}"

    def states(self) -> tuple[StateSpec, ...]:
        return (self.layout().spec().living(self.ttl),)

    def lifetimes(self) -> tuple[tuple[str, int], ...]:
        return (("rankState", self.ttl),)

    def operator(self, context: OperatorContext) -> Operator:
        return TopNOperator(self, context)


@dataclass(frozen=True)
class Candidates:
    """Rows that are ranked: stored ones (`slots`), then those that go, then those that come."""

    store: RowStore
    slots: Array
    minus: pa.RecordBatch
    plus: pa.RecordBatch
    plus_arrival: Array

    def column(self, i: int) -> pa.Array:
        """Column i of all of them, in that order."""
        return pa.concat_arrays([*self.store.columns(self.slots, [i]), self.minus.column(i), self.plus.column(i)])

    def columns(self) -> list[pa.Array]:
        """All visible columns."""
        return [self.column(i) for i in range(len(self.store.layout.columns))]

    def arrival(self) -> Array:
        """`_ord` of rows of an append-only input: none goes."""
        return np.concatenate([self.store.table.fixed(ORD).data[self.slots], self.plus_arrival])

    def take(self, at: Array) -> pa.RecordBatch:
        """Whole rows, in no certain order of the three kinds; `at` ascends."""
        a, b = np.searchsorted(at, [len(self.slots), len(self.slots) + self.minus.num_rows])
        parts = [self.store.rows(self.slots[at[:a]])] if a else []
        if b > a:
            parts.append(self.minus.take(pa.array(at[a:b] - len(self.slots))))
        if len(at) > b:
            parts.append(self.plus.take(pa.array(at[b:] - len(self.slots) - self.minus.num_rows)))
        return parts[0] if len(parts) == 1 else pa.concat_batches(parts)


class TopNOperator(Operator):
    """The running half: the candidates of changed partitions, as they were and as they are, ranked in one sort."""

    def __init__(self, node: TopN, context: OperatorContext) -> None:
        super().__init__(context)
        self.node = node
        self.append_only = node.inputs[0].traits.append_only
        layout = node.layout()
        self.store = RowStore(layout, context.state(layout.spec()))
        self.index = HashIndex([layout.columns.field(p).type for p in node.partition])
        self.hot, self.cold = MultiMap(), MultiMap()
        self.is_cold: Array = np.zeros(0, np.bool_)
        self.threshold: Array = np.full(256, GREATEST)
        self.place: Array = np.zeros(0, np.int64)
        self.lives = PartitionLives(self.store.table)
        self._added: list[Array] = []  # slots that rows of this epoch took

    def open(self) -> None:
        self.is_cold = np.zeros(self.store.table.capacity, np.bool_)
        slots = self.store.table.slots()
        if len(slots):
            partitions = self._partitions(self.store.partition(slots), len(slots))
            self.hot.add(partitions, slots)
            self.lives.restored(partitions, slots)

    def step(self, inputs: list[Delta]) -> Delta:
        out, batch = Delta([], meet([d.time for d in inputs])), concat(inputs[0].batches)
        if batch is None:
            return out
        self._expire()
        change = Change.of([batch], self.store.layout.columns, self.append_only)
        same = self._partitions(self._keys(change.same), change.same.num_rows)
        if self.node.ttl:
            change = change.renewing(self.store)
        minus, plus = change.minus, change.plus
        minus_counts, plus_counts = change.minus_counts, change.plus_counts
        arrival = hidden(batch, ORD) if self.node.by_arrival else None

        going = self._partitions(self._keys(minus), minus.num_rows)
        written = [same, going]
        gone = EMPTY
        if len(going):
            gone, minus, minus_counts, going = self._remove(minus, minus_counts, going)
        coming = self._partitions(self._keys(plus), plus.num_rows)
        written.append(coming)
        level = self._coarse(plus.columns, plus.num_rows, arrival)
        near = level <= self.threshold[coming]
        if not near.all():
            far = pa.array(~near)
            if not self.append_only:
                slots = self._add(plus.filter(far), plus_counts[~near])
                self.is_cold[slots] = True
                self.cold.add(coming[~near], slots)
            plus, plus_counts, coming = plus.filter(pa.array(near)), plus_counts[near], coming[near]
            arrival = None if arrival is None else arrival[near]

        changed, place = self._distinct(np.concatenate([going, coming]))
        if len(changed):
            self._refill(changed, coming, plus_counts)
            group, slots = self.hot.probe(changed)
            c = Candidates(self.store, slots, minus, plus, EMPTY if arrival is None else arrival)
            copies = np.concatenate([self.store.copies(slots), minus_counts, plus_counts])
            ranked = self._rank(c, np.concatenate([group, place]), len(changed), copies)
            self._emit(c, ranked, out)
            self._keep(c, ranked, changed, coming, plus_counts, arrival)
        if len(gone):
            self._forget(gone)
        if self.node.ttl and not self.append_only:
            self._write(ascending(np.concatenate(written)))
        self._added.clear()
        return out

    # ---- partitions

    def _keys(self, rows: pa.RecordBatch) -> list[pa.Array]:
        return [rows.column(p) for p in self.node.partition]

    def _partitions(self, keys: list[pa.Array], n: int) -> Array:
        if not n:
            return EMPTY
        slots, _ = self.index.upsert(keys, n)
        if self.index.index.capacity > len(self.threshold):
            self.threshold = grown(self.threshold, self.index.index.capacity, int(GREATEST))
        return slots

    def _distinct(self, partitions: Array) -> tuple[Array, Array]:
        """The distinct partitions, ascending, and for each of `partitions` its place among them."""
        there = np.zeros(len(self.threshold), np.bool_)
        there[partitions] = True
        changed = np.flatnonzero(there)
        if len(self.place) < len(there):
            self.place = np.zeros(len(there), np.int64)
        self.place[changed] = np.arange(len(changed))
        return changed, self.place[partitions]

    def _coarse(self, columns: list[pa.Array], n: int, arrival: Array | None) -> Array:
        """What the threshold is compared with. `columns`: all, or only the first to order by."""
        if self.node.order:
            key = self.node.order[0]
            return coarse(columns[key.column] if len(columns) > 1 else columns[0], key)
        if not self.append_only:
            return by_hash(columns, n)
        return np.zeros(n, np.int64) if arrival is None else arrival

    def _add(self, rows: pa.RecordBatch, counts: Array | None, extras: list[pa.Array] | None = None) -> Array:
        slots = self.store.add(rows, counts, extras)
        if len(self.is_cold) < self.store.table.capacity:
            self.is_cold = grown(self.is_cold, self.store.table.capacity)
        self.is_cold[slots] = False
        self._added.append(slots)
        return slots

    def _remove(
        self, minus: pa.RecordBatch, counts: Array, partitions: Array
    ) -> tuple[Array, pa.RecordBatch, Array, Array]:
        """Takes rows away; the slots that are empty now, and of what went the part that was hot."""
        slots = self.store.find(minus)
        counts = np.minimum(counts, self.store.copies(np.maximum(slots, 0)))
        there = (slots >= 0) & (counts > 0)
        if self.node.ttl:
            self.context.lost(int(np.count_nonzero(~there)))
        hot = there & ~self.is_cold[slots]
        gone = slots[there][self.store.remove(slots[there], counts[there])]
        self.hot.remove(gone, gone)
        self.cold.remove(gone, gone)
        return gone, minus.filter(pa.array(hot)), counts[hot], partitions[hot]

    def _refill(self, changed: Array, coming: Array, counts: Array) -> None:
        """Makes all rows hot of partitions whose hot ones may be fewer than `last`."""
        cold = changed[self.cold.counts(changed) > 0]
        if not len(cold):
            return
        group, slots = self.hot.probe(cold)
        n = np.bincount(group, weights=self.store.copies(slots), minlength=len(cold))
        added = among(coming, cold)
        n += np.bincount(np.searchsorted(cold, coming[added]), weights=counts[added], minlength=len(cold))
        cold = cold[n < self.node.last]
        group, slots = self.cold.probe(cold)
        self.cold.remove(slots, slots)
        self.hot.add(cold[group], slots)
        self.is_cold[slots] = False
        self.threshold[cold] = GREATEST

    # ---- ranks

    def _rank(self, c: Candidates, group: Array, groups: int, copies: Array) -> Ranked:
        stored, minus = len(c.slots), c.minus.num_rows
        keys: list[Array] = []
        for k in self.node.order:
            keys += sortable(c.column(k.column), k)
        if not self.node.order and not self.append_only:
            keys = [by_hash(c.columns(), len(group))]
        order, new = sort(group, keys, groups)
        if self.node.function == "ROW_NUMBER":
            order = break_ties(order, new, (lambda: [pa.array(c.arrival())]) if self.node.by_arrival else c.columns)
        order, new = as_often(order, new, copies)
        old = order < stored + minus
        now = (order < stored) | (order >= stored + minus)
        group = group[order]
        start = np.empty(len(order), np.bool_)
        start[:1] = True
        start[1:] = group[1:] != group[:-1]
        function = self.node.function
        before, after = ranks(function, old, start, new), ranks(function, now, start, new)
        return Ranked(order, group, np.cumsum(new) - 1, now, before, after, stored, minus)

    def _emit(self, c: Candidates, r: Ranked, out: Delta) -> None:
        node = self.node
        was, is_ = ((n >= node.first) & (n <= node.last) for n in (r.before, r.after))
        same = was & is_ & (r.before == r.after) if node.rank else was & is_
        goes, comes = was & ~same, is_ & ~same
        at = np.concatenate([r.order[goes], r.order[comes]])
        if not len(at):
            return
        sign = np.repeat(np.array([-1, 1]), [np.count_nonzero(goes), np.count_nonzero(comes)])
        order = np.argsort(at, kind="stable")
        rows, sign = c.take(at[order]), sign[order]
        if node.rank:
            rank = np.concatenate([r.before[goes], r.after[comes]])[order]
            rows = rows.append_column(f"c{len(c.store.layout.columns)}", pa.array(rank))
        if self._may_cancel(r, goes, comes):
            rows, sign = repeated(*net(with_operations(rows, operations(sign)), rows.num_columns))
        if rows.num_rows:
            changes = paired(rows, sign, node.traits.key, node.traits.single)
            out.batches.append(pa.RecordBatch.from_arrays(changes.columns, schema=node.arrow_schema()))

    def _may_cancel(self, r: Ranked, goes: Array, comes: Array) -> bool:
        """Whether a row that goes may equal one that comes: only peers can, at one rank where that is shown."""
        left, entered = r.peer[goes], r.peer[comes]
        if self.node.rank:
            width = int(max(r.before.max(), r.after.max())) + 1
            left, entered = left * width + r.before[goes], entered * width + r.after[comes]
        return bool(among(left, entered).any())

    # ---- what stays

    def _keep(
        self, c: Candidates, r: Ranked, changed: Array, coming: Array, counts: Array, arrival: Array | None
    ) -> None:
        if self.append_only:
            kept = np.zeros(r.stored + c.plus.num_rows, np.bool_)
            kept[r.order[r.after <= self.node.last]] = True
            mask = kept[r.stored :]
            extras = None if arrival is None else [pa.array(arrival[mask])]
            slots = self._add(c.plus.filter(pa.array(mask)), None, extras)
            self.hot.add(coming[mask], slots)
            if self.node.ttl:
                self._renew_peers(c, r)
            dropped = c.slots[~kept[: r.stored]]
            self.hot.remove(dropped, dropped)
            self.store.delete(dropped)
            self._limit(c, r, changed)
            return
        slots = self._add(c.plus, counts)
        self.hot.add(coming, slots)
        if self.node.function == "DENSE_RANK":
            return
        n = np.bincount(r.group, weights=r.now, minlength=len(changed))
        large = n > 4 * self.node.last + 64
        if large.any():
            self._cool(changed[large])

    def _renew_peers(self, c: Candidates, r: Ranked) -> None:
        """Rows live on with each that comes beside them in the order: Flink keeps them as one list."""
        come = (r.order >= r.stored) & (r.after <= self.node.last)
        peers = among(r.peer, r.peer[come]) & (r.order < r.stored)
        self.store.table.touch(c.slots[r.order[peers]])

    def _limit(self, c: Candidates, r: Ranked, changed: Array) -> None:
        """Sets the threshold of partitions that are full: what comes after their last row need not be looked at."""
        last = self.node.last
        kept = r.after <= last
        full = np.bincount(r.group, weights=kept, minlength=len(changed)) >= last
        if self.node.function == "DENSE_RANK":
            full = np.bincount(r.group, weights=r.after == last, minlength=len(changed)) > 0
        # The last kept row of each partition: of repeated positions the last assignment holds.
        worst = np.full(len(changed), -1)
        worst[r.group[kept]] = r.order[kept]
        worst, partitions = worst[full], changed[full]
        if not len(worst):
            return
        if self.node.order:
            column = c.column(self.node.order[0].column).take(pa.array(worst))
            self.threshold[partitions] = self._coarse([column], len(worst), None)
        elif self.node.by_arrival:
            self.threshold[partitions] = c.arrival()[worst]
        else:
            self.threshold[partitions] = -1  # whoever came first stays

    def _cool(self, partitions: Array) -> None:
        """Keeps about 2 * last rows of each partition hot."""
        group, slots = self.hot.probe(partitions)
        which = [self.node.order[0].column] if self.node.order else list(range(len(self.store.layout.columns)))
        level = self._coarse(self.store.columns(slots, which), len(slots), None)
        order, _ = sort(group, [level], len(partitions))
        group, slots, level = group[order], slots[order], level[order]
        first = np.searchsorted(group, np.arange(len(partitions)))
        limit = level[np.minimum(first + 2 * self.node.last + 31, np.append(first[1:], len(group)) - 1)]
        self.threshold[partitions] = limit
        far = level > limit[group]
        self.hot.remove(slots[far], slots[far])
        self.cold.add(partitions[group[far]], slots[far])
        self.is_cold[slots[far]] = True

    def _expire(self) -> None:
        """Forgets the rows whose time is over, without a word: of an append-only input each by itself, else those of a
        partition together."""
        slots = self.store.table.expired()
        if len(slots) and not self.append_only:
            slots = self.lives.over(slots, self.index.find(self.store.partition(slots), len(slots)))
        if not len(slots):
            return
        self.hot.remove(slots, slots)
        self.cold.remove(slots, slots)
        if self.append_only:  # there is room for others, however late in the order
            self.threshold[self.index.find(self.store.partition(slots), len(slots))] = GREATEST
        self._forget(slots)

    def _forget(self, gone: Array) -> None:
        """Deletes rows that went and were not taken over, and partitions without rows."""
        if self._added:
            gone = gone[~among(gone, np.concatenate(self._added))]
        partitions = self.index.find(self.store.partition(gone), len(gone))
        self.store.delete(gone)
        self._forget_empty(ascending(partitions))

    def _write(self, partitions: Array) -> None:
        """Rows of these partitions came or went."""
        group, slots = self.hot.probe(partitions)
        self.lives.write(partitions, slots[np.flatnonzero(np.diff(group, prepend=-1))])
        self._forget_empty(partitions)  # where what was taken back was not there

    def _forget_empty(self, partitions: Array) -> None:
        partitions = partitions[self.index.index.live[partitions]]
        empty = partitions[(self.hot.counts(partitions) == 0) & (self.cold.counts(partitions) == 0)]
        self.threshold[empty] = GREATEST
        self.index.delete(empty)


def as_often(order: Array, new: Array, copies: Array) -> tuple[Array, Array]:
    """`order` with each row as often as it is there (`copies`, by row), and where one differs from the one before."""
    if (copies == 1).all():
        return order, new
    times = copies[order]
    first = np.cumsum(times) - times
    order = np.repeat(order, times)
    spread = np.zeros(len(order), np.bool_)
    spread[first[new]] = True
    return order, spread


def ranks(function: str, there: Array, start: Array, new: Array) -> Array:
    """The rank of each row among those that are `there`, in their order; 0 for others. `start`: where a partition
    begins, `new`: where a row differs from the one before."""
    before = np.cumsum(there) - there
    if function == "DENSE_RANK":
        peers = np.cumsum(new) - 1
        some = np.bincount(peers, weights=there, minlength=1) > 0
        before = (np.cumsum(some) - some)[peers]
    elif function == "RANK":
        before = before[np.maximum.accumulate(np.where(new, np.arange(len(new)), 0))]
    first = before[np.maximum.accumulate(np.where(start, np.arange(len(start)), 0))]
    return np.where(there, before - first + 1, 0)


@dataclass(frozen=True)
class Ranked:
    """Candidates (with their copies) in order: candidate, partition, number of its peers (rows with which it ties),
    whether it is there now, and its rank before and after the epoch (0: not there)."""

    order: Array
    group: Array
    peer: Array
    now: Array
    before: Array
    after: Array
    stored: int
    minus: int
