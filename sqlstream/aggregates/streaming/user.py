"""The streaming halves of Python aggregate functions.

Accumulated   one accumulator a group, of the type that is declared: rows that come are accumulated, those that go retracted,
              and accumulators of slices merged
Recomputed    the rows of the group, as ARRAY_AGG keeps them, of which the value is made anew when they have changed: where
              the accumulators' type is not known, a method is missing, or rows are told apart by DISTINCT or put in order
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pyarrow as pa

from sqlstream.aggregates.streaming.half import Call, Groups, Half
from sqlstream.aggregates.streaming.kept import GroupRows, Kept
from sqlstream.aggregates.streaming.part import Part, Rows
from sqlstream.functions.user_aggregates import UserAggregate, resolve
from sqlstream.state.arrays import Array
from sqlstream.state.sets import numbered


def half(call: Call, groups: Groups) -> Half:
    """The half of a call, by what its function can do and what is asked of it."""
    f = resolve(call.function)
    whole = call.distinct or call.order or f.accumulator is None
    if whole or not (groups.append_only or f.retracts) or (groups.merging and not f.merges):
        return Recomputed(call, groups)
    return Accumulated(call, groups)


class Recomputed(Kept):
    """All rows of a group, and their value."""

    def __init__(self, call: Call, groups: Groups) -> None:
        super().__init__(call, groups)
        self.function = resolve(call.function)
        self._made = self.function.made()

    def needed(self) -> tuple[int, ...]:
        return ()

    def of_rows(self, rows: GroupRows, slots: Array) -> pa.Array:
        rows = rows.repeated()
        return self.function.values(self._made, rows.offsets.tolist(), rows.args)


class Accumulated(Half):
    """The value of an accumulator."""

    def __init__(self, call: Call, groups: Groups) -> None:
        super().__init__(call, groups)
        self._part = groups.part(accumulators(resolve(call.function)), call.args, call)

    def result(self, slots: Array) -> pa.Array:
        return self._part.value(slots)


class Accumulators(Part):
    """An accumulator a group. A subclass is of one function."""

    function: UserAggregate
    merges = False  # rows are taken in one by one either way, in the order in which they came

    def __init__(self, name: str, argument: pa.DataType | None) -> None:
        super().__init__(name, argument)
        self._folding = self.function.folding()

    def start(self, slots: Array) -> None:
        if len(slots):
            self.columns[0].set(slots, self._folding.empty(len(slots)))

    def add(self, rows: Rows) -> None:
        touched, at = numbered(rows.slots)
        accumulators = self._taken(touched)
        by = np.arange(len(at)) if rows.order is None else np.argsort(rows.order, kind="stable")
        row = pa.array(by)
        signs = rows.signs[by].tolist() if len(rows.signs) else None
        self._folding.take(accumulators, at[by].tolist(), signs, [c.take(row) for c in rows.columns])
        self._put(touched, accumulators)

    def merge(self, into: Array, part: Accumulators, slots: Array) -> None:
        others = part._taken(slots)
        touched, at = numbered(into)
        accumulators = self._taken(touched)
        given: list[list[object]] = [[] for _ in touched]
        for i, other in zip(at.tolist(), others, strict=True):
            given[i].append(other)
        for accumulator, of in zip(accumulators, given, strict=True):
            self._folding.merge(accumulator, of)
        self._put(touched, accumulators)

    def value(self, slots: Array) -> pa.Array:
        """What the function makes of them."""
        return self._folding.value(self._taken(slots))

    def _taken(self, slots: Array) -> list[object]:
        return self._folding.taken(self.columns[0].get(slots))

    def _put(self, slots: Array, accumulators: list[object]) -> None:
        if len(slots):
            self.columns[0].set(slots, self._folding.stored(accumulators))


@cache
def accumulators(f: UserAggregate) -> type[Accumulators]:
    """The part of a function, whose name it bears in the state."""
    assert f.accumulator is not None
    return type(
        f.over_lists.sql_name,
        (Accumulators,),
        {"function": f, "types": (f.accumulator.arrow(),), "takes_back": f.retracts},
    )
