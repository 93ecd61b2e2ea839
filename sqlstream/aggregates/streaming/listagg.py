"""The streaming half of LISTAGG: by arrival where that is known and rows stay, else sorted."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from sqlstream.aggregates.streaming.half import Call, Groups, Half
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


class Listed(Half):
    """LISTAGG."""

    def __init__(self, call: Call, groups: Groups) -> None:
        super().__init__(call, groups)
        argument, *separator = call.args
        self.index = groups.index(argument, call, ordered=groups.arrival)
        self.index.listed = True
        self.separator = groups.part(Separator, separator[0], call) if separator else None

    def result(self, slots: Array) -> pa.Array:
        if self.separator is None:
            separators = pa.array([","]).take(pa.array(np.zeros(len(slots), np.int64)))
        else:
            separators = self.groups.read(self.separator, slots)
        return self.index.lists(slots, self.call.filter, self.call.distinct, separators)
