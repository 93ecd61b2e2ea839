"""The streaming halves of COVAR_*, CORR and REGR_*: sums of both arguments, of their squares and of their products."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from sqlstream.aggregates.streaming.count import Count
from sqlstream.aggregates.streaming.deviations import deviation, exact_deviation
from sqlstream.aggregates.streaming.double_sums import (
    DoubleProducts,
    DoubleSquares,
    DoubleSum,
    ExactProducts,
    ExactSquares,
    ExactSum,
)
from sqlstream.aggregates.streaming.half import Call, Groups, Half
from sqlstream.aggregates.streaming.part import Part
from sqlstream.state.arrays import Array, from_fixed


@dataclass(frozen=True)
class Sums:
    """n: rows. y, x: means. yy, xx, xy: sums of products of what differs from these; NaN where an infinity took part."""

    n: Array
    y: Array
    x: Array
    yy: Array
    xx: Array
    xy: Array


class Pairs(Half):
    """A subclass gives `of`."""

    def __init__(self, call: Call, groups: Groups) -> None:
        super().__init__(call, groups)
        y, x = call.args
        exact = not groups.append_only
        total, squares = (ExactSum, ExactSquares) if exact else (DoubleSum, DoubleSquares)
        products: type[Part] = ExactProducts if exact else DoubleProducts
        self.count = groups.part(Count, y, call, beside=x)
        self.totals = [groups.part(total, a, call, beside=b) for a, b in ((y, x), (x, y))]
        self.squares = [groups.part(squares, a, call, beside=b) for a, b in ((y, x), (x, y))]
        self.products = groups.part(products, y, call, beside=x)

    def result(self, slots: Array) -> pa.Array:
        s = self._sums(slots)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            values, given = self.of(s)
        given = given & (s.n > 0)
        return from_fixed(np.where(given, values, 0.0), given, pa.float64())

    def of(self, s: Sums) -> tuple[Array, Array]:
        """The results, and where there are any."""
        raise NotImplementedError

    def _sums(self, slots: Array) -> Sums:
        n = self.groups.read(self.count, slots)
        (y, x), (yy, xx) = ([self.groups.read(p, slots) for p in ps] for ps in (self.totals, self.squares))
        xy = self.groups.read(self.products, slots)
        some = np.maximum(n, 1)
        parts = ((y, y, yy, self.squares[0], 0, 0), (x, x, xx, self.squares[1], 1, 1), (y, x, xy, self.products, 0, 1))
        odd = (y.odd != 0) | (x.odd != 0) | (yy.odd != 0) | (xx.odd != 0) | (xy.odd != 0)
        out = []
        for a, b, ab, part, i, j in parts:
            made = deviation(a.pair(), ab.pair(), n, None if i == j else b.pair())
            if isinstance(part, ExactSum):
                size = np.abs(ab.value()) if i == j else np.sqrt(np.abs(yy.value())) * np.sqrt(np.abs(xx.value()))
                small = np.flatnonzero((n > 1) & (np.abs(made) <= size * 2.0**-64) & ~odd)
                if len(small):
                    first, second = self.totals[i], self.totals[j]
                    assert isinstance(first, ExactSum) and isinstance(second, ExactSum)
                    of = [p.exact(slots[small]) for p in (first, second, part)]
                    made[small] = exact_deviation(of[0], of[2], n[small], of[1])
            out.append(np.where(odd, np.nan, made))
        return Sums(n, y.value() / some, x.value() / some, *out)


class CovarPop(Pairs):
    """COVAR_POP."""

    def of(self, s: Sums) -> tuple[Array, Array]:
        return s.xy / s.n, s.n > 0


class CovarSamp(Pairs):
    """COVAR_SAMP."""

    def of(self, s: Sums) -> tuple[Array, Array]:
        return s.xy / (s.n - 1), s.n > 1


class Corr(Pairs):
    """CORR."""

    def of(self, s: Sums) -> tuple[Array, Array]:
        return s.xy / np.sqrt(s.xx) / np.sqrt(s.yy), (s.xx != 0) & (s.yy != 0)


class RegrSlope(Pairs):
    """REGR_SLOPE."""

    def of(self, s: Sums) -> tuple[Array, Array]:
        return s.xy / s.xx, s.xx != 0


class RegrIntercept(Pairs):
    """REGR_INTERCEPT."""

    def of(self, s: Sums) -> tuple[Array, Array]:
        return s.y - s.xy / s.xx * s.x, s.xx != 0


class RegrR2(Pairs):
    """REGR_R2."""

    def of(self, s: Sums) -> tuple[Array, Array]:
        return np.where(s.yy == 0, 1.0, s.xy / s.xx * (s.xy / s.yy)), s.xx != 0


class RegrCount(Half):
    """REGR_COUNT."""

    def __init__(self, call: Call, groups: Groups) -> None:
        super().__init__(call, groups)
        self.count = groups.part(Count, call.args[0], call, beside=call.args[1])

    def result(self, slots: Array) -> pa.Array:
        return pa.array(self.groups.read(self.count, slots), pa.int64())
