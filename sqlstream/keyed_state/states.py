"""All keyed states of an operator, and the views of the key at hand."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pyarrow as pa

from sqlstream.errors import InternalError
from sqlstream.keyed_state.current import CurrentKey
from sqlstream.keyed_state.descriptors import (
    AggregatingStateDescriptor,
    ListStateDescriptor,
    MapStateDescriptor,
    ReducingStateDescriptor,
    StateDescriptor,
    ValueStateDescriptor,
)
from sqlstream.keyed_state.folds import (
    AggregatingState,
    AggregatingTable,
    FoldState,
    FoldTable,
    ReducingState,
    ReducingTable,
)
from sqlstream.keyed_state.lists import ListState, ListTable
from sqlstream.keyed_state.maps import MapState, MapTable
from sqlstream.keyed_state.values import ValueState, ValueTable
from sqlstream.state.spec import StateSpec
from sqlstream.state.table import StateTable

Table = ValueTable | ListTable | MapTable | FoldTable
View = ValueState | ListState | MapState | FoldState


class KeyedStates:
    """`tables`: of many keys at once, and `views`: of the key at hand, by the states' names; `key`: that key.

    states.begin(columns, count)        # an epoch, and its distinct keys
    states.key.at = 3                   # now views are of the fourth of them
    states.flush()                      # what changed is in the tables
    """

    def __init__(
        self,
        descriptors: Iterable[StateDescriptor[Any]],
        key: pa.Schema,
        state: Callable[[StateSpec], StateTable],
        ttl: int = 0,
    ) -> None:
        self.key = CurrentKey()
        self.tables: dict[str, Table] = {}
        self.views: dict[str, View] = {}
        for d in descriptors:
            table, view = self._made(d, state(d.spec(key, ttl)))
            self.tables[d.name], self.views[d.name] = table, view

    def _made(self, d: StateDescriptor[Any], table: StateTable) -> tuple[Table, View]:
        if isinstance(d, ValueStateDescriptor):
            values = ValueTable(table)
            return values, ValueState(d.name, d.value_type, values, self.key)
        if isinstance(d, ListStateDescriptor):
            lists = ListTable(table)
            return lists, ListState(d.name, d.value_type, lists, self.key)
        if isinstance(d, MapStateDescriptor):
            maps = MapTable(table)
            return maps, MapState(d.name, d.types, maps, self.key)
        if isinstance(d, ReducingStateDescriptor):
            reduced = ReducingTable(d, table)
            return reduced, ReducingState(d, reduced, self.key)
        if isinstance(d, AggregatingStateDescriptor):
            aggregated = AggregatingTable(d, table)
            return aggregated, AggregatingState(d, aggregated, self.key)
        raise InternalError(f"{type(d).__name__} is no keyed state")

    def begin(self, columns: list[pa.Array], count: int) -> None:
        """An epoch with these keys. What lives no more is deleted."""
        self.key.columns, self.key.count, self.key.at = columns, count, 0
        for table in self.tables.values():
            table.expire()

    def clear(self) -> None:
        """All states of the key at hand."""
        for view in self.views.values():
            view.clear()

    def flush(self) -> None:
        """Writes what changed."""
        for view in self.views.values():
            view.flush()
