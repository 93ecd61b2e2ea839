"""Accumulators: what an aggregate keeps for a group, as value columns of a state table, addressed by slot.

A `Part` is one accumulator over one argument (a count, a 128-bit sum, an extreme); calls share parts, so that
SUM(x), AVG(x) and COUNT(x) keep one sum and one count. `aggregation.py` makes calls of parts.

    add(rows)            rows of one epoch into their slots; with signs where the part can take back
    merge(into, part, slots)   another part's partial results into slots of this one (slices, sessions)

Sums: int64 for arguments up to INT, 128 bits for BIGINT and DECIMAL, so that only the final result can overflow;
doubles as a double-double (about 106 bits) beside counts of NaN and infinities, so that retraction leaves nothing
behind. Extremes of types of one word are kept as int64 in the value's order; of others as they are.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sqlstream.errors import DataError
from sqlstream.operators import aggregate_kernels as kernels
from sqlstream.state.arrays import dtype_of, fixed, from_fixed, grown, is_pair, is_words
from sqlstream.state.columns import Column, FixedColumn

Array = np.ndarray[Any, Any]

EVERY: Array = np.empty(0, np.int64)  # signs of rows that are all inserts
NAN_WORD = np.float64("nan").view(np.int64)


class Columns(Protocol):
    """Where a part's columns live: a StateTable, or `Scratch`."""

    def column(self, name: str) -> Column: ...


class Scratch:
    """Columns in memory for `n` groups, for merging: no keys, no checkpoint."""

    def __init__(self, fields: list[pa.Field], n: int) -> None:
        from sqlstream.state.columns import column

        self._columns = {f.name: column(f.type, n) for f in fields}

    def column(self, name: str) -> Column:
        return self._columns[name]


@dataclass
class Rows:
    """Rows for a part: where the argument is given and the filter holds. `signs` is EVERY or one a row."""

    slots: Array
    signs: Array = field(default_factory=lambda: EVERY)
    values: pa.Array | None = None  # without NULLs
    order: Array | None = None  # arrival

    @cached_property
    def words(self) -> Array:
        """Values of one word as int64."""
        return np.ascontiguousarray(fixed(self.values).astype(np.int64, copy=False))

    @cached_property
    def doubles(self) -> Array:
        values = self.values
        if is_pair(values.type):  # type: ignore[union-attr]
            values = values.cast(pa.float64())  # type: ignore[union-attr]
        return np.ascontiguousarray(fixed(values).astype(np.float64, copy=False))


class Part:
    """One accumulator. `names` are unique in the table; `types` are the state columns' types."""

    types: tuple[pa.DataType, ...] = ()

    def __init__(self, name: str, argument: pa.DataType | None = None) -> None:
        self.argument = argument
        self.names = [f"{name}{'' if i == 0 else f'_{i}'}" for i in range(len(self.types))]
        self.columns: list[FixedColumn] = []

    def fields(self) -> list[pa.Field]:
        return [pa.field(n, t) for n, t in zip(self.names, self.types, strict=True)]

    def open(self, table: Columns) -> None:
        self.columns = [table.column(n) for n in self.names]  # type: ignore[misc]

    def start(self, slots: Array) -> None:
        """New slots begin at zero, which is a value."""
        for c in self.columns:
            c.valid[slots] = True

    def add(self, rows: Rows) -> None:
        raise AssertionError

    def merge(self, into: Array, part: Any, slots: Array) -> None:
        raise AssertionError


class Count(Part):
    types = (pa.int64(),)

    def add(self, rows: Rows) -> None:
        kernels.count_add(self.columns[0].data, rows.slots, rows.signs)

    def merge(self, into: Array, part: Count, slots: Array) -> None:
        kernels.sum_add(self.columns[0].data, into, part.columns[0].data[slots], EVERY)

    def get(self, slots: Array) -> Array:
        return self.columns[0].data[slots]


class SmallSum(Part):
    """Sum of TINYINT, SMALLINT, INT: 2**31 rows of them fit in 64 bits."""

    types = (pa.int64(),)

    def add(self, rows: Rows) -> None:
        kernels.sum_add(self.columns[0].data, rows.slots, rows.words, rows.signs)

    def merge(self, into: Array, part: SmallSum, slots: Array) -> None:
        kernels.sum_add(self.columns[0].data, into, part.columns[0].data[slots], EVERY)

    def pairs(self, slots: Array) -> Array:
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
            raise overflow("SUM")

    def merge(self, into: Array, part: WideSum, slots: Array) -> None:
        if kernels.pair_add(self.columns[0].data, into, part.columns[0].data[slots], EVERY):
            raise overflow("SUM")

    def pairs(self, slots: Array) -> Array:
        return self.columns[0].data.take(slots, axis=0)


class Squares(Part):
    """128-bit sum of the squares of integers."""

    types = (pa.decimal128(38, 0),)

    def add(self, rows: Rows) -> None:
        from sqlstream.operators import deviation_kernels

        if deviation_kernels.square_add(self.columns[0].data, rows.slots, rows.words, rows.signs):
            raise overflow("the sum of squares")

    def merge(self, into: Array, part: Squares, slots: Array) -> None:
        if kernels.pair_add(self.columns[0].data, into, part.columns[0].data[slots], EVERY):
            raise overflow("the sum of squares")

    def pairs(self, slots: Array) -> Array:
        return self.columns[0].data.take(slots, axis=0)


class DoubleSum(Part):
    """Double-double sum of what is finite, and how many NaN, +inf and -inf there are."""

    types: tuple[pa.DataType, ...] = (pa.float64(), pa.float64(), pa.int64(), pa.int64(), pa.int64())

    def add(self, rows: Rows) -> None:
        x = rows.doubles
        slots, signs = rows.slots, rows.signs
        finite = np.isfinite(x)
        if not finite.all():
            for c, odd in zip(self.columns[2:], (np.isnan(x), x == np.inf, x == -np.inf), strict=True):
                kernels.count_add(c.data, slots[odd], signs[odd] if len(signs) else signs)
            x, slots = x[finite], slots[finite]
            signs = signs[finite] if len(signs) else signs
        self._add(slots, x, signs)

    def _add(self, slots: Array, x: Array, signs: Array) -> None:
        kernels.double_add(self.columns[0].data, self.columns[1].data, slots, x, signs)

    def merge(self, into: Array, part: DoubleSum, slots: Array) -> None:
        high, low = self.columns[0].data, self.columns[1].data
        for c in part.columns[:2]:
            kernels.double_add(high, low, into, c.data[slots], EVERY)
        for c, other in zip(self.columns[2:], part.columns[2:], strict=True):
            kernels.sum_add(c.data, into, other.data[slots], EVERY)

    def clear(self, slots: Array) -> None:
        """No rows are left in these slots: no residue either."""
        for c in self.columns[:2]:
            c.data[slots] = 0.0

    def pair(self, slots: Array) -> tuple[Array, Array]:
        high, low = self.columns[0].data[slots], self.columns[1].data[slots]
        return two_sum(high, np.where(np.isfinite(low), low, 0.0))

    def odd(self, slots: Array) -> Array:
        """What NaN and infinities make of the sum; 0 where there are none."""
        nan, plus, minus = (c.data[slots] > 0 for c in self.columns[2:])
        out = np.zeros(len(slots))
        out[plus], out[minus] = np.inf, -np.inf
        out[nan | (plus & minus)] = np.nan
        return out

    def get(self, slots: Array) -> Array:
        high, low = self.pair(slots)
        odd = self.odd(slots)
        return np.where(odd == 0, np.where(np.isfinite(high), high + low, high), odd)


class DoubleSquares(DoubleSum):
    """Double-double sum of squares of the finite values; of those whose square is not finite only the number."""

    types = (pa.float64(), pa.float64(), pa.int64())

    def add(self, rows: Rows) -> None:
        x, slots, signs = rows.doubles, rows.slots, rows.signs
        small = np.abs(x) < 1e150
        if not small.all():
            huge = np.isfinite(x) & ~small
            kernels.count_add(self.columns[2].data, slots[huge], signs[huge] if len(signs) else signs)
            x, slots = x[small], slots[small]
            signs = signs[small] if len(signs) else signs
        square, error = two_product(x, x)
        self._add(slots, square, signs)
        self._add(slots, error, signs)

    def odd(self, slots: Array) -> Array:
        return np.where(self.columns[2].data[slots] > 0, np.nan, 0.0)


class Extreme(Part):
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

    def get(self, slots: Array) -> pa.Array:
        c = self.columns[0]
        return unranked(c.data[slots], c.valid[slots], self.argument)


class Greatest(Extreme):
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
        held = np.unique(slots)
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

    def get(self, slots: Array) -> pa.Array:
        return self.columns[0].get(slots)


class WideGreatest(WideExtreme):
    greatest = True


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
        held, local = np.unique(slots, return_inverse=True)
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

    def get(self, slots: Array) -> pa.Array:
        return self.columns[1].get(slots)


class Last(First):
    last = True


def extreme(greatest: bool, t: pa.DataType) -> type[Part]:
    """The part for MIN or MAX of a type."""
    if is_words(t):
        return Greatest if greatest else Extreme
    return WideGreatest if greatest else WideExtreme


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


def widened(words: Array) -> Array:
    """int64 as 128-bit pairs."""
    out = np.empty((len(words), 2), np.int64)
    out[:, 0], out[:, 1] = words, words >> 63
    return out


def narrowed(pairs: Array, given: Array, t: pa.DataType, what: str) -> pa.Array:
    """128-bit pairs as an integer or decimal column, NULL where not `given`; DataError where it does not fit."""
    if is_pair(t):
        high = pairs[:, 1]
        # 10**38 is (high) 5421010862427522170 * 2**64 + 687399551400673280
        low = pairs[:, 0].view(np.uint64)
        top, rest = np.int64(5421010862427522170), np.uint64(687399551400673280)
        over = (high > top) | ((high == top) & (low >= rest))
        over |= (high < ~top) | ((high == ~top) & (low <= ~rest + np.uint64(1)))
        if (over & given).any():
            raise overflow(what)
        return from_fixed(np.where(given[:, None], pairs, 0), given, t)
    info, out = np.iinfo(dtype_of(t)), np.empty(len(pairs), np.int64)
    if kernels.narrow_pairs(pairs, given, int(info.min), int(info.max), out):
        raise overflow(what)
    return from_fixed(out.astype(dtype_of(t), copy=False), given, t)


def overflow(what: str) -> DataError:
    return DataError(f"{what} overflows its type", hint="CAST the argument to BIGINT or DECIMAL(38, 0) first")


def two_sum(a: Array, b: Array) -> tuple[Array, Array]:
    with np.errstate(over="ignore", invalid="ignore"):
        s = a + b
        t = s - a
        return s, (a - (s - t)) + (b - t)


def two_product(a: Array, b: Array) -> tuple[Array, Array]:
    """a * b and its rounding error (Dekker; no error known beyond 1e150)."""

    def split(x: Array) -> tuple[Array, Array]:
        c = 134217729.0 * x
        high = c - (c - x)
        return high, x - high

    with np.errstate(over="ignore", invalid="ignore"):
        p = a * b
        (a1, a0), (b1, b0) = split(a), split(b)
        e = ((a1 * b1 - p) + a1 * b0 + a0 * b1) + a0 * b0
    return p, np.where(np.isfinite(e), e, 0.0)


class Uniques:
    """Distinct slots of a batch, without sorting."""

    def __init__(self) -> None:
        self._mark: Array = np.full(256, -1, np.int64)

    def of(self, slots: Array, capacity: int) -> tuple[Array, Array]:
        """Distinct slots in order of appearance, and each row's position among them."""
        if capacity > len(self._mark):
            self._mark = grown(self._mark, capacity, -1)
        touched, local = np.empty(len(slots), np.int64), np.empty(len(slots), np.int64)
        n = kernels.unique_slots(slots, self._mark, touched, local)
        return touched[:n].copy(), local
