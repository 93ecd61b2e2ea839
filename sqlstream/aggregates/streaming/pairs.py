"""128-bit integers as pairs (low, high) of int64 words."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from sqlstream.aggregates.streaming import kernels
from sqlstream.aggregates.streaming.part import Overflow
from sqlstream.state.arrays import Array, dtype_of, from_fixed, is_pair


def widened(words: Array) -> Array:
    """int64 as 128-bit pairs."""
    out = np.empty((len(words), 2), np.int64)
    out[:, 0], out[:, 1] = words, words >> 63
    return out


def narrowed(pairs: Array, given: Array, t: pa.DataType) -> pa.Array:
    """128-bit pairs as an integer or decimal column, NULL where not `given`; Overflow where it does not fit."""
    if is_pair(t):
        high = pairs[:, 1]
        # 10**38 is (high) 5421010862427522170 * 2**64 + 687399551400673280
        low = pairs[:, 0].view(np.uint64)
        top, rest = np.int64(5421010862427522170), np.uint64(687399551400673280)
        over = (high > top) | ((high == top) & (low >= rest))
        over |= (high < ~top) | ((high == ~top) & (low <= ~rest + np.uint64(1)))
        if (over & given).any():
            raise Overflow
        return from_fixed(np.where(given[:, None], pairs, 0), given, t)
    info, out = np.iinfo(dtype_of(t)), np.empty(len(pairs), np.int64)
    if kernels.narrow_pairs(pairs, given, int(info.min), int(info.max), out):
        raise Overflow
    return from_fixed(out.astype(dtype_of(t), copy=False), given, t)
