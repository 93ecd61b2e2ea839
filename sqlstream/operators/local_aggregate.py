"""LocalAggregate: the first phase of a GROUP BY in several tasks. It makes one row of an epoch's rows of a group, so that
few rows go to the task that the group is in.

What leaves it is of its input's schema: batches of rows as they came, or a *partial batch* in their place, with a row for
each of the epoch's groups: their key columns, by the names that these have, and the columns of the aggregation's parts.
GroupAggregate merges such rows into its groups. Of DISTINCT without calls the first row of each group stands for all.

It keeps nothing, and is part of the way to GroupAggregate as the Exchange between them is: with one task there is none, and
a job goes on with it or without it.

An `adaptive` one looks at rows first: where they are few, or many of them are of different groups, rows go on as they came.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from sqlstream.aggregates.streaming.part import EVERY
from sqlstream.batches import ORD, Delta, hidden, signs
from sqlstream.operators.aggregation import Aggregation
from sqlstream.operators.base import Operator, OperatorContext, Way
from sqlstream.operators.distribution import Spread
from sqlstream.plan.nodes import AggCall
from sqlstream.state.arrays import Array
from sqlstream.state.index import HashIndex
from sqlstream.types import Schema

LEAST = 4096  # rows of an epoch in one task for which a phase more is worth while
SAMPLE = 8  # the first n-th of an epoch's rows tell whether
# Of these rows, groups: of more a phase more costs what it saves. That is some twenty rows a group in an epoch.
SHARE = 1 / 3
REST = 16  # epochs at most that are let through after one of many groups


@dataclass(frozen=True)
class LocalAggregate(Way):
    """keys, calls: GroupAggregate's."""

    keys: tuple[int, ...]
    calls: tuple[AggCall, ...]
    adaptive: bool
    name = "LocalAggregate"

    def __post_init__(self) -> None:
        self.derive(self.inputs[0].schema, self.inputs[0].traits)

    def distribution(self) -> tuple[tuple[int, ...] | None, ...]:
        return (None,)

    def spread(self) -> Spread | None:
        return self.placed(0)

    def details(self) -> str:
        return aggregate_details(self.schema, self.keys, self.calls)

    def aggregation(self) -> Aggregation:
        """The calls over the groups of an epoch."""
        traits = self.inputs[0].traits
        return Aggregation(
            self.calls,
            self.schema,
            append_only=traits.append_only,
            arrival=traits.arrival,
            counted=not traits.append_only,
        )

    def operator(self, context: OperatorContext) -> Operator:
        return LocalOperator(context, self)


def aggregate_details(schema: Schema, keys: tuple[int, ...], calls: tuple[AggCall, ...]) -> str:
    """Keys and calls, as EXPLAIN prints them."""
    text = f"keys=[{', '.join(schema[k].name for k in keys)}]"
    return text + (f", calls=[{', '.join(c.text(schema) for c in calls)}]" if calls else "")


def partial_schema(aggregation: Aggregation, keys: tuple[int, ...]) -> pa.Schema:
    """Of partial batches."""
    columns = [pa.field(f"c{k}", aggregation.schema[k].type.arrow()) for k in keys]
    return pa.schema([*columns, *aggregation.fields()])


class LocalOperator(Operator):
    """The running half: groups of an epoch, in memory."""

    def __init__(self, context: OperatorContext, node: LocalAggregate) -> None:
        super().__init__(context)
        self.node = node
        self._types = [node.schema[k].type.arrow() for k in node.keys]
        aggregation = node.aggregation()
        self._schema = partial_schema(aggregation, node.keys) if aggregation.parts else None
        self._rest = self._resting = 0  # epochs that are let through yet; how many after the next one of many groups

    def step(self, inputs: list[Delta]) -> Delta:
        batches = [b for b in inputs[0].batches if b.num_rows]
        rows = sum(b.num_rows for b in batches)
        if not rows or (self.node.adaptive and self._passes(rows)):
            return inputs[0]
        groups = self._groups(batches, rows // SAMPLE if self.node.adaptive else rows)
        if groups is None:
            self._resting = min(max(1, 2 * self._resting), REST)
            self._rest = self._resting
            return inputs[0]
        self._resting = 0
        return Delta(self._made(*groups), inputs[0].time)

    def _passes(self, rows: int) -> bool:
        if rows < LEAST:
            return True
        self._rest -= 1
        return self._rest >= 0

    def _groups(
        self, batches: list[pa.RecordBatch], sample: int
    ) -> tuple[list[pa.RecordBatch], list[Array], list[Array]] | None:
        """Batches with their rows' groups, numbered as they appear, and which rows are the first of theirs. None: too many after
        `sample` rows."""
        index, seen = HashIndex(self._types), 0
        taken: list[pa.RecordBatch] = []
        slots: list[Array] = []
        firsts: list[Array] = []
        for b in _cut(batches, sample):
            at, fresh = index.upsert([b.column(k) for k in self.node.keys], b.num_rows)
            seen += b.num_rows
            if self.node.adaptive and seen >= sample and index.index.size > seen * SHARE:
                return None
            taken.append(b)
            slots.append(at)
            firsts.append(fresh)
        return taken, slots, firsts

    def _made(self, batches: list[pa.RecordBatch], slots: list[Array], firsts: list[Array]) -> list[pa.RecordBatch]:
        found = [b.filter(pa.array(f)) for b, f in zip(batches, firsts, strict=True) if f.any()]
        if self._schema is None:
            return found
        n = sum(b.num_rows for b in found)
        aggregation = self.node.aggregation()
        aggregation.open_scratch(n)
        for b, at in zip(batches, slots, strict=True):
            given = signs(b)
            aggregation.add(at, EVERY if given is None else given, b, [], hidden(b, ORD))
        keys = [pa.concat_arrays([b.column(k) for b in found]) for k in self.node.keys]
        return [pa.RecordBatch.from_arrays([*keys, *aggregation.partials(np.arange(n))], schema=self._schema)]


def _cut(batches: list[pa.RecordBatch], n: int) -> Iterator[pa.RecordBatch]:
    """The same rows, of which a batch ends after the first n."""
    for b in batches:
        if 0 < n < b.num_rows:
            yield b.slice(0, n)
            yield b.slice(n)
        else:
            yield b
        n -= b.num_rows
