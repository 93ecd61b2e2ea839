"""What the compiled loops of keyed state share: bytes read and written as words, the least and most of two.

What a kernel is, and when it is compiled, says `kernel.py`. Arrays are of int64, int32, uint64, uint8 or bool; inputs
that may be views of Arrow buffers are declared read-only.
"""

from __future__ import annotations

import numpy as np

from sqlstream.state.kernel import Instruction, helper

load64, load32, store64 = Instruction("load64"), Instruction("load32"), Instruction("store64")
prefetch, local_words = Instruction("prefetch"), Instruction("local_words")


@helper
def least(a, b):  # type: ignore[no-untyped-def]
    """Numba's own `min` takes ten times as long to compile."""
    return a if a < b else b


@helper
def most(a, b):  # type: ignore[no-untyped-def]
    """As `least`, the greater."""
    return a if a > b else b


@helper
def short(data, at, n):  # type: ignore[no-untyped-def]
    """The n < 8 bytes at `at` as one word; different bytes of one length give different words."""
    if n >= 4:
        return load32(data, at) | (load32(data, at + n - 4) << np.uint64(32))
    if n == 0:
        return np.uint64(0)
    return (
        np.uint64(data[at])
        | (np.uint64(data[at + (n >> 1)]) << np.uint64(8))
        | (np.uint64(data[at + n - 1]) << np.uint64(16))
    )


@helper
def same(a, i, b, j, n):  # type: ignore[no-untyped-def]
    """Whether the n bytes at a[i] and b[j] are equal."""
    if n < 8:
        return short(a, i, n) == short(b, j, n)
    k = 0
    while k + 8 <= n:
        if load64(a, i + k) != load64(b, j + k):
            return False
        k += 8
    return load64(a, i + n - 8) == load64(b, j + n - 8)


@helper
def copy(a, i, b, j, n):  # type: ignore[no-untyped-def]
    """Copy n bytes from a[i] to b[j]; the ranges must not overlap."""
    if n < 8:
        for k in range(n):
            b[j + k] = a[i + k]
        return
    k = 0
    while k + 8 <= n:
        store64(b, j + k, load64(a, i + k))
        k += 8
    store64(b, j + n - 8, load64(a, i + n - 8))
