"""The streaming halves of SUM and AVG of whole numbers and decimals, and of SUM and AVG as such.

Sums are int64 for arguments up to INT, 128 bits for BIGINT and DECIMAL, so that only the result can overflow. Those of
doubles are in double_sums.py.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from sqlstream.aggregates.streaming import kernels
from sqlstream.aggregates.streaming.count import count_of
from sqlstream.aggregates.streaming.double_sums import Doubles, double_sum_of
from sqlstream.aggregates.streaming.half import Call, Groups, Half
from sqlstream.aggregates.streaming.pairs import narrowed, widened
from sqlstream.aggregates.streaming.part import EVERY, Overflow, Part, Rows
from sqlstream.state.arrays import Array, fixed, from_fixed, is_pair


class SmallSum(Part):
    """Sum of TINYINT, SMALLINT, INT: 2**31 rows of them fit in 64 bits."""

    types = (pa.int64(),)

    def add(self, rows: Rows) -> None:
        kernels.sum_add(self.columns[0].data, rows.slots, rows.words, rows.signs)

    def merge(self, into: Array, part: SmallSum, slots: Array) -> None:
        kernels.sum_add(self.columns[0].data, into, part.columns[0].data[slots], EVERY)

    def read(self, slots: Array) -> Array:
        return widened(self.columns[0].data[slots])


class WideSum(Part):
    """128-bit sum of BIGINT or DECIMAL. `scale` is the decimal's."""

    def __init__(self, name: str, argument: pa.DataType) -> None:
        self.types = (pa.decimal128(38, argument.scale if is_pair(argument) else 0),)
        super().__init__(name, argument)

    def add(self, rows: Rows) -> None:
        data = self.columns[0].data
        if is_pair(self.argument):
            over = kernels.pair_add(data, rows.slots, np.ascontiguousarray(fixed(rows.values)), rows.signs)
        else:
            over = kernels.wide_add(data, rows.slots, rows.words, rows.signs)
        if over:
            raise Overflow(self)

    def merge(self, into: Array, part: WideSum, slots: Array) -> None:
        if kernels.pair_add(self.columns[0].data, into, part.columns[0].data[slots], EVERY):
            raise Overflow(self)

    def read(self, slots: Array) -> Array:
        return self.columns[0].data.take(slots, axis=0)


def exact_sum_of(call: Call, groups: Groups) -> SmallSum | WideSum:
    """The sum of the call's argument, which is whole or a decimal."""
    small = call.types[0].kind in ("TINYINT", "SMALLINT", "INT", "INTERVAL_MONTH")
    kind: type[SmallSum | WideSum] = SmallSum if small else WideSum
    return groups.part(kind, call.args[0], call, call.distinct)


class Sum(Half):
    """SUM."""

    def __init__(self, call: Call, groups: Groups) -> None:
        super().__init__(call, groups)
        self.count = count_of(call, groups, call.distinct)
        double = call.types[0].kind in ("FLOAT", "DOUBLE")
        self.total: Part = (double_sum_of if double else exact_sum_of)(call, groups)

    def result(self, slots: Array) -> pa.Array:
        n, total = self.groups.read(self.count, slots), self.groups.read(self.total, slots)
        t = self.call.result.arrow()
        given = n > 0
        if isinstance(total, Doubles):
            return from_fixed(np.where(given, self.of_doubles(total, n), 0.0), given, pa.float64()).cast(t)
        return narrowed(self.of_pairs(total, n), given, t)

    def of_doubles(self, total: Doubles, n: Array) -> Array:
        """The result of a sum of n doubles."""
        return total.value()

    def of_pairs(self, total: Array, n: Array) -> Array:
        """The result of an exact sum of n values, 128-bit pairs."""
        return total


class Average(Sum):
    """AVG."""

    def of_doubles(self, total: Doubles, n: Array) -> Array:
        return total.over(np.maximum(n, 1))

    def of_pairs(self, total: Array, n: Array) -> Array:
        scale = self.call.types[0].scale or 0
        digits = (self.call.result.scale or 0) - scale if self.call.result.kind == "DECIMAL" else -1
        out = np.empty_like(total)
        if kernels.pair_divide(total, n, digits, out):
            raise Overflow
        return out
