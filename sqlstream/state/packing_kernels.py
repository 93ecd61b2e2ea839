"""Compiled loops of packed rows (`fields.py`, `encoding.py`, `nested.py`).

Those that read take where row i is to be read (at[i], which moves) and where it ends (end[i] <= data.size): they read
nothing beyond that, and give False when a row ends before what it says.
"""

from __future__ import annotations

import numpy as np

from sqlstream.state.hash_kernels import hash_bytes
from sqlstream.state.kernel import I64, U8, U64, VOID, B, kernel, r, w
from sqlstream.state.words import copy, least, load32


@kernel(VOID, w(U8), w(I64), r(U8), I64, r(B))
def pack_fixed(out, at, values, width, valid):  # type: ignore[no-untyped-def]
    """Appends the `width` bytes of value i to row i, whose end is at[i] and moves; nothing where NULL."""
    for i in range(at.size):
        if valid.size == 0 or valid[i]:
            copy(values, i * width, out, at[i], width)
            at[i] += width


@kernel(VOID, w(U8), w(I64), r(U8), r(I64), r(B))
def pack_bytes(out, at, data, offsets, valid):  # type: ignore[no-untyped-def]
    """Appends the length (4 bytes, little-endian) and the bytes."""
    for i in range(at.size):
        if valid.size == 0 or valid[i]:
            n = offsets[i + 1] - offsets[i]
            for k in range(4):
                out[at[i] + k] = (n >> (8 * k)) & 255
            copy(data, offsets[i], out, at[i] + 4, n)
            at[i] += 4 + n


@kernel(VOID, w(U8), r(I64), r(I64), r(U8), r(I64))
def pack_lists(out, at, first, data, offsets):  # type: ignore[no-untyped-def]
    """List i, of elements first[i] to first[i + 1]: their number, lengths (4 bytes each), and bytes."""
    for i in range(at.size):
        a, n = at[i], first[i + 1] - first[i]
        for k in range(4):
            out[a + k] = (n >> (8 * k)) & 255
        a += 4
        for e in range(first[i], first[i + 1]):
            size = offsets[e + 1] - offsets[e]
            for k in range(4):
                out[a + k] = (size >> (8 * k)) & 255
            a += 4
        begin = offsets[first[i]]
        copy(data, begin, out, a, offsets[first[i + 1]] - begin)


@kernel(VOID, w(U8), w(I64), r(U8), r(I64))
def pack_segments(out, at, data, bounds):  # type: ignore[no-untyped-def]
    """Appends data[bounds[i]:bounds[i + 1]] to row i."""
    for i in range(at.size):
        n = bounds[i + 1] - bounds[i]
        copy(data, bounds[i], out, at[i], n)
        at[i] += n


@kernel(VOID, w(U8), r(B), r(I64), r(I64))
def pack_bits(out, valid, first, bounds):  # type: ignore[no-untyped-def]
    """out[bounds[i]:bounds[i + 1]], which is zeros: a bit for each of the elements first[i] to first[i + 1]."""
    for i in range(first.size - 1):
        for e in range(first[i], first[i + 1]):
            if valid.size == 0 or valid[e]:
                k = e - first[i]
                out[bounds[i] + (k >> 3)] |= np.uint8(1 << (k & 7))


@kernel(VOID, r(U8), r(I64), r(I64), w(B))
def unpack_bits(data, bounds, first, valid):  # type: ignore[no-untyped-def]
    """What `pack_bits` packed."""
    for i in range(first.size - 1):
        for e in range(first[i], first[i + 1]):
            k = e - first[i]
            valid[e] = (data[bounds[i] + (k >> 3)] >> (k & 7)) & 1 != 0


@kernel(B, r(U8), w(I64), r(I64), w(U8), I64, r(B))
def unpack_fixed(data, at, end, out, width, valid):  # type: ignore[no-untyped-def]
    """Values of `width` bytes; zeros where NULL."""
    for i in range(at.size):
        if valid.size == 0 or valid[i]:
            if end[i] - at[i] < width:
                return False
            copy(data, at[i], out, i * width, width)
            at[i] += width
        else:
            for k in range(width):
                out[i * width + k] = 0
    return True


@kernel(B, r(U8), w(I64), r(I64), w(I64), w(I64), r(B))
def unpack_lengths(data, at, end, starts, offsets, valid):  # type: ignore[no-untyped-def]
    """Steps over byte strings: where each starts, and where it ends (offsets[i + 1]) when they stand end to end."""
    for i in range(at.size):
        n = np.int64(0)
        if valid.size == 0 or valid[i]:
            left = end[i] - at[i] - 4
            if left < 0:
                return False
            n = np.int64(load32(data, at[i]))
            if n > left:
                return False
            starts[i] = at[i] + 4
            at[i] += 4 + n
        offsets[i + 1] = offsets[i] + n
    return True


@kernel(VOID, r(U8), r(I64), r(I64), w(U8))
def gather_strings(data, starts, offsets, out):  # type: ignore[no-untyped-def]
    """The byte strings that `unpack_lengths` found, end to end."""
    for i in range(starts.size):
        n = offsets[i + 1] - offsets[i]
        if n:
            copy(data, starts[i], out, offsets[i], n)


@kernel(B, r(I64), r(I64), r(I64))
def has_segments(at, end, bounds):  # type: ignore[no-untyped-def]
    """Whether each row has bounds[i + 1] - bounds[i] bytes left."""
    for i in range(at.size):  # noqa: SIM110 - kernels have no generators
        if bounds[i + 1] - bounds[i] > end[i] - at[i]:
            return False
    return True


@kernel(VOID, r(U8), w(I64), r(I64), w(U8))
def unpack_segments(data, at, bounds, out):  # type: ignore[no-untyped-def]
    """What `pack_segments` packed, of rows that are long enough (`has_segments`)."""
    for i in range(at.size):
        n = bounds[i + 1] - bounds[i]
        copy(data, at[i], out, bounds[i], n)
        at[i] += n


@kernel(I64, r(U8))
def checksum(data):  # type: ignore[no-untyped-def]
    """The hash of all bytes."""
    return np.int64(hash_bytes(data, np.int64(0), np.int64(data.size)))


@kernel(I64, r(U8), r(I64))
def common_prefix(data, offsets):  # type: ignore[no-untyped-def]
    """The number of bytes that all strings begin with."""
    first = offsets[0]
    out = offsets[1] - first
    for i in range(1, offsets.size - 1):
        at = offsets[i]
        out = least(out, offsets[i + 1] - at)
        k = 0
        while k < out and data[first + k] == data[at + k]:
            k += 1
        out = k
        if out == 0:
            break
    return out


@kernel(VOID, r(U8), r(I64), I64, w(U64))
def leading_words(data, offsets, skip, out):  # type: ignore[no-untyped-def]
    """Eight bytes of each string after the first `skip`, as a big-endian number; zeros where it is shorter."""
    for i in range(out.size):
        at, n = offsets[i] + skip, least(offsets[i + 1] - offsets[i] - skip, np.int64(8))
        word = np.uint64(0)
        for k in range(n):
            word |= np.uint64(data[at + k]) << np.uint64(56 - 8 * k)
        out[i] = word
