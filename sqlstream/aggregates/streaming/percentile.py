"""The streaming half of PERCENTILE and MEDIAN."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from sqlstream.aggregates.streaming.kept import GroupRows, Kept
from sqlstream.aggregates.streaming.part import as_doubles
from sqlstream.state.arrays import Array, fixed, from_fixed


class Percentile(Kept):
    """PERCENTILE(x, p), PERCENTILE(x, p, n): x in order, each n times; between two of them in proportion. And MEDIAN(x),
    which is PERCENTILE(x, 0.5)."""

    ordered = False

    def of_rows(self, rows: GroupRows, slots: Array) -> pa.Array:
        values, times = as_doubles(rows.args[0]), rows.counts
        if len(rows.args) > 1:
            times = times * np.maximum(fixed(rows.args[1]).astype(np.int64), 0)
        upto = np.concatenate([[0], np.cumsum(times)])
        before = upto[rows.offsets[:-1]]
        n = upto[rows.offsets[1:]] - before
        (wanted,) = self.call.constants or (0.5,)
        several = isinstance(wanted, tuple)
        columns = [_at(values, upto, before, n, p) for p in (wanted if isinstance(wanted, tuple) else (wanted,))]
        flat = from_fixed(np.stack(columns, axis=1).reshape(-1), np.repeat(n > 0, len(columns)), pa.float64())
        if not several:
            return flat
        offsets = pa.array(np.arange(len(slots) + 1, dtype=np.int32) * len(columns))
        return pa.ListArray.from_arrays(offsets, flat, mask=pa.array(n == 0)).cast(self.call.result.arrow())


def _at(values: Array, upto: Array, before: Array, n: Array, share: object) -> Array:
    """The value at a share of the way from the first to the last of each group's n values."""
    assert isinstance(share, float)
    out = np.zeros(len(n))
    some = np.flatnonzero(n > 0)
    place = (n[some] - 1) * share
    low = np.floor(place)
    # upto[i + 1] counts row i in: a value's row is the first that counts more than those before the value
    at = [np.searchsorted(upto, before[some] + p.astype(np.int64), "right") - 1 for p in (low, np.ceil(place))]
    a, b = values[at[0]], values[at[1]]
    with np.errstate(invalid="ignore"):
        out[some] = np.where(a == b, a, a + (b - a) * (place - low))
    return out
