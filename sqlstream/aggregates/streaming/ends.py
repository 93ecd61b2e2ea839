"""The streaming halves of FIRST_VALUE and LAST_VALUE: by arrival where it is known and rows stay, else as MIN, MAX."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from sqlstream.aggregates.streaming import kernels
from sqlstream.aggregates.streaming.extremes import extreme_of
from sqlstream.aggregates.streaming.half import Call, Groups, Half
from sqlstream.aggregates.streaming.part import Part, Rows
from sqlstream.state.arrays import Array
from sqlstream.state.sets import numbered


class First(Part):
    """The value that arrived first (or last), with its arrival; of append-only input."""

    last = False

    def __init__(self, name: str, argument: pa.DataType) -> None:
        self.types = (pa.int64(), argument)
        super().__init__(name, argument)

    def start(self, slots: Array) -> None:
        """NULL until there is a value."""

    def add(self, rows: Rows) -> None:
        assert rows.order is not None
        self._add(rows.slots, rows.order, rows.values)

    def _add(self, slots: Array, order: Array, values: pa.Array) -> None:
        if not len(slots):
            return
        held, local = numbered(slots)
        best = np.full(len(held), -1, np.int64)
        kernels.best_rows(local, order, self.last, best)
        at, value = self.columns
        now, then, known = order[best], at.data[held], at.valid[held]
        better = ~known | (now > then if self.last else now < then)
        held, best = held[better], best[better]
        at.data[held], at.valid[held] = order[best], True
        value.set(held, values.take(pa.array(best)))

    def merge(self, into: Array, part: First, slots: Array) -> None:
        at, value = part.columns
        given = at.valid[slots]
        slots = slots[given]
        self._add(into[given], np.ascontiguousarray(at.data[slots]), value.get(slots))

    def read(self, slots: Array) -> pa.Array:
        return self.columns[1].get(slots)


class Last(First):
    """As First; the later value wins."""

    last = True


class FirstValue(Half):
    """FIRST_VALUE."""

    last = False

    def __init__(self, call: Call, groups: Groups) -> None:
        super().__init__(call, groups)
        if groups.arrival:
            self.part: Part = groups.part(Last if self.last else First, call.args[0], call)
        else:
            self.part = extreme_of(call, groups, self.last)

    def result(self, slots: Array) -> pa.Array:
        return self.groups.read(self.part, slots)


class LastValue(FirstValue):
    """LAST_VALUE."""

    last = True
