"""GroupAggregate: GROUP BY without windows, over an append-only stream or a changelog; also SELECT DISTINCT.

In: changes. State: one row a group with its accumulators; values a group for DISTINCT and for extremes of a
changelog (value_index.py). Out, once an epoch and group: +I for a new group, -U and +U where a result changed, -D
when a group's last row is gone. Without keys there is one row from the first epoch on, and never a -D.
DISTINCT over an append-only stream (no calls) is append-only: each row that has not been seen.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sqlstream.batches import ORD, Delta, Kind, concat, hidden, meet, signs
from sqlstream.operators.accumulators import EVERY, Array, Uniques
from sqlstream.operators.aggregation import Aggregation
from sqlstream.operators.base import Operator, OperatorContext, PhysicalNode, Traits
from sqlstream.plan.nodes import AggCall
from sqlstream.state.arrays import fixed, is_pair, is_words, validity
from sqlstream.state.table import StateSpec, StateTable
from sqlstream.types import Schema


@dataclass(frozen=True)
class GroupAggregate(PhysicalNode):
    """keys: input columns. output: the logical Aggregate's schema: keys, then calls."""

    keys: tuple[int, ...]
    calls: tuple[AggCall, ...]
    output: Schema
    name = "GroupAggregate"

    def __post_init__(self) -> None:
        traits = self.inputs[0].traits
        distinct = not self.calls and traits.append_only and bool(self.keys)
        key = tuple(range(len(self.keys)))
        self.derive(self.output, Traits(append_only=distinct, key=key, single=not self.keys, paired=not distinct))
        self.aggregation()  # refuses calls that cannot run

    def distribution(self) -> tuple[tuple[int, ...] | None, ...]:
        return (self.keys,)

    def details(self) -> str:
        return aggregate_details(self.inputs[0].schema, self.keys, self.calls)

    def aggregation(self) -> Aggregation:
        traits = self.inputs[0].traits
        return Aggregation(
            self.calls,
            self.inputs[0].schema,
            append_only=traits.append_only,
            arrival=traits.arrival,
            counted=not traits.append_only,
        )

    def states(self) -> tuple[StateSpec, ...]:
        return group_states(self.aggregation(), self.inputs[0].schema, self.keys, len(self.keys))

    def operator(self, context: OperatorContext) -> Operator:
        return DistinctOperator(context, self) if self.traits.append_only else GroupOperator(context, self)


def aggregate_details(schema: Schema, keys: tuple[int, ...], calls: tuple[AggCall, ...]) -> str:
    text = f"keys=[{', '.join(schema[k].name for k in keys)}]"
    return text + (f", calls=[{', '.join(c.text(schema) for c in calls)}]" if calls else "")


def group_states(
    aggregation: Aggregation, schema: Schema, keys: tuple[int, ...], distribution: int
) -> tuple[StateSpec, ...]:
    """The group table, keyed by the columns `keys` of the input, and the value indexes."""
    key = pa.schema([(f"c{k}", schema[k].type.arrow()) for k in keys])
    groups = StateSpec("groups", key, pa.schema(aggregation.fields()), distribution)
    return (groups, *aggregation.specs(key, distribution))


def open_groups(context: OperatorContext, node: PhysicalNode, aggregation: Aggregation) -> StateTable:
    """The group table with the aggregation on it."""
    table = context.state(node.states()[0])
    aggregation.open(table, context.state)
    return table


class GroupOperator(Operator):
    def __init__(self, context: OperatorContext, node: GroupAggregate) -> None:
        super().__init__(context)
        self.node = node
        self._schema = node.arrow_schema()
        self._aggregation = node.aggregation()
        self._uniques = Uniques()

    def open(self) -> None:
        self._table = open_groups(self.context, self.node, self._aggregation)

    def step(self, inputs: list[Delta]) -> Delta:
        out = Delta(time=meet([d.time for d in inputs]))
        batch = concat(inputs[0].batches)
        first = EVERY
        if not self.node.keys and self.context.subtask == 0:
            slots, fresh = self._table.upsert([], 1)
            first = slots[fresh]
            self._aggregation.start(first)
        if batch is None:
            rows = changelog([(Kind.INSERT, self._aggregation.result(first))], self._schema) if len(first) else None
        else:
            rows = changelog(self._apply(batch, first), self._schema)
        if rows is not None:
            out.batches.append(rows)
        return out

    def _apply(self, batch: pa.RecordBatch, first: Array) -> list[tuple[Kind, list[pa.Array]]]:
        """Takes the rows in; the net change. `first`: the row of an aggregate without keys, if it is new."""
        table, aggregation = self._table, self._aggregation
        keys = [batch.column(k) for k in self.node.keys]
        slots, fresh = table.upsert(keys, batch.num_rows)
        new = np.concatenate([first, slots[fresh]])
        aggregation.start(slots[fresh])
        touched, local = self._uniques.of(slots, table.capacity)
        is_new = np.zeros(len(touched), np.bool_)
        is_new[local[fresh]] = True
        known = touched[~is_new] if not len(first) else EVERY
        old = aggregation.result(known)
        given = signs(batch)
        aggregation.add(slots, EVERY if given is None else given, batch, keys, hidden(batch, ORD))
        table.touch(touched)
        parts: list[tuple[Kind, list[pa.Array]]] = []
        if given is not None and keys:
            there = aggregation.rows_of(known) > 0
            if not there.all():
                dead = known[~there]
                gone = pa.array(~there)
                parts.append((Kind.DELETE, [*table.keys(dead), *(c.filter(gone) for c in old)]))
                table.delete(dead)
                known, old = known[there], [c.filter(pa.array(there)) for c in old]
            stays = aggregation.rows_of(new) > 0
            table.delete(new[~stays])
            new = new[stays]
        results = aggregation.result(known)
        differs = different(old, results, len(known))
        if differs.any():
            mask = pa.array(differs)
            row = table.keys(known[differs])
            parts.append((Kind.UPDATE_BEFORE, [*row, *(c.filter(mask) for c in old)]))
            parts.append((Kind.UPDATE_AFTER, [*row, *(c.filter(mask) for c in results)]))
        parts.append((Kind.INSERT, [*table.keys(new), *aggregation.result(new)]))
        return parts


def changelog(parts: list[tuple[Kind, list[pa.Array]]], schema: pa.Schema) -> pa.RecordBatch | None:
    """Columns of rows of one kind each, as one batch in this order, an update's two rows together; None for no rows."""
    parts = [(kind, columns) for kind, columns in parts if columns and len(columns[0])]
    if not parts:
        return None
    kinds = [np.full(len(columns[0]), int(kind), np.int8) for kind, columns in parts]
    columns = [pa.concat_arrays(list(c)) for c in zip(*(columns for _, columns in parts), strict=True)]
    out = pa.RecordBatch.from_arrays([*columns, pa.array(np.concatenate(kinds))], schema=schema)
    order, at = [], 0
    for kind, part in parts:
        n = len(part[0])
        if kind == Kind.UPDATE_BEFORE:
            order.append(np.stack([np.arange(at, at + n), np.arange(at + n, at + 2 * n)], axis=1).reshape(-1))
        elif kind != Kind.UPDATE_AFTER:  # those came with what was before
            order.append(np.arange(at, at + n))
        at += n
    return out if len(order) == len(parts) else out.take(pa.array(np.concatenate(order)))


def different(a: list[pa.Array], b: list[pa.Array], n: int) -> Array:
    """Which rows differ in some column. NaN equals NaN, NULL equals NULL."""
    out = np.zeros(n, np.bool_)
    for x, y in zip(a, b, strict=True):
        out |= column_differs(x, y)
    return out


def column_differs(x: pa.Array, y: pa.Array) -> Array:
    t = x.type
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
            _, fresh = self._table.upsert(keys)
            if fresh.any():
                mask = pa.array(fresh)
                out.batches.append(pa.RecordBatch.from_arrays([k.filter(mask) for k in keys], schema=self._schema))
        return out


__all__ = [
    "DistinctOperator", "GroupAggregate", "GroupOperator", "aggregate_details", "changelog", "different",
    "group_states", "open_groups",
]  # fmt: skip
