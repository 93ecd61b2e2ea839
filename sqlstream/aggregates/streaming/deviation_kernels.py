"""The compiled loops of VAR and STDDEV of integers. Apart, and imported when such a call runs, so that other
queries do not compile them. Conventions as in kernels.py.
"""

from __future__ import annotations

import numpy as np

from sqlstream.aggregates.streaming.kernels import add_to, divided, negated
from sqlstream.state.kernel import I64, B, helper, kernel, r, w


@helper
def product(a, b):  # type: ignore[no-untyped-def]
    """a * b of two non-negative int64 as (low, high)."""
    x, y = np.uint64(a), np.uint64(b)
    mask, half = np.uint64(0xFFFFFFFF), np.uint64(32)
    x0, x1, y0, y1 = x & mask, x >> half, y & mask, y >> half
    p00, p01, p10, p11 = x0 * y0, x0 * y1, x1 * y0, x1 * y1
    middle = (p00 >> half) + (p01 & mask) + (p10 & mask)
    low = (p00 & mask) | ((middle & mask) << half)
    high = p11 + (p01 >> half) + (p10 >> half) + (middle >> half)
    return np.int64(low), np.int64(high)


@kernel(B, w(I64, 2), r(I64), r(I64), r(I64))
def square_add(data, slots, values, signs):  # type: ignore[no-untyped-def]
    """128-bit sums of the squares of 64-bit values."""
    over = False
    for i in range(len(slots)):
        v = values[i]
        v = abs(v)  # of the least it stays, and is 2**63 without a sign
        low, high = product(v, v)
        if len(signs) and signs[i] < 0:
            low, high = negated(low, high)
        over |= add_to(data, slots[i], low, high)
    return over


@kernel(B, r(I64, 2), r(I64, 2), r(I64), I64, w(I64))
def variance(sums, squares, counts, less, out):  # type: ignore[no-untyped-def]
    """(squares - sums * sums / n) / (n - less) in integers, each division truncated; 0 where n <= less."""
    over = False
    for i in range(len(counts)):
        n = counts[i]
        out[i] = 0
        if n <= less:
            continue
        low, high = sums[i, 0], sums[i, 1]
        if high < 0:
            low, high = negated(low, high)
        if high != 0:
            over = True
            continue
        low, high = product(low, low)
        low, high, _ = divided(low, high, n)
        low, high = negated(low, high)
        total = np.int64(np.uint64(squares[i, 0]) + np.uint64(low))
        carry = np.int64(1) if np.uint64(total) < np.uint64(low) else np.int64(0)
        top = squares[i, 1] + high + carry
        # Never negative: the sum of squares is at least the square of the sum over n, truncated or not.
        low, high, _ = divided(total, top, n - less)
        over |= high != 0 or low < 0
        out[i] = low
    return over
