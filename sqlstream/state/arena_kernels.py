"""Compiled loops of byte arenas: values of any length by slot."""

from __future__ import annotations

import numpy as np

from sqlstream.state.hash_kernels import hash_bytes
from sqlstream.state.kernel import I32, I64, U8, VOID, B, helper, kernel, r, w
from sqlstream.state.meta import GARBAGE, NEED, USED
from sqlstream.state.words import copy, load64, most, prefetch, same, store64

# A value's span is a row (place, length) of an array by slot: its first byte in an arena in units of 8 bytes, so that 32
# bits reach over 16 GiB. Length -1 is NULL.
UNIT = 3


@helper
def place(spans, slot):  # type: ignore[no-untyped-def]
    """The first byte in the arena of the value at `slot`."""
    return np.int64(spans[slot, 0]) << UNIT


@helper
def room(n):  # type: ignore[no-untyped-def]
    """The bytes of the units that n bytes take."""
    return (np.int64(n) + 7) & ~np.int64(7)


@kernel(I64, r(I32, 2), r(I64))
def total_length(spans, slots):  # type: ignore[no-untyped-def]
    """Bytes that the values at `slots` have together; NULL has none."""
    n = np.int64(0)
    for i in range(slots.size):
        if i + 32 < slots.size:
            prefetch(spans, slots[i + 32] * 2)
        n += most(spans[slots[i], 1], np.int64(0))
    return n


@helper
def ask_spans(spans, arena, slots, i):  # type: ignore[no-untyped-def]
    """Prefetch the span that is needed 32 slots on from i, and the bytes that are needed 16 on."""
    if i + 32 < slots.size:
        prefetch(spans, slots[i + 32] * 2)
        prefetch(arena, place(spans, slots[i + 16]))


@kernel(VOID, r(U8), r(I32, 2), r(I64), w(I32), w(U8))
def gather_bytes(arena, spans, slots, offsets, out):  # type: ignore[no-untyped-def]
    """Arrow offsets and data of the values at `slots`."""
    at = np.int64(0)
    offsets[0] = 0
    for i in range(slots.size):
        ask_spans(spans, arena, slots, i)
        s = slots[i]
        n = np.int64(spans[s, 1])
        if n > 0:
            copy(arena, place(spans, s), out, at, n)
            at += n
        offsets[i + 1] = at


# Tries after which values that are seldom found are no longer looked for, in one call.
TRIES = 512


@kernel(I64, r(U8), r(I32), r(B), r(I64), w(U8), w(I32, 2), w(I64), w(I64), I64)
def scatter_bytes(data, offsets, valid, slots, arena, spans, meta, recent, start):  # type: ignore[no-untyped-def]
    """Sets the values at `slots` in order; in place when not longer than before. Stops as `upsert_bytes`.

    `recent` not empty (a power of two): equal values share their bytes when the slot + 1 of one is found there by its
    hash, or beside it (the two change places then); nothing is changed in place.
    """
    meta[NEED] = 0
    share = recent.size > 0
    tries = found = np.int64(0)
    for i in range(start, slots.size):
        ask_spans(spans, arena, slots, i)
        s, begin = slots[i], np.int64(offsets[i])
        old = room(most(spans[s, 1], np.int64(0)))
        n = np.int64(offsets[i + 1]) - begin
        if valid.size and not valid[i]:
            spans[s, 1] = -1
            meta[GARBAGE] += old
            continue
        if share and n > 0:
            home = np.int64(hash_bytes(data, begin, n) & np.uint64(recent.size - 1))
            tries += 1
            if tries == TRIES and found < TRIES // 4:
                share = False
            other = recent[home] - 1
            if other < 0 or spans[other, 1] != n or not same(data, begin, arena, place(spans, other), n):
                recent[home] = recent[home ^ 1]
                recent[home ^ 1] = other + 1
                other = recent[home] - 1
            if other >= 0 and spans[other, 1] == n and same(data, begin, arena, place(spans, other), n):
                found += 1
                spans[s, 0] = spans[other, 0]
                spans[s, 1] = n
                meta[GARBAGE] += old - room(n)
                continue
            recent[home] = s + 1
        if room(n) > old or recent.size:
            if meta[USED] + room(n) > arena.size:
                meta[NEED] = room(n)
                return i
            spans[s, 0] = meta[USED] >> UNIT
            meta[USED] += room(n)
            meta[GARBAGE] += old
        else:
            meta[GARBAGE] += old - room(n)
        copy(data, begin, arena, place(spans, s), n)
        spans[s, 1] = n
    return slots.size


@kernel(I64, w(U8), w(I32, 2), I64, w(U8), w(B))
def compact_bytes(arena, spans, n, out, moved):  # type: ignore[no-untyped-def]
    """Copies the values of slots below n together into `out`; returns the bytes used. What was shared stays shared:
    a value that was copied (`moved`, by unit of the arena) leaves its new place behind."""
    used = np.int64(0)
    for s in range(n):
        size = np.int64(spans[s, 1])
        if size > 0:
            at = place(spans, s)
            if moved[at >> UNIT]:
                spans[s, 0] = np.int64(load64(arena, at))
                continue
            copy(arena, at, out, used, size)
            spans[s, 0] = used >> UNIT
            moved[at >> UNIT] = True
            store64(arena, at, np.uint64(used >> UNIT))
            used += room(size)
    return used
