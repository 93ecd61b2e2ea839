"""The streaming halves of COUNT."""

from __future__ import annotations

import pyarrow as pa

from sqlstream.aggregates.streaming import kernels
from sqlstream.aggregates.streaming.half import Call, Groups, Half
from sqlstream.aggregates.streaming.part import EVERY, Part, Rows
from sqlstream.state.arrays import Array


class Count(Part):
    """How many rows there are, or give an argument."""

    types = (pa.int64(),)

    def add(self, rows: Rows) -> None:
        kernels.count_add(self.columns[0].data, rows.slots, rows.signs)

    def merge(self, into: Array, part: Count, slots: Array) -> None:
        kernels.sum_add(self.columns[0].data, into, part.columns[0].data[slots], EVERY)

    def read(self, slots: Array) -> Array:
        return self.columns[0].data[slots]


def count_of(call: Call, groups: Groups, distinct: bool) -> Count:
    """The number of the call's rows that give its argument. All COUNTs of what is never NULL are one part."""
    argument = call.args[0] if call.args else None
    if argument is not None and not distinct and not call.types[0].nullable:
        argument = None
    return groups.part(Count, argument, call, distinct and argument is not None)


class Counted(Half):
    """COUNT."""

    def __init__(self, call: Call, groups: Groups) -> None:
        super().__init__(call, groups)
        self.count = count_of(call, groups, call.distinct)

    def result(self, slots: Array) -> pa.Array:
        return pa.array(self.groups.read(self.count, slots), pa.int64())

    @property
    def grows(self) -> bool:
        call = self.call
        given = not call.args or (not call.distinct and not call.types[0].nullable)
        return given and call.filter is None


class CountedDistinct(Half):
    """APPROX_COUNT_DISTINCT."""

    def __init__(self, call: Call, groups: Groups) -> None:
        super().__init__(call, groups)
        self.count = count_of(call, groups, True)

    def result(self, slots: Array) -> pa.Array:
        return pa.array(self.groups.read(self.count, slots), pa.int64())
