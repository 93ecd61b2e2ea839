"""The rows of open sessions, for calls that keep values (DISTINCT, LISTAGG, …)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa

from sqlstream.aggregates.streaming.part import EVERY
from sqlstream.batches import ORD
from sqlstream.operators.aggregation import Aggregation
from sqlstream.state.arrays import Array
from sqlstream.state.index import HashIndex
from sqlstream.state.multimap import MultiMap
from sqlstream.state.table import StateSpec, StateTable


class Columns:
    """Some columns of the input under their positions, for an Aggregation."""

    def __init__(self, columns: dict[int, pa.Array]) -> None:
        self._columns = columns

    def column(self, i: int) -> pa.Array:
        """The column at position i."""
        return self._columns[i]


class SessionRows:
    """The rows of open sessions, by session slot; for calls that keep values.

    arguments    the input columns that are kept
    aggregation  makes the calls, over no rows yet
    arrival      whether rows have `_ord`
    first        the number of the next row
    """

    def __init__(
        self,
        arguments: tuple[int, ...],
        aggregation: Callable[[], Aggregation],
        arrival: bool,
        table: StateTable,
        first: int,
    ) -> None:
        self._arguments, self._aggregation, self._arrival = arguments, aggregation, arrival
        self.table, self.next = table, first
        self._chains = MultiMap()

    def open(self, index: HashIndex, owners: Array, starts: Array, sessions: Array) -> None:
        """Each row belongs to the last session of its key that begins not after it."""
        rows = self.table.slots()
        if not len(rows):
            return
        times = self.table.fixed("t").data[rows]
        owner = index.find(self.table.keys(rows)[:-1], len(rows))
        n = len(sessions)
        order = np.lexsort((np.concatenate([starts, times]), np.concatenate([owners, owner])))
        held = np.maximum.accumulate(np.where(order < n, np.arange(len(order)), 0))
        is_row = order >= n
        self._chains.add(sessions[order[held[is_row]]], rows[order[is_row] - n])

    def add(
        self, sessions: Array, batch: pa.RecordBatch, keys: list[pa.Array], times: Array, arrival: Array | None
    ) -> None:
        """Rows of a batch, each for the session in `sessions`; `arrival`: their `_ord`, where that is known."""
        n = batch.num_rows
        slots, _ = self.table.upsert([*keys, pa.array(np.arange(self.next, self.next + n))])
        self.next += n
        values = [pa.array(times), *(batch.column(a) for a in self._arguments)]
        self.table.put(slots, values if arrival is None else [*values, pa.array(arrival)])
        self._chains.add(sessions, slots)

    def move(self, sessions: Array, into: Array) -> None:
        """Sessions that were merged: the rows of each go to that in `into`."""
        at, rows = self._chains.probe(sessions)
        self._chains.remove(sessions[at], rows)
        self._chains.add(into[at], rows)

    def result(self, sessions: Array) -> list[pa.Array]:
        """The calls' columns; forgets the rows."""
        at, rows = self._chains.probe(sessions)
        order = np.argsort(at, kind="stable")
        at, rows = at[order], rows[order]
        columns = {a: self.table.column(f"c{a}").get(rows) for a in self._arguments}
        arrival = self.table.fixed(ORD).data[rows] if self._arrival else None
        results = computed(self._aggregation(), at, len(sessions), columns, arrival)
        self._chains.remove(sessions[at], rows)
        self.table.delete(rows)
        return results


def computed(
    aggregation: Aggregation, of: Array, n: int, columns: dict[int, pa.Array], arrival: Array | None
) -> list[pa.Array]:
    """The columns of calls over n groups of rows, at once: `of` says the group of each row, `columns` what calls read of it."""
    table = StateTable(StateSpec("g", pa.schema([("s", pa.int64())]), pa.schema(aggregation.fields())))
    aggregation.open(table, StateTable)
    groups, _ = table.upsert([pa.array(np.arange(n))])
    aggregation.start(groups)
    aggregation.add(groups[of], EVERY, Columns(columns), [pa.array(of)], arrival)
    return aggregation.result(groups)
