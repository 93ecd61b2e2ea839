"""Compiled loops of the stable hash."""

from __future__ import annotations

import numpy as np

from sqlstream.state.kernel import I32, I64, U8, U64, VOID, B, helper, kernel, r, w
from sqlstream.state.words import load64, short

# Part of the durable format (it decides key groups): never change the constants or the order of the steps.

SEED = np.uint64(0x9E3779B97F4A7C15)
NULL_HASH = np.uint64(0xA0761D6478BD642F)
_C1, _C2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_S32, _S29, _LOW = np.uint64(32), np.uint64(29), np.uint64(0xFFFFFFFF)
_ONE = np.uint64(1)


@helper
def mix(h, word):  # type: ignore[no-untyped-def]
    """One step of the hash: splitmix64's finaliser over the running hash and a word."""
    h = (h ^ word) * _C1
    h ^= h >> _S32
    h *= _C2
    return h ^ (h >> _S29)


@helper
def hash_bytes(data, at, n):  # type: ignore[no-untyped-def]
    """The hash of the n bytes from `at` on. Their number is part of it; the last word may overlap the one before."""
    h = mix(SEED, np.uint64(n))
    if n < 8:
        return mix(h, short(data, at, n))
    k = 0
    while k + 8 <= n:
        h = mix(h, load64(data, at + k))
        k += 8
    return mix(h, load64(data, at + n - 8))


@kernel(VOID, w(U64), r(I64), r(B))
def combine_words(h, words, valid):  # type: ignore[no-untyped-def]
    """h[i] = mix(h[i], word i), NULL where not valid (`valid` empty: all are)."""
    for i in range(h.size):
        if valid.size and not valid[i]:
            h[i] = mix(h[i], NULL_HASH)
        else:
            h[i] = mix(h[i], np.uint64(words[i]))


@kernel(VOID, w(U64), r(U8), r(I32), r(B))
def combine_bytes(h, data, offsets, valid):  # type: ignore[no-untyped-def]
    """h[i] = mix(h[i], hash of byte string i), NULL where not valid (`valid` empty: all are)."""
    for i in range(h.size):
        if valid.size and not valid[i]:
            h[i] = mix(h[i], NULL_HASH)
        else:
            h[i] = mix(h[i], hash_bytes(data, np.int64(offsets[i]), np.int64(offsets[i + 1] - offsets[i])))
