"""Compiled loops of the filter (`filter.py`)."""

from __future__ import annotations

import numpy as np

from sqlstream.state.hash_kernels import hash_bytes
from sqlstream.state.kernel import I64, U8, U64, VOID, B, helper, kernel, r, w
from sqlstream.state.words import least, prefetch

WORDS_A_LINE = 8  # 512 bits: a line of the cache
PROBES = 6
_AHEAD = 64
_LINES, _NINE, _LOW9, _SIX, _LOW6, _ONE = (np.uint64(x) for x in (32, 9, 511, 6, 63, 1))


@kernel(VOID, r(U8), r(I64), w(U64))
def hashes_of(data, offsets, out):  # type: ignore[no-untyped-def]
    """The hash of each byte string. The table of slots and key groups use the same function."""
    for i in range(out.size):
        out[i] = hash_bytes(data, offsets[i], offsets[i + 1] - offsets[i])


@helper
def line_of(h, words):  # type: ignore[no-untyped-def]
    """The first word of the line that a hash falls into; the number of lines is a power of two."""
    return np.int64((h >> _LINES) & np.uint64(words.size // WORDS_A_LINE - 1)) * WORDS_A_LINE


@kernel(VOID, r(U64), r(U64), w(B))
def has(hashes, words, out):  # type: ignore[no-untyped-def]
    """Sets out[i] where a layer may have the key."""
    n = hashes.size
    for begin in range(0, n, _AHEAD):
        end = least(begin + _AHEAD, n)
        for i in range(begin, end):
            prefetch(words, line_of(hashes[i], words))
        for i in range(begin, end):
            line, bits, there = line_of(hashes[i], words), hashes[i], True
            bits = bits * np.uint64(0x9E3779B97F4A7C15)
            for _ in range(PROBES):
                word = words[line + np.int64((bits & _LOW9) >> _SIX)]
                there = there and (word >> (bits & _LOW6)) & _ONE != 0
                bits = bits >> _NINE
            if there:
                out[i] = True


@kernel(VOID, r(U64), r(B), w(U64))
def add(hashes, known, words):  # type: ignore[no-untyped-def]
    """Adds the keys that are not `known`."""
    n = hashes.size
    for begin in range(0, n, _AHEAD):
        end = least(begin + _AHEAD, n)
        for i in range(begin, end):
            prefetch(words, line_of(hashes[i], words))
        for i in range(begin, end):
            if known[i]:
                continue
            line, bits = line_of(hashes[i], words), hashes[i]
            bits = bits * np.uint64(0x9E3779B97F4A7C15)
            for _ in range(PROBES):
                at = line + np.int64((bits & _LOW9) >> _SIX)
                words[at] = words[at] | (_ONE << (bits & _LOW6))
                bits = bits >> _NINE
