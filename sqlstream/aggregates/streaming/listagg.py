"""The streaming half of LISTAGG."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sqlstream.aggregates.streaming.half import Call, Groups
from sqlstream.aggregates.streaming.kept import GroupRows, Kept
from sqlstream.aggregates.streaming.part import Part, Rows
from sqlstream.state.arrays import Array


class Separator(Part):
    """LISTAGG's separator: a constant, kept from the group's first row."""

    types = (pa.string(),)

    def start(self, slots: Array) -> None:
        """NULL until there is a row."""

    def add(self, rows: Rows) -> None:
        c = self.columns[0]
        new = ~c.valid[rows.slots]
        if new.any():
            assert rows.values is not None
            c.set(rows.slots[new], rows.values.filter(pa.array(new)))

    def merge(self, into: Array, part: Separator, slots: Array) -> None:
        given = part.columns[0].valid[slots]
        self.add(Rows(into[given], values=part.read(slots[given])))

    def read(self, slots: Array) -> pa.Array:
        return self.columns[0].get(slots)


class Listed(Kept):
    """LISTAGG."""

    def __init__(self, call: Call, groups: Groups) -> None:
        super().__init__(call, groups)
        self.separator = groups.part(Separator, call.args[1], call) if len(call.args) > 1 else None

    def of_the_rows(self, call: Call) -> tuple[int, ...]:
        return call.args[:1]

    def of_rows(self, rows: GroupRows, slots: Array) -> pa.Array:
        rows = rows.repeated()
        if self.separator is None:
            separators = pa.array([","]).take(pa.array(np.zeros(len(slots), np.int64)))
        else:
            separators = self.groups.read(self.separator, slots)
        return pc.binary_join(rows.as_lists(rows.args[0], rows.sizes == 0), separators.fill_null(""))
