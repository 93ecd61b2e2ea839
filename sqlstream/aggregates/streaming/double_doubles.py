"""Sums and products of doubles with their rounding errors."""

from __future__ import annotations

import numpy as np

from sqlstream.state.arrays import Array


def two_sum(a: Array, b: Array) -> tuple[Array, Array]:
    """a + b, and its rounding error: together they are the sum exactly, unless it overflows."""
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
