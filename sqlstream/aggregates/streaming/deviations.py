"""The streaming halves of VAR_* and STDDEV_*."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from sqlstream.aggregates.streaming import deviation_kernels, kernels
from sqlstream.aggregates.streaming.count import count_of
from sqlstream.aggregates.streaming.double_doubles import two_product, two_sum
from sqlstream.aggregates.streaming.double_sums import (
    BIN,
    LEAST,
    Doubles,
    ExactSquares,
    ExactSum,
    double_squares_of,
    double_sum_of,
)
from sqlstream.aggregates.streaming.half import Call, Groups, Half
from sqlstream.aggregates.streaming.pairs import narrowed, widened
from sqlstream.aggregates.streaming.part import EVERY, Overflow, Part, Rows
from sqlstream.aggregates.streaming.sums import exact_sum_of
from sqlstream.state.arrays import Array, from_fixed


class Squares(Part):
    """128-bit sum of the squares of integers."""

    types = (pa.decimal128(38, 0),)

    def add(self, rows: Rows) -> None:
        if deviation_kernels.square_add(self.columns[0].data, rows.slots, rows.words, rows.signs):
            raise Overflow(self)

    def merge(self, into: Array, part: Squares, slots: Array) -> None:
        if kernels.pair_add(self.columns[0].data, into, part.columns[0].data[slots], EVERY):
            raise Overflow(self)

    def read(self, slots: Array) -> Array:
        return self.columns[0].data.take(slots, axis=0)


class VarPop(Half):
    """VAR_POP."""

    less = 0
    root = False

    def __init__(self, call: Call, groups: Groups) -> None:
        super().__init__(call, groups)
        self.count = count_of(call, groups, call.distinct)
        self.total: Part
        self.squares: Part
        if call.types[0].is_integer:
            self.total = exact_sum_of(call, groups)
            self.squares = groups.part(Squares, call.args[0], call, call.distinct)
        else:
            self.total, self.squares = double_sum_of(call, groups), double_squares_of(call, groups)

    def result(self, slots: Array) -> pa.Array:
        total, squares, n = (self.groups.read(p, slots) for p in (self.total, self.squares, self.count))
        given, t = n > self.less, self.call.result.arrow()
        if isinstance(total, Doubles):
            var = self._of_doubles(total, squares, n, slots) / np.maximum(n - self.less, 1)
            return from_fixed(np.where(given, np.sqrt(var) if self.root else var, 0.0), given, pa.float64()).cast(t)
        out = np.empty(len(n), np.int64)
        over = deviation_kernels.variance(total, squares, n, self.less, out)
        if over:
            raise Overflow
        if self.root:
            out = np.trunc(np.sqrt(out.astype(np.float64))).astype(np.int64)
        return narrowed(widened(out), given, t)

    def _of_doubles(self, total: Doubles, squares: Doubles, n: Array, slots: Array) -> Array:
        """squares - total**2 / n; NaN where NaN, an infinity or an infinite square took part."""
        out = deviation(total.pair(), squares.pair(), n)
        if isinstance(self.total, ExactSum) and isinstance(self.squares, ExactSquares):
            # Where the squares are 2**64 times as great, half of their digits say nothing of the difference.
            small = np.flatnonzero((n > 1) & (out <= squares.high * 2.0**-64))
            if len(small):
                out[small] = exact_deviation(self.total.exact(slots[small]), self.squares.exact(slots[small]), n[small])
        return np.where((total.odd == 0) & (squares.odd == 0), out, np.nan)


class VarSamp(VarPop):
    """VAR_SAMP, VARIANCE."""

    less = 1


class StddevPop(VarPop):
    """STDDEV_POP."""

    root = True


class StddevSamp(VarPop):
    """STDDEV_SAMP, STDDEV."""

    less = 1
    root = True


def deviation(
    sums: tuple[Array, Array], squares: tuple[Array, Array], n: Array, others: tuple[Array, Array] | None = None
) -> Array:
    """squares - sums**2 / n in double-doubles, not below 0; of sums of two arguments and of their products
    products - sums * others / n."""
    other = sums if others is None else others
    with np.errstate(over="ignore", invalid="ignore"):
        count = np.maximum(n, 1).astype(np.float64)
        mean = sums[0] / count
        p, e = two_product(mean, count)
        rest = ((sums[0] - p) - e + sums[1]) / count  # mean + rest is sum / n
        high, low = two_product(other[0], mean)
        low = low + other[0] * rest + other[1] * mean
        s, t = two_sum(squares[0], -high)
        out = s + (t + squares[1] - low)
        # Less than this is rounding: about 106 bits are exact.
        out = np.where(n > 1, out, np.where(np.isfinite(squares[0]), 0.0, np.nan))
        more = (out if others is None else np.abs(out)) > np.abs(squares[0]) * 2.0**-98
        return np.where(more, out, np.where(np.isnan(out), out, 0.0))


def exact_deviation(sums: Array, squares: Array, n: Array, others: Array | None = None) -> Array:
    """squares - sums**2 / n, or products - sums * others / n, from Python's whole numbers; for the few groups whose values differ by next to nothing."""
    unit = 2 ** (-BIN * LEAST[2])
    n = n.astype(object)
    return np.asarray((n * squares - sums * (sums if others is None else others)) / (n * unit), np.float64)
