"""Sums of doubles, also of their squares.

Of rows that stay they are double-doubles, about 106 bits, good to 2**-100 of the largest value that ever was in them.
Rows that go would leave that much behind, which may be more than what is left: so over changing input sums are exact,
whatever comes and goes, in any order, wherever epochs end.

An exact sum is kept in bins of 32 bits of the exponent, as a 128-bit integer each: a double is m * 2**q with a whole m
of 53 bits, and goes into bin q // 32 as m << q % 32. That holds for 2**41 rows of one sign. A group has a bin for each
32 binary digits (9 or 10 decimal ones) over which its values spread: two or three for most, 66 at worst, 131 for
squares. Bins that have come to 0 go.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from sqlstream.aggregates.streaming import kernels
from sqlstream.aggregates.streaming.double_doubles import two_product, two_sum
from sqlstream.aggregates.streaming.half import Call, Groups
from sqlstream.aggregates.streaming.part import EVERY, Part, Rows
from sqlstream.state.arrays import Array, fixed
from sqlstream.state.columns import FixedColumn
from sqlstream.state.multimap import MultiMap
from sqlstream.state.sets import ascending
from sqlstream.state.table import StateSpec, StateTable

BIN = 32  # binary digits of the exponent
LEAST = {1: -36, 2: -72}  # the first bin of sums, and of squares: of 2**52 * 2**-1126, the least double, and its square


@dataclass(frozen=True)
class Doubles:
    """Sums as double-doubles, and what NaN and infinities make of them: 0 where there are none."""

    high: Array
    low: Array
    odd: Array

    def pair(self) -> tuple[Array, Array]:
        """(high, low) with low less than half of high's last digit."""
        return two_sum(self.high, np.where(np.isfinite(self.low), self.low, 0.0))

    def value(self) -> Array:
        """The sums rounded."""
        high, low = self.pair()
        return np.where(self.odd == 0, np.where(np.isfinite(high), high + low, high), self.odd)

    def over(self, n: Array) -> Array:
        """The sums divided by n."""
        return self.value() / n


def finite(rows: Rows, odd: list[FixedColumn]) -> tuple[Array, Array, Array]:
    """Values, slots and signs of the finite values; the others are counted: NaN, +inf, -inf."""
    x, slots, signs = rows.doubles, rows.slots, rows.signs
    there = np.isfinite(x)
    if not there.all():
        for c, which in zip(odd, (np.isnan(x), x == np.inf, x == -np.inf), strict=True):
            kernels.count_add(c.data, slots[which], signs[which] if len(signs) else signs)
        x, slots = x[there], slots[there]
        signs = signs[there] if len(signs) else signs
    return x, slots, signs


def odd(nan: Array, plus: Array, minus: Array) -> Array:
    """What so many NaN, +inf and -inf make of a sum."""
    out = np.zeros(len(nan))
    out[plus > 0], out[minus > 0] = np.inf, -np.inf
    out[(nan > 0) | ((plus > 0) & (minus > 0))] = np.nan
    return out


class DoubleSum(Part):
    """Double-double sum of what is finite, and how many NaN, +inf and -inf there are; of rows that stay."""

    types: tuple[pa.DataType, ...] = (pa.float64(), pa.float64(), pa.int64(), pa.int64(), pa.int64())

    def add(self, rows: Rows) -> None:
        x, slots, signs = finite(rows, self.columns[2:])
        self._add(slots, x, signs)

    def _add(self, slots: Array, x: Array, signs: Array) -> None:
        kernels.double_add(self.columns[0].data, self.columns[1].data, slots, x, signs)

    def merge(self, into: Array, part: DoubleSum, slots: Array) -> None:
        high, low = self.columns[0].data, self.columns[1].data
        more, rest = (c.data[slots] for c in part.columns[:2])
        kernels.double_add(high, low, into, more, EVERY)
        kernels.double_add(
            high, low, into, np.where(np.isfinite(rest), rest, 0.0), EVERY
        )  # of an infinite sum there is none
        for c, other in zip(self.columns[2:], part.columns[2:], strict=True):
            kernels.sum_add(c.data, into, other.data[slots], EVERY)

    def read(self, slots: Array) -> Doubles:
        high, low = self.columns[0].data[slots], self.columns[1].data[slots]
        return Doubles(high, low, odd(*(c.data[slots] for c in self.columns[2:])))


class DoubleSquares(DoubleSum):
    """Double-double sum of the squares of the finite values; of those whose square is not finite only the number."""

    types = (pa.float64(), pa.float64(), pa.int64())

    def add(self, rows: Rows) -> None:
        x, slots, signs = rows.doubles, rows.slots, rows.signs
        square, error = two_product(x, x)
        small = np.isfinite(square)
        if not small.all():
            huge = np.isfinite(x) & ~small
            kernels.count_add(self.columns[2].data, slots[huge], signs[huge] if len(signs) else signs)
            square, error, slots = square[small], error[small], slots[small]
            signs = signs[small] if len(signs) else signs
        self._add(slots, square, signs)
        self._add(slots, error, signs)

    def read(self, slots: Array) -> Doubles:
        high, low, huge = (c.data[slots] for c in self.columns)
        return Doubles(high, low, np.where(huge > 0, np.nan, 0.0))


class ExactSum(Part):
    """Exact sum of what is finite, in a table of bins, and how many NaN, +inf and -inf there are."""

    types: tuple[pa.DataType, ...] = (pa.int64(), pa.int64(), pa.int64())
    power = 1
    merges = False

    def spec(self, keys: pa.Schema, distribution: int) -> StateSpec:
        key = pa.schema([*keys, pa.field("bin", pa.int64())])
        return StateSpec(self.name, key, pa.schema([("sum", pa.decimal128(38, 0))]), distribution)

    def open_table(self, table: StateTable, groups: StateTable) -> None:
        self._bins, self._groups = table, groups
        self._chains = MultiMap()
        slots = table.slots()
        if len(slots):
            self._chains.add(groups.find(table.keys(slots)[:-1], len(slots)), slots)

    def add(self, rows: Rows) -> None:
        x, slots, signs = finite(rows, self.columns)
        some = x != 0.0
        if not some.all():
            x, slots = x[some], slots[some]
            signs = signs[some] if len(signs) else signs
        if len(x):
            self._keep(slots, signs, *self._terms(x))

    def _keep(self, slots: Array, signs: Array, terms: Array, exponents: Array) -> None:
        """Adds terms * 2**exponents, which are several rounds of these slots."""
        times = len(terms) // len(slots)
        if times > 1:
            slots = np.tile(slots, times)
            signs = np.tile(signs, times)
        keys = [*self._groups.keys(slots), pa.array(exponents // BIN)]
        at, fresh = self._bins.upsert(keys, len(slots))
        new = at[fresh]
        self._chains.add(slots[fresh], new)
        sums = self._bins.fixed("sum")
        sums.valid[new] = True
        kernels.pair_add(sums.data, at, shifted(terms, exponents % BIN), signs)
        touched = ascending(at)
        gone = touched[~sums.data[touched].any(axis=1)]
        self._bins.touch(touched)
        self._chains.remove(gone, gone)
        self._bins.delete(gone)

    def _terms(self, x: Array) -> tuple[Array, Array]:
        """Whole numbers of at most 54 bits, and exponents of 2: their products add up to what x adds."""
        return whole(x)

    def read(self, slots: Array) -> Doubles:
        high, low = self._sums(slots)
        return Doubles(high, low, odd(*(c.data[slots] for c in self.columns)))

    def _sums(self, slots: Array) -> tuple[Array, Array]:
        """What the bins come to, as double-doubles."""
        index, bins, pairs = self._held(slots)
        order = np.lexsort((-bins, index))
        high, low = np.zeros(len(slots)), np.zeros(len(slots))
        with np.errstate(over="ignore", invalid="ignore"):
            pieces = np.ldexp(limbs(pairs[order]), BIN * bins[order, None] + np.array([96, 64, 32, 0]))
        kernels.double_add(high, low, np.repeat(index[order], 4), np.ascontiguousarray(pieces.reshape(-1)), EVERY)
        return high, low

    def exact(self, slots: Array) -> Array:
        """The sums of what is finite as Python's whole numbers, in units of 2**(BIN * LEAST[power])."""
        index, bins, pairs = self._held(slots)
        out = np.zeros(len(slots), object)
        low, high = pairs[:, 0].view(np.uint64).astype(object), pairs[:, 1].astype(object)
        np.add.at(out, index, (low + high * 2**64) * 2 ** (BIN * (bins - LEAST[self.power])).astype(object))
        return out

    def _held(self, slots: Array) -> tuple[Array, Array, Array]:
        """The bins of these groups: position in `slots`, bin, sum."""
        index, at = self._chains.probe(slots)
        bins = fixed(self._bins.keys(at)[-1])
        return index, bins, self._bins.fixed("sum").data[at]

    def free(self, slots: Array) -> None:
        _, at = self._chains.probe(slots)
        self._chains.remove(at, at)
        self._bins.delete(at)


class ExactSquares(ExactSum):
    """Exact sum of the squares of what is finite."""

    power = 2

    def _terms(self, x: Array) -> tuple[Array, Array]:
        m, q = whole(np.abs(x))
        a, b = m >> 27, m & (2**27 - 1)
        terms = np.concatenate([a * a, a * b, b * b])
        return terms, np.concatenate([2 * q + 54, 2 * q + 28, 2 * q])


class DoubleProducts(DoubleSum):
    """Double-double sum of the products of two arguments where both are finite; of infinite products only the number."""

    types = (pa.float64(), pa.float64(), pa.int64())

    def add(self, rows: Rows) -> None:
        x, y, slots, signs = rows.doubles, rows.others, rows.slots, rows.signs
        product, error = two_product(x, y)
        small = np.isfinite(product)
        if not small.all():
            huge = np.isfinite(x) & np.isfinite(y) & ~small
            kernels.count_add(self.columns[2].data, slots[huge], signs[huge] if len(signs) else signs)
            product, error, slots = product[small], error[small], slots[small]
            signs = signs[small] if len(signs) else signs
        self._add(slots, product, signs)
        self._add(slots, error, signs)

    def read(self, slots: Array) -> Doubles:
        high, low, huge = (c.data[slots] for c in self.columns)
        return Doubles(high, low, np.where(huge > 0, np.nan, 0.0))


class ExactProducts(ExactSum):
    """Exact sum of the products of two arguments where both are finite."""

    types = ()
    power = 2

    def add(self, rows: Rows) -> None:
        x, y, slots, signs = rows.doubles, rows.others, rows.slots, rows.signs
        some = np.isfinite(x) & np.isfinite(y) & (x != 0.0) & (y != 0.0)
        if some.any():
            (m, p), (n, q) = whole(x[some]), whole(y[some])
            a, b, c, d = m >> 27, m & (2**27 - 1), n >> 27, n & (2**27 - 1)
            terms, e = np.concatenate([a * c, a * d + b * c, b * d]), p + q
            self._keep(slots[some], signs[some] if len(signs) else signs, terms, np.concatenate([e + 54, e + 27, e]))

    def read(self, slots: Array) -> Doubles:
        return Doubles(*self._sums(slots), np.zeros(len(slots)))


def double_sum_of(call: Call, groups: Groups) -> DoubleSum | ExactSum:
    """The sum of the call's argument, as doubles."""
    kind: type[DoubleSum | ExactSum] = DoubleSum if groups.append_only else ExactSum
    return groups.part(kind, call.args[0], call, call.distinct)


def double_squares_of(call: Call, groups: Groups) -> DoubleSquares | ExactSquares:
    """The sum of squares of the call's argument, as doubles."""
    kind: type[DoubleSquares | ExactSquares] = DoubleSquares if groups.append_only else ExactSquares
    return groups.part(kind, call.args[0], call, call.distinct)


def whole(x: Array) -> tuple[Array, Array]:
    """x as whole numbers of 53 bits and exponents of 2; not 0."""
    fraction, exponent = np.frexp(x)
    return np.ldexp(fraction, 53).astype(np.int64), exponent.astype(np.int64) - 53


def shifted(values: Array, by: Array) -> Array:
    """values << by (0 to 31) as 128-bit pairs."""
    out = np.empty((len(values), 2), np.int64)
    out[:, 0] = values << by
    out[:, 1] = (values >> 1) >> (63 - by)
    return out


def limbs(pairs: Array) -> Array:
    """128-bit pairs as four doubles each of the same sign, whose places are 2**96, 2**64, 2**32 and 1."""
    low, high = pairs[:, 0].view(np.uint64), pairs[:, 1]
    minus = high < 0
    low = np.where(minus, ~low + np.uint64(1), low)
    magnitude = np.where(minus, ~high + (low == 0), high).view(np.uint64)
    half, mask = np.uint64(32), np.uint64(2**32 - 1)
    out = np.stack([magnitude >> half, magnitude & mask, low >> half, low & mask], axis=1).astype(np.float64)
    return np.asarray(np.where(minus[:, None], -out, out))
