"""Canonical keys: what makes two key values the same, and the hash that says which key group they are in.

A key column is one of
    words   int64 (n, 1), for decimals (n, 2): integers, dates and times as they are, floats by their bits
            with -0.0 as 0.0 and one NaN; 0 where NULL
    bytes   strings and binary by their bytes; nested values (ROW, ARRAY, MAP) by their canonical encoding
and a validity. The stable hash is a function of these alone: the same in every process, on every platform,
for every way in which Arrow may lay the values out. It decides key groups: it is part of the durable format.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from pyarrow import types as pt

from sqlstream.state import hash_kernels
from sqlstream.state.arrays import Array, byte_strings, fixed, is_bytes, is_pair, is_words, plain, validity
from sqlstream.state.spec import KEY_GROUPS

CANONICAL_NAN = 0x7FF8000000000000


@dataclass(frozen=True)
class Words:
    """Values (n, width) with width 1 or 2, contiguous; `valid` is ALL when there are no NULLs."""

    words: Array
    valid: Array


@dataclass(frozen=True)
class Bytes:
    """Byte string i is data[offsets[i]:offsets[i + 1]] (uint8, int32); `valid` as in arrays.py."""

    data: Array
    offsets: Array
    valid: Array


def key_width(t: pa.DataType) -> int:
    """Words that a key column of this type takes (a byte string is interned: one)."""
    return 2 if is_pair(t) else 1


def canonical(a: pa.Array) -> Words | Bytes:
    """The canonical form of a `plain` array."""
    t, valid = a.type, validity(a)
    if is_bytes(t):
        return Bytes(*byte_strings(a), valid)
    if pt.is_null(t):
        return Words(np.zeros((len(a), 1), np.int64), np.zeros(len(a), np.bool_))
    if is_pair(t):
        words = fixed(a)
    elif is_words(t):
        words = _words(fixed(a)).reshape(-1, 1)
    else:
        from sqlstream.state.encoding import canonical_bytes

        return Bytes(*byte_strings(canonical_bytes(a)), valid)
    if valid.size:
        words = np.where(valid[:, None], words, np.int64(0))
    return Words(words, valid)


def _words(values: Array) -> Array:
    """One-word values as int64."""
    if values.dtype.kind == "f":
        doubles = values.astype(np.float64) + 0.0  # -0.0 + 0.0 is 0.0
        words = doubles.view(np.int64)
        nan = np.isnan(doubles)
        if nan.any():
            words[nan] = CANONICAL_NAN
        return words
    if values.dtype == np.uint64:
        return values.view(np.int64)
    return values.astype(np.int64, copy=False)


def stable_hash(columns: list[Words | Bytes], n: int) -> Array:
    """The 64-bit hash of n rows of canonical columns."""
    h = np.full(n, hash_kernels.SEED)
    for c in columns:
        if isinstance(c, Bytes):
            hash_kernels.combine_bytes(h, c.data, c.offsets, c.valid)
        else:
            for j in range(c.words.shape[1]):
                hash_kernels.combine_words(h, np.ascontiguousarray(c.words[:, j]), c.valid)
    return h


def groups_of(h: Array) -> Array:
    """The key groups (uint16) of stable hashes."""
    return (h % np.uint64(KEY_GROUPS)).astype(np.uint16)


def key_groups(arrays: list[pa.Array], n: int) -> Array:
    """The key group (uint16) of each of n rows. No columns: all in group 0."""
    if not arrays:
        return np.zeros(n, np.uint16)
    return groups_of(stable_hash([canonical(plain(a)) for a in arrays], n))
