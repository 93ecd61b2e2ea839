"""GroupAggregate: GROUP BY without windows, over an append-only stream or a changelog; also SELECT DISTINCT.

In: changes; in several tasks perhaps partial results of an epoch's changes (local_aggregate.py). State: one row a group with its accumulators; values a group for DISTINCT and for extremes of a changelog
(value_index.py). Out, once an epoch and group: +I for a new group, -U (where it is wanted) and +U where a result
changed, -D when a group's last row is gone. Without keys there is one row from the first epoch on, and never a -D.
DISTINCT over an append-only stream (no calls) is append-only: each row that has not been seen.

Where groups live for a time, as in Flink: a result that stays is said again, so that whoever reads it keeps what it
has of it; and a group begins with a row that comes, so retractions before it are of rows that are gone, and dropped.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sqlstream.aggregates.streaming.part import EVERY, Scratch
from sqlstream.batches import OP, ORD, Delta, Kind, concat, hidden, meet, signs, visible
from sqlstream.operators.aggregation import Aggregation
from sqlstream.operators.base import Operator, OperatorContext, PhysicalNode, Traits
from sqlstream.operators.changelog import repeated, with_operations
from sqlstream.operators.distribution import Spread, places_in
from sqlstream.operators.local_aggregate import LocalAggregate, aggregate_details, partial_schema
from sqlstream.operators.row_store import begun, distinct
from sqlstream.plan.nodes import TUNING, AggCall
from sqlstream.state.arrays import Array, combined, fixed, from_fixed, is_pair, is_words, validity
from sqlstream.state.table import StateSpec, StateTable
from sqlstream.state.uniques import Uniques
from sqlstream.types import Schema


@dataclass(frozen=True)
class GroupAggregate(PhysicalNode):
    """keys: input columns. output: the logical Aggregate's schema: keys, then calls. before: whether -U are wanted."""

    keys: tuple[int, ...]
    calls: tuple[AggCall, ...]
    output: Schema
    before: bool = True
    ttl: int = field(default=0, kw_only=True, metadata=TUNING)
    name = "GroupAggregate"
    changes = "GROUP BY"

    def __post_init__(self) -> None:
        traits = self.inputs[0].traits
        distinct = not self.calls and traits.append_only and bool(self.keys)
        key = tuple(range(len(self.keys)))
        traits = Traits(distinct, key, single=not self.keys, paired=not distinct, before=self.before or distinct)
        self.derive(self.output, traits)
        self.aggregation()  # refuses calls that cannot run

    def meaning(self) -> tuple[Any, ...]:
        return replace(self, before=True).identity()

    def distribution(self) -> tuple[tuple[int, ...] | None, ...]:
        return (self.keys,)

    def spread(self) -> Spread | None:
        below = self.placed(0)
        return None if below is None else below.moved(places_in(self.keys))

    def details(self) -> str:
        return aggregate_details(self.inputs[0].schema, self.keys, self.calls)

    def aggregation(self) -> Aggregation:
        """The calls over groups: a new one each time, that holds no rows yet."""
        traits = self.inputs[0].traits
        return Aggregation(
            self.calls,
            self.inputs[0].schema,
            append_only=traits.append_only,
            arrival=traits.arrival,
            counted=not traits.append_only,
            freed=self.ttl > 0 and not traits.append_only,
            ttl=self.ttl,
        )

    def lifetimes(self) -> tuple[tuple[str, int], ...]:
        return (("groupAggregateState", self.ttl),)

    def states(self) -> tuple[StateSpec, ...]:
        schema, keys = self.inputs[0].schema, self.keys
        return group_states(self.aggregation(), schema, keys, len(keys), by_key=bool(keys))

    def sent(self, i: int, phases: str) -> PhysicalNode:
        below = self.inputs[i]
        # What is taken back of groups whose time is over is known row by row.
        lost = self.ttl > 0 and not below.traits.append_only
        if phases == "ONE_PHASE" or lost or not self.aggregation().merges:
            return below
        return LocalAggregate((below,), self.keys, self.calls, phases == "AUTO")

    def without_before(self) -> PhysicalNode:
        return replace(self, before=False)

    def operator(self, context: OperatorContext) -> Operator:
        return DistinctOperator(context, self) if self.traits.append_only else GroupOperator(context, self)


def group_states(
    aggregation: Aggregation, schema: Schema, keys: tuple[int, ...], distribution: int, *, by_key: bool = False
) -> tuple[StateSpec, ...]:
    """The group table, keyed by the columns `keys` of the input, and the value indexes. `by_key`: nobody but these
    aggregates keeps slots of groups."""
    key = pa.schema([(f"c{k}", schema[k].type.arrow()) for k in keys])
    further = aggregation.specs(key, distribution)
    fields = pa.schema(aggregation.fields())
    groups = StateSpec("groups", key, fields, distribution, cold=by_key and all(s.cold for s in further))
    return (groups.living(aggregation.ttl), *further)


def open_groups(context: OperatorContext, node: PhysicalNode, aggregation: Aggregation) -> StateTable:
    """The group table with the aggregation on it."""
    table = context.state(node.states()[0])
    aggregation.open(table, context.state)
    return table


class GroupOperator(Operator):
    """The running half where groups change: what each was before the epoch, and what it is after."""

    def __init__(self, context: OperatorContext, node: GroupAggregate) -> None:
        super().__init__(context)
        self.node = node
        self._schema = node.arrow_schema()
        self._aggregation = node.aggregation()
        self._partial = node.aggregation()
        self._partials = partial_schema(self._partial, node.keys)
        self._uniques = Uniques()
        # Nobody wants to know what a group's result was, and it is another one with each row.
        self._forgets = not node.before and self._aggregation.counts_rows

    def open(self) -> None:
        self._table = open_groups(self.context, self.node, self._aggregation)

    def step(self, inputs: list[Delta]) -> Delta:
        out = Delta(time=meet([d.time for d in inputs]))
        batches = inputs[0].batches
        batch = concat([b for b in batches if b.schema != self._partials])
        partials = concat([b for b in batches if b.schema == self._partials])
        first = EVERY
        if (
            batch is not None or partials is not None or self.node.keys
        ):  # the one group without keys is there until a row begins it anew
            self._aggregation.expire(self._table)
        if batch is not None and self.node.ttl:
            batch = self._without_lost(batch)
        if not self.node.keys and self.context.subtask == 0:
            slots, fresh = self._table.upsert([], 1)
            first = slots[fresh]
            self._aggregation.start(first)
        rows = None
        if batch is not None or partials is not None:
            rows = self._apply(batch, partials, first)
        elif len(first):
            rows = changelog([(Kind.INSERT, self._aggregation.result(first))], self._schema)
        if rows is not None:
            out.batches.append(rows)
        return out

    def _without_lost(self, batch: pa.RecordBatch) -> pa.RecordBatch | None:
        """Without what is taken back of groups that are not there before a row of them comes. None: nothing is left."""
        given = signs(batch)
        if given is None:
            return batch
        missing = self._table.find([batch.column(k) for k in self.node.keys], batch.num_rows) < 0
        if not (missing & (given < 0)).any():
            return batch
        width = len(self.node.inputs[0].schema)
        rows, counts, lost = begun(batch.filter(pa.array(missing)), width)
        self.context.lost(lost)
        rows, sign = repeated(rows, counts)
        known = batch.filter(pa.array(~missing))
        op = hidden(known, OP)
        assert op is not None
        return concat([with_operations(visible(known, width), op), with_operations(rows, np.zeros(len(sign), np.int8))])

    def _apply(
        self, batch: pa.RecordBatch | None, partials: pa.RecordBatch | None, first: Array
    ) -> pa.RecordBatch | None:
        """Takes rows in, and partial results; the net change. `first`: the row of an aggregate without keys, if it is new."""
        table, aggregation = self._table, self._aggregation
        given = [b for b in (batch, partials) if b is not None]
        keys = [combined(pa.chunked_array([b.column(f"c{k}") for b in given])) for k in self.node.keys]
        slots, fresh = table.upsert(keys, sum(b.num_rows for b in given))
        new = np.concatenate([first, slots[fresh]])
        aggregation.start(slots[fresh])
        touched, local = self._uniques.of(slots, table.capacity)
        is_new = np.full(len(touched), len(first) > 0)
        is_new[local[fresh]] = True
        known = EVERY if self._forgets else touched[~is_new]
        old = aggregation.result(known)
        rows = 0
        if batch is not None:
            rows, sign = batch.num_rows, signs(batch)
            own = keys if partials is None else [k.slice(0, rows) for k in keys]
            aggregation.add(slots[:rows], EVERY if sign is None else sign, batch, own, hidden(batch, ORD))
        if partials is not None:
            self._partial.open(Scratch.of(partials))
            aggregation.merge(slots[rows:], self._partial, np.arange(partials.num_rows), [])
        table.touch(touched)
        if self._forgets:
            updated, made = touched[~is_new], touched[is_new]
            touched = np.concatenate([updated, made])
            kinds = np.repeat(np.array([Kind.UPDATE_AFTER, Kind.INSERT], np.int8), [len(updated), len(made)])
            columns = [*table.keys(touched), *aggregation.result(touched), pa.array(kinds)]
            return pa.RecordBatch.from_arrays(columns, schema=self._schema)
        parts: list[tuple[Kind, list[pa.Array]]] = []
        if keys and not aggregation.append_only:
            there = aggregation.rows_of(known) > 0
            if not there.all():
                dead = known[~there]
                parts.append((Kind.DELETE, [*table.keys(dead), *kept(old, ~there)]))
                if self.node.ttl:  # values may be left whose rows came before another's time was over
                    aggregation.free(dead)
                table.delete(dead)
                known, old = known[there], kept(old, there)
            stays = aggregation.rows_of(new) > 0
            if self.node.ttl:
                aggregation.free(new[~stays])
            table.delete(new[~stays])
            new = new[stays]
        results = aggregation.result(known)
        differs = None if self.node.ttl else different(old, results, len(known))
        if differs is not None and not differs.all():
            known, old, results = known[differs], kept(old, differs), kept(results, differs)
        if not self.node.before:
            parts.append((Kind.UPDATE_AFTER, [*table.keys(known), *results]))
        elif len(known):
            pairs = [interleaved(a, b) for a, b in zip(old, results, strict=True)]
            parts.append((Kind.UPDATE_BEFORE, [*table.keys(np.repeat(known, 2)), *pairs]))
        parts.append((Kind.INSERT, [*table.keys(new), *aggregation.result(new)]))
        return changelog(parts, self._schema)


def changelog(parts: list[tuple[Kind, list[pa.Array]]], schema: pa.Schema) -> pa.RecordBatch | None:
    """Columns of rows of one kind each, as one batch in this order; None for no rows. Those of UPDATE_BEFORE are pairs:
    every other row is an UPDATE_AFTER."""
    parts = [(kind, columns) for kind, columns in parts if columns and len(columns[0])]
    if not parts:
        return None
    kinds = []
    for kind, columns in parts:
        kinds.append(np.full(len(columns[0]), int(kind), np.int8))
        if kind == Kind.UPDATE_BEFORE:
            kinds[-1][1::2] = Kind.UPDATE_AFTER
    one = len(parts) == 1
    columns = parts[0][1] if one else [pa.concat_arrays(list(c)) for c in zip(*(c for _, c in parts), strict=True)]
    return pa.RecordBatch.from_arrays([*columns, pa.array(np.concatenate(kinds))], schema=schema)


def interleaved(a: pa.Array, b: pa.Array) -> pa.Array:
    """a[0], b[0], a[1], b[1], …"""
    n, t = len(a), a.type
    if not (is_words(t) or is_pair(t)):
        return combined(pa.chunked_array([a, b])).take(pa.array(np.arange(2 * n).reshape(2, n).T.reshape(-1)))
    valid = np.empty(0, np.bool_)
    if a.null_count or b.null_count:
        valid = np.stack([each if each.size else np.ones(n, np.bool_) for each in map(validity, (a, b))], axis=1)
    return from_fixed(np.stack([fixed(a), fixed(b)], axis=1).reshape(2 * n, *fixed(a).shape[1:]), valid.reshape(-1), t)


def kept(columns: list[pa.Array], rows: Array) -> list[pa.Array]:
    """The columns of the rows where `rows`, a bool each, is True."""
    mask = pa.array(rows)
    return [c.filter(mask) for c in columns]


def different(a: list[pa.Array], b: list[pa.Array], n: int) -> Array:
    """Which rows differ in some column. NaN equals NaN, NULL equals NULL."""
    out = np.zeros(n, np.bool_)
    for x, y in zip(a, b, strict=True):
        out |= column_differs(x, y)
    return out


def column_differs(x: pa.Array, y: pa.Array) -> Array:
    """Where x and y differ, as bool. NaN equals NaN, NULL equals NULL."""
    t = x.type
    if pa.types.is_nested(t):
        slots, _ = distinct([pa.concat_arrays([x, y])], 2 * len(x))
        return np.asarray(slots[: len(x)] != slots[len(x) :])
    if not (is_words(t) or is_pair(t)):
        same = pc.equal(x, y).fill_null(False).to_numpy(zero_copy_only=False)
        both = x.is_null().to_numpy(zero_copy_only=False) & y.is_null().to_numpy(zero_copy_only=False)
        return np.asarray(~(same | both))
    p, q = fixed(x), fixed(y)
    out: Array = np.asarray(p != q) if p.ndim == 1 else np.any(p != q, axis=1)
    if p.dtype.kind == "f":
        out &= ~(np.isnan(p) & np.isnan(q))
    v, w = validity(x), validity(y)
    if v.size or w.size:
        v = v if v.size else np.ones(len(p), np.bool_)
        w = w if w.size else np.ones(len(p), np.bool_)
        out = (out & v & w) | (v != w)
    return out


class DistinctOperator(Operator):
    """SELECT DISTINCT over an append-only stream."""

    def __init__(self, context: OperatorContext, node: GroupAggregate) -> None:
        super().__init__(context)
        self.node = node
        self._schema = node.arrow_schema()

    def open(self) -> None:
        self._table = self.context.state(self.node.states()[0])

    def step(self, inputs: list[Delta]) -> Delta:
        out = Delta(time=meet([d.time for d in inputs]))
        batch = concat(inputs[0].batches)
        if batch is not None:
            keys = [batch.column(k) for k in self.node.keys]
            self._table.expire()
            slots, fresh = self._table.upsert(keys)
            if self.node.ttl:
                self._table.touch(slots)
            if fresh.any():
                mask = pa.array(fresh)
                out.batches.append(pa.RecordBatch.from_arrays([k.filter(mask) for k in keys], schema=self._schema))
        return out


__all__ = [
    "DistinctOperator", "GroupAggregate", "GroupOperator", "aggregate_details", "changelog", "different",
    "group_states", "open_groups",
]  # fmt: skip
