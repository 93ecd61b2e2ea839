"""The streaming halves of MIN and MAX. Extremes of types of one word are kept as int64 in the value's order; of others
as they are."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sqlstream.aggregates.streaming import kernels
from sqlstream.aggregates.streaming.half import Call, Groups, Half
from sqlstream.aggregates.streaming.part import Forgetful, Rows
from sqlstream.state.arrays import Array, dtype_of, fixed, from_fixed, is_words
from sqlstream.state.sets import ascending

NAN_WORD = np.float64("nan").view(np.int64)


class Extreme(Forgetful):
    """Least or greatest value, of a type of one word, as int64 in the value's order."""

    types = (pa.int64(),)
    greatest = False

    def start(self, slots: Array) -> None:
        """NULL until there is a value."""

    def add(self, rows: Rows) -> None:
        """Rows that are added; taking back is `clear` and adding what is left."""
        self._add(rows.slots, ranks(rows.values))

    def _add(self, slots: Array, words: Array) -> None:
        c = self.columns[0]
        kernels.extreme_add(c.data, c.valid, slots, words, self.greatest)

    def merge(self, into: Array, part: Extreme, slots: Array) -> None:
        c = part.columns[0]
        given = c.valid[slots]
        self._add(into[given], c.data[slots[given]])

    def holds(self, rows: Rows) -> Array:
        """Whether each row's value is its slot's extreme."""
        c = self.columns[0]
        return c.valid[rows.slots] & (c.data[rows.slots] == ranks(rows.values))  # type: ignore[no-any-return]

    def clear(self, slots: Array) -> None:
        c = self.columns[0]
        c.data[slots], c.valid[slots] = 0, False

    def read(self, slots: Array) -> pa.Array:
        c = self.columns[0]
        return unranked(c.data[slots], c.valid[slots], self.argument)


class Greatest(Extreme):
    """The greatest value."""

    greatest = True


class WideExtreme(Extreme):
    """Least or greatest string, byte string or decimal: Arrow compares them."""

    def __init__(self, name: str, argument: pa.DataType) -> None:
        self.types = (argument,)
        super().__init__(name, argument)

    def add(self, rows: Rows) -> None:
        self._reduce(rows.slots, rows.values)

    def _reduce(self, slots: Array, values: pa.Array) -> None:
        """One value a slot from the rows and what the slots hold, in one Arrow group-by."""
        if not len(slots):
            return
        held = ascending(slots)
        table = pa.table(
            {
                "s": pa.concat_arrays([pa.array(held), pa.array(slots)]),
                "v": pa.concat_arrays([self.columns[0].get(held), values]),
            }
        )
        how = "max" if self.greatest else "min"
        best = table.group_by("s", use_threads=False).aggregate([("v", how)])
        self.columns[0].set(best.column("s").to_numpy(), best.column(f"v_{how}").combine_chunks().cast(self.argument))

    def merge(self, into: Array, part: Extreme, slots: Array) -> None:
        values = part.columns[0].get(slots)
        given = values.is_valid().to_numpy(zero_copy_only=False)
        self._reduce(into[given], values.drop_null())

    def holds(self, rows: Rows) -> Array:
        same = pc.equal(self.columns[0].get(rows.slots), rows.values)
        return same.fill_null(False).to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]

    def clear(self, slots: Array) -> None:
        self.columns[0].clear(slots)

    def read(self, slots: Array) -> pa.Array:
        return self.columns[0].get(slots)


class WideGreatest(WideExtreme):
    """The greatest value."""

    greatest = True


def ranks(values: pa.Array) -> Array:
    """Values of one word as int64 that compare as the values do; NaN is greatest, -0.0 is 0.0."""
    words = fixed(values)
    if words.dtype.kind != "f":
        return np.ascontiguousarray(words.astype(np.int64, copy=False))
    doubles = words.astype(np.float64) + 0.0
    bits = doubles.view(np.int64)
    bits[np.isnan(doubles)] = NAN_WORD & np.int64(2**63 - 1)
    return np.ascontiguousarray(bits ^ ((bits >> 63) & np.int64(2**63 - 1)))


def unranked(words: Array, valid: Array, t: pa.DataType | None) -> pa.Array:
    """What `ranks` was made from."""
    if pa.types.is_floating(t):
        doubles = np.ascontiguousarray(words ^ ((words >> 63) & np.int64(2**63 - 1))).view(np.float64)
        return from_fixed(doubles.astype(dtype_of(t)), valid, t)
    return from_fixed(words.astype(dtype_of(t)), valid, t)


def extreme_of(call: Call, groups: Groups, greatest: bool) -> Extreme:
    """The least or greatest value of the call's argument."""
    if is_words(call.types[0].arrow()):
        return groups.part(Greatest if greatest else Extreme, call.args[0], call)
    return groups.part(WideGreatest if greatest else WideExtreme, call.args[0], call)


class Least(Half):
    """MIN."""

    greatest = False

    def __init__(self, call: Call, groups: Groups) -> None:
        super().__init__(call, groups)
        self.part = extreme_of(call, groups, self.greatest)

    def result(self, slots: Array) -> pa.Array:
        return self.groups.read(self.part, slots)


class Most(Least):
    """MAX."""

    greatest = True
