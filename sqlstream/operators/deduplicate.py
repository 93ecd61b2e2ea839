"""Deduplicate: one row for each partition, the first by order. The fast case of TopN.

In: append-only rows. State: the kept row of each partition, with its `_ord`. Out: +I for a new partition, -U and +U
when a better row came: in general a changelog, since rows need not come in order. Rows without arrival, or ordered
by other columns than such of fixed width, take TopN's way.

`keep`: of rows that tie by order the first or the last to arrive is kept.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from sqlstream.batches import ORD, Delta, Kind, concat, hidden, meet, visible
from sqlstream.errors import InternalError
from sqlstream.operators.base import Operator, OperatorContext, Traits
from sqlstream.operators.join_kernels import first_of
from sqlstream.operators.ordering import sortable
from sqlstream.operators.partitioned import Partitioned
from sqlstream.operators.top_n import TopN, best_once
from sqlstream.state.arrays import Array, grown, is_words
from sqlstream.state.spec import StateSpec
from sqlstream.types import Schema


@dataclass(frozen=True)
class Deduplicate(Partitioned):
    """`output`: the input's columns, and a BIGINT rank (always 1) if it has one column more."""

    keep: str
    output: Schema

    name = "Deduplicate"
    changes = "top-N"

    @property
    def once(self) -> str:  # type: ignore[override]
        return best_once(self.inputs[0].schema, self.partition)

    def __post_init__(self) -> None:
        (input_,) = self.inputs
        if self.keep not in ("first", "last"):
            raise InternalError(f"Deduplicate: keep {self.keep}")
        if len(self.output) - len(input_.schema) not in (0, 1):
            raise InternalError(f"Deduplicate: {len(self.output)} output columns")
        if not input_.traits.append_only:
            raise InternalError("Deduplicate takes append-only rows")
        self.derive(self.output, Traits(append_only=False, key=self.partition))

    def details(self) -> str:
        return f"{self.place()}, keep={self.keep}"

    def states(self) -> tuple[StateSpec, ...]:
        if self.general is not None:
            return self.general.states()
        columns = self.inputs[0].schema.arrow()
        key = pa.schema([columns.field(p) for p in self.partition])
        value = [f for i, f in enumerate(columns) if i not in self.partition]
        return (
            StateSpec("rows", key, pa.schema([*value, pa.field(ORD, pa.int64())]), cold=len(key) > 0).living(self.ttl),
        )

    def lifetimes(self) -> tuple[tuple[str, int], ...]:
        return (("deduplicateState", self.ttl),)

    def operator(self, context: OperatorContext) -> Operator:
        return DeduplicateOperator(self, context) if self.general is None else self.general.operator(context)

    @property
    def general(self) -> TopN | None:
        """The operator that runs where the fast one cannot."""
        (input_,) = self.inputs
        if input_.traits.arrival and all(is_words(input_.schema[k.column].type.arrow()) for k in self.order):
            return None
        rank = len(self.output) > len(input_.schema)
        return TopN(self.inputs, self.partition, self.order, 1, 1, "ROW_NUMBER", rank, self.output, ttl=self.ttl)


class DeduplicateOperator(Operator):
    """The running half: the best of each partition among the epoch's rows, against the one that was kept."""

    def __init__(self, node: Deduplicate, context: OperatorContext) -> None:
        super().__init__(context)
        self.node = node
        self.schema = node.arrow_schema()
        self.width = len(node.inputs[0].schema)
        self.table = context.state(node.states()[0])
        self.values = [i for i in range(self.width) if i not in node.partition]
        self.best: Array = np.full(256, -1, np.int64)

    def step(self, inputs: list[Delta]) -> Delta:
        out, batch = Delta([], meet([d.time for d in inputs])), concat(inputs[0].batches)
        if batch is None:
            return out
        rows, arrival, table = visible(batch, self.width), hidden(batch, ORD), self.table
        table.expire()
        assert arrival is not None
        slots, fresh = table.upsert([rows.column(p) for p in self.node.partition], rows.num_rows)
        if len(self.best) < table.capacity:
            self.best = grown(self.best, table.capacity, -1)
        keys = self._keys([rows.column(k.column) for k in self.node.order], arrival)
        first = np.empty(len(slots), np.int64)
        first = first[: first_of(slots, keys, self.best, first)]
        touched, new = slots[first], fresh[first]
        winner = self.best[touched]
        self.best[touched] = -1

        old = touched[~new]
        better = np.ones(len(touched), np.bool_)
        if len(old):
            kept = self._keys([self._column(k.column, old) for k in self.node.order], table.fixed(ORD).data[old])
            better[~new] = less(keys[winner[~new]], kept)
        replaced = touched[better & ~new]
        if len(replaced):
            columns = [self._column(i, replaced) for i in range(self.width)]
            out.batches.append(self._batch(columns, np.full(len(replaced), Kind.UPDATE_BEFORE, np.int8)))
        winner, touched, new = winner[better], touched[better], new[better]
        if len(winner):
            taken = rows.take(pa.array(winner))
            table.put(touched, [*(taken.column(i) for i in self.values), pa.array(arrival[winner])])
            op = np.where(new, np.int8(Kind.INSERT), np.int8(Kind.UPDATE_AFTER))
            out.batches.append(self._batch(taken.columns, op))
        return out

    def _keys(self, columns: list[pa.Array], arrival: Array) -> Array:
        """(n, m) int64: rows in order. Whether a value is NULL is always a key of its own, so all batches agree."""
        keys: list[Array] = []
        for a, k in zip(columns, self.node.order, strict=True):
            exact = sortable(a, k)
            if len(exact) == 1:
                exact = [np.full(len(a), int(k.nulls_first), np.int64), *exact]
            keys += exact
        keys.append(~arrival if self.node.keep == "last" else arrival)
        return np.stack(keys, axis=1)

    def _column(self, i: int, slots: Array) -> pa.Array:
        if i in self.node.partition:
            return self.table.keys(slots)[self.node.partition.index(i)]
        return self.table.column(f"c{i}").get(slots)

    def _batch(self, columns: list[pa.Array], op: Array) -> pa.RecordBatch:
        if len(self.node.output) > self.width:
            columns = [*columns, pa.array(np.ones(len(op), np.int64))]
        return pa.RecordBatch.from_arrays([*columns, pa.array(op)], schema=self.schema)


def less(a: Array, b: Array) -> Array:
    """Row by row, whether a's keys come before b's."""
    out, equal = np.zeros(len(a), np.bool_), np.ones(len(a), np.bool_)
    for j in range(a.shape[1]):
        out |= equal & (a[:, j] < b[:, j])
        equal &= a[:, j] == b[:, j]
    return out
