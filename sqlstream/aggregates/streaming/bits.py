"""The streaming halves of BIT_AND, BIT_OR and BIT_XOR. Those of BOOL_AND and BOOL_OR are MIN's and MAX's."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from sqlstream.aggregates.streaming.count import count_of
from sqlstream.aggregates.streaming.half import Call, Groups, Half
from sqlstream.aggregates.streaming.part import Forgetful, Part, Rows
from sqlstream.state.arrays import Array, dtype_of, from_fixed


class CommonBits(Forgetful):
    """The bits that all values have."""

    types = (pa.int64(),)
    none = -1  # what changes nothing
    together: np.ufunc = np.bitwise_and

    def start(self, slots: Array) -> None:
        """NULL until there is a value."""

    def add(self, rows: Rows) -> None:
        self._add(rows.slots, rows.words)

    def _add(self, slots: Array, words: Array) -> None:
        c = self.columns[0]
        new = slots[~c.valid[slots]]
        c.data[new], c.valid[new] = self.none, True
        self.together.at(c.data, slots, words)

    def merge(self, into: Array, part: CommonBits, slots: Array) -> None:
        c = part.columns[0]
        given = c.valid[slots]
        self._add(into[given], c.data[slots[given]])

    def holds(self, rows: Rows) -> Array:
        # A value that changes nothing may be the last one where there is nothing else.
        c = self.columns[0]
        changes = (rows.words != self.none) | (c.data[rows.slots] == self.none)
        return c.valid[rows.slots] & changes  # type: ignore[no-any-return]

    def clear(self, slots: Array) -> None:
        c = self.columns[0]
        c.data[slots], c.valid[slots] = 0, False

    def read(self, slots: Array) -> pa.Array:
        c, t = self.columns[0], self.argument
        assert t is not None
        return from_fixed(c.data[slots].astype(dtype_of(t)), c.valid[slots], t)


class AnyBits(CommonBits):
    """The bits that some value has."""

    none = 0
    together = np.bitwise_or


class OddBits(Part):
    """The bits that an odd number of values have: what takes a value in takes it back, too."""

    types = (pa.int64(),)

    def add(self, rows: Rows) -> None:
        np.bitwise_xor.at(self.columns[0].data, rows.slots, rows.words)

    def merge(self, into: Array, part: OddBits, slots: Array) -> None:
        np.bitwise_xor.at(self.columns[0].data, into, part.columns[0].data[slots])

    def read(self, slots: Array) -> Array:
        return self.columns[0].data[slots]


class BitAnd(Half):
    """BIT_AND."""

    kind: type[CommonBits] = CommonBits

    def __init__(self, call: Call, groups: Groups) -> None:
        super().__init__(call, groups)
        self.part = groups.part(self.kind, call.args[0], call)

    def result(self, slots: Array) -> pa.Array:
        return self.groups.read(self.part, slots)


class BitOr(BitAnd):
    """BIT_OR."""

    kind = AnyBits


class BitXor(Half):
    """BIT_XOR."""

    def __init__(self, call: Call, groups: Groups) -> None:
        super().__init__(call, groups)
        self.count = count_of(call, groups, call.distinct)
        self.bits = groups.part(OddBits, call.args[0], call, call.distinct)

    def result(self, slots: Array) -> pa.Array:
        n, bits = self.groups.read(self.count, slots), self.groups.read(self.bits, slots)
        t = self.call.result.arrow()
        return from_fixed(np.where(n > 0, bits, 0).astype(dtype_of(t)), n > 0, t)
