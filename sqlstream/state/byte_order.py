"""The order of byte strings, as RocksDB has them: by their bytes, and the shorter first."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sqlstream.state import packing_kernels
from sqlstream.state.arrays import Array
from sqlstream.state.encoding import Packed, as_binary


def key_order(keys: Packed) -> Array | None:
    """Indices that sort distinct keys; None when they are sorted already.

    Sorts the first eight bytes in which keys may differ, as numbers; those that have these in common, as they are.
    """
    n = len(keys)
    if n < 2:
        return None
    words = np.empty(n, np.uint64)
    prefix = packing_kernels.common_prefix(keys.data, keys.offsets)
    packing_kernels.leading_words(keys.data, keys.offsets, prefix, words)
    if (words[1:] > words[:-1]).all():
        return None
    order = np.argsort(words)
    sorted_words = words[order]
    tied = np.zeros(n, np.bool_)
    tied[1:] = sorted_words[1:] == sorted_words[:-1]
    tied[:-1] |= tied[1:]
    if tied.any():
        some = order[tied]
        order[tied] = some[pc.sort_indices(as_binary(keys).take(pa.array(some))).to_numpy()]
        if (order == np.arange(n)).all():
            return None
    return order
