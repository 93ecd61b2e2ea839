"""Compiled loops of hash indexes: slots of keys.

Hash tables are open addressing with linear probing. An entry is one uint64: the upper 32 bits of the key's
hash (the tag, which also decides the home position) over slot + 1; 0 is empty. So growing and deleting (by
backward shift) never look at keys, and a lookup looks at a key only when 32 bits agree; equality is always
decided on the key itself. Lookups go in blocks, with prefetches first: cache misses overlap, and a table of
a million keys is as fast as one of ten thousand.
"""

from __future__ import annotations

import numpy as np

from sqlstream.state.arena_kernels import UNIT, place, room
from sqlstream.state.hash_kernels import _LOW, _ONE, _S32, NULL_HASH, SEED, hash_bytes, mix
from sqlstream.state.kernel import I32, I64, U8, U64, VOID, B, helper, kernel, r, w
from sqlstream.state.meta import FREE, GARBAGE, NEED, NEXT, SIZE, USED
from sqlstream.state.words import copy, least, local_words, most, prefetch, same

# Keys looked up together: what they will touch is asked for before the first is compared.
AHEAD = 64


@helper
def first_slot(entry):  # type: ignore[no-untyped-def]
    """The slot of an entry, 0 if it is empty: an address that may be asked for."""
    return most(np.int64(entry & _LOW) - 1, 0)


@helper
def ask(tags, n, table, rows):  # type: ignore[no-untyped-def]
    """Prefetch the home positions of n tags, and the rows of the slots there."""
    mask = np.uint64(table.size - 1)
    for k in range(n):
        prefetch(table, np.int64(tags[k] & mask))
    for k in range(n):
        prefetch(rows, first_slot(table[tags[k] & mask]) * rows.shape[1])


@helper
def hash_row(words, i, width, nulls):  # type: ignore[no-untyped-def]
    """Hash of a row of words. With `nulls` the last is the NULL bitmap, and counts only when it is not 0."""
    h = SEED
    for j in range(width - nulls):
        h = mix(h, np.uint64(words[i, j]))
    if nulls and words[i, width - 1] != 0:
        h = mix(h, np.uint64(words[i, width - 1]))
    return h


@helper
def take_slot(meta, free, live):  # type: ignore[no-untyped-def]
    """A slot for a new key: a freed one, else the next; -1 when there is none left."""
    if meta[FREE] > 0:
        meta[FREE] -= 1
        slot = free[meta[FREE]]
    else:
        slot = meta[NEXT]
        if slot >= live.size:
            return np.int64(-1)
        meta[NEXT] += 1
    meta[SIZE] += 1
    live[slot] = True
    return slot


@helper
def unlink(table, tag, slot):  # type: ignore[no-untyped-def]
    """Remove the entry of `slot`, and shift back the entries behind it."""
    mask = np.uint64(table.size - 1)
    entry = (tag << _S32) | np.uint64(slot + 1)
    at = tag & mask
    while table[at] != entry:
        at = (at + _ONE) & mask
    hole = at
    at = (at + _ONE) & mask
    while table[at] != 0:
        home = (table[at] >> _S32) & mask
        if ((at - home) & mask) >= ((at - hole) & mask):
            table[hole] = table[at]
            hole = at
        at = (at + _ONE) & mask
    table[hole] = 0


@kernel(VOID, r(U64), w(U64))
def rehash(old, new):  # type: ignore[no-untyped-def]
    """Puts all entries into an empty table, by their tags alone."""
    mask = np.uint64(new.size - 1)
    for i in range(old.size):
        e = old[i]
        if e != 0:
            at = (e >> _S32) & mask
            while new[at] != 0:
                at = (at + _ONE) & mask
            new[at] = e


@kernel(I64, r(I64), w(U64), w(I64, 2), w(I64), w(I64), w(B), w(I64), w(B), I64)
def upsert_word(words, table, keys, meta, free, live, out, fresh, start):  # type: ignore[no-untyped-def]
    """Slots of rows start.. of one-word keys; returns the row at which table or slots were full, else n."""
    mask, limit = np.uint64(table.size - 1), table.size // 8 * 5
    tags = local_words(AHEAD)
    for i in range(start, words.size):
        if (i - start) % AHEAD == 0:
            for k in range(least(words.size - i, AHEAD)):
                tags[k] = mix(SEED, np.uint64(words[i + k])) >> _S32
            ask(tags, least(words.size - i, AHEAD), table, keys)
        word = words[i]
        tag = tags[(i - start) % AHEAD]
        at = tag & mask
        while True:
            e = table[at]
            if e == 0:
                if meta[SIZE] >= limit:
                    return i
                slot = take_slot(meta, free, live)
                if slot < 0:
                    return i
                keys[slot, 0] = word
                table[at] = (tag << _S32) | np.uint64(slot + 1)
                out[i] = slot
                fresh[i] = True
                break
            if e >> _S32 == tag:
                slot = np.int64(e & _LOW) - 1
                if keys[slot, 0] == word:
                    out[i] = slot
                    fresh[i] = False
                    break
            at = (at + _ONE) & mask
    return words.size


@kernel(I64, r(I64, 2), w(U64), w(I64, 2), w(I64), w(I64), w(B), w(I64), w(B), I64, I64)
def upsert_row(words, table, keys, meta, free, live, out, fresh, start, nulls):  # type: ignore[no-untyped-def]
    """`upsert_word` for keys of several words, the last of them the NULL bitmap if `nulls` is 1."""
    mask, limit = np.uint64(table.size - 1), table.size // 8 * 5
    n, width = words.shape
    tags = local_words(AHEAD)
    for i in range(start, n):
        if (i - start) % AHEAD == 0:
            for k in range(least(n - i, AHEAD)):
                tags[k] = hash_row(words, i + k, width, nulls) >> _S32
            ask(tags, least(n - i, AHEAD), table, keys)
        tag = tags[(i - start) % AHEAD]
        at = tag & mask
        while True:
            e = table[at]
            if e == 0:
                if meta[SIZE] >= limit:
                    return i
                slot = take_slot(meta, free, live)
                if slot < 0:
                    return i
                for j in range(width):
                    keys[slot, j] = words[i, j]
                table[at] = (tag << _S32) | np.uint64(slot + 1)
                out[i] = slot
                fresh[i] = True
                break
            if e >> _S32 == tag:
                slot = np.int64(e & _LOW) - 1
                equal = True
                for j in range(width):
                    if keys[slot, j] != words[i, j]:
                        equal = False
                        break
                if equal:
                    out[i] = slot
                    fresh[i] = False
                    break
            at = (at + _ONE) & mask
    return n


@kernel(VOID, r(I64, 2), r(U64), r(I64, 2), w(I64), I64)
def find_row(words, table, keys, out, nulls):  # type: ignore[no-untyped-def]
    """Slots of rows of words, -1 where there is none. `nulls`: the last word is the NULL bitmap."""
    mask = np.uint64(table.size - 1)
    n, width = words.shape
    tags = local_words(AHEAD)
    for i in range(n):
        if i % AHEAD == 0:
            for k in range(least(n - i, AHEAD)):
                tags[k] = hash_row(words, i + k, width, nulls) >> _S32
            ask(tags, least(n - i, AHEAD), table, keys)
        tag = tags[i % AHEAD]
        at = tag & mask
        out[i] = -1
        while table[at] != 0:
            e = table[at]
            if e >> _S32 == tag:
                slot = np.int64(e & _LOW) - 1
                equal = True
                for j in range(width):
                    if keys[slot, j] != words[i, j]:
                        equal = False
                        break
                if equal:
                    out[i] = slot
                    break
            at = (at + _ONE) & mask


@kernel(VOID, r(I64), w(U64), r(I64, 2), w(I64), w(I64), w(B), I64)
def delete_rows(slots, table, keys, meta, free, live, nulls):  # type: ignore[no-untyped-def]
    """Frees live slots; dead ones and repetitions are skipped."""
    for slot in slots:
        if live[slot]:
            unlink(table, hash_row(keys, slot, keys.shape[1], nulls) >> _S32, slot)
            live[slot] = False
            free[meta[FREE]] = slot
            meta[FREE] += 1
            meta[SIZE] -= 1


@helper
def hash_value(data, offsets, valid, i):  # type: ignore[no-untyped-def]
    """The hash of byte string i, or that of NULL."""
    if valid.size and not valid[i]:
        return NULL_HASH
    return hash_bytes(data, np.int64(offsets[i]), np.int64(offsets[i + 1] - offsets[i]))


@helper
def hash_ahead(data, offsets, valid, i, hs, table, spans, arena):  # type: ignore[no-untyped-def]
    """Hashes of the values from i on, and prefetches of all that comparing them will touch."""
    n, mask = least(offsets.size - 1 - i, AHEAD), np.uint64(table.size - 1)
    for k in range(n):
        hs[k] = hash_value(data, offsets, valid, i + k)
        prefetch(table, np.int64((hs[k] >> _S32) & mask))
    for k in range(n):
        prefetch(spans, first_slot(table[(hs[k] >> _S32) & mask]) * 2)
    for k in range(n):
        prefetch(arena, place(spans, first_slot(table[(hs[k] >> _S32) & mask])))


@helper
def find_value(data, begin, n, h, table, spans, arena):  # type: ignore[no-untyped-def]
    """The slot that holds the value (n = -1: NULL), else -1 - the empty position."""
    mask = np.uint64(table.size - 1)
    tag = h >> _S32
    at = tag & mask
    while table[at] != 0:
        e = table[at]
        if e >> _S32 == tag:
            slot = np.int64(e & _LOW) - 1
            if spans[slot, 1] == n and (n <= 0 or same(data, begin, arena, place(spans, slot), n)):
                return slot
        at = (at + _ONE) & mask
    return -1 - np.int64(at)


@kernel(I64, r(U8), r(I32), r(B), w(U64), w(U64), w(I32, 2), w(U8), w(I64), w(I64), w(B), w(I64), w(B), I64)
def upsert_bytes(  # type: ignore[no-untyped-def]
    data, offsets, valid, table, hashes, spans, arena, meta, free, live, out, fresh, start
):
    """`upsert_word` for byte strings; stops also when the arena is full (meta[NEED]: bytes needed, or 0)."""
    limit, n = table.size // 8 * 5, offsets.size - 1
    meta[NEED] = 0
    hs = local_words(AHEAD)
    for i in range(start, n):
        if (i - start) % AHEAD == 0:
            hash_ahead(data, offsets, valid, i, hs, table, spans, arena)
        h = hs[(i - start) % AHEAD]
        size = np.int64(offsets[i + 1] - offsets[i])
        if valid.size and not valid[i]:
            size = np.int64(-1)
        slot = find_value(data, np.int64(offsets[i]), size, h, table, spans, arena)
        fresh[i] = slot < 0
        if slot < 0:
            at = -1 - slot
            if meta[SIZE] >= limit:
                return i
            if size > 0 and meta[USED] + room(size) > arena.size:
                meta[NEED] = room(size)
                return i
            slot = take_slot(meta, free, live)
            if slot < 0:
                return i
            hashes[slot] = h
            spans[slot, 0] = meta[USED] >> UNIT
            spans[slot, 1] = size
            if size > 0:
                copy(data, np.int64(offsets[i]), arena, meta[USED], size)
                meta[USED] += room(size)
            table[at] = ((h >> _S32) << _S32) | np.uint64(slot + 1)
        out[i] = slot
    return n


@kernel(VOID, r(U8), r(I32), r(B), r(U64), r(I32, 2), r(U8), w(I64))
def find_bytes(data, offsets, valid, table, spans, arena, out):  # type: ignore[no-untyped-def]
    """Slots of byte strings, -1 where there is none."""
    hs = local_words(AHEAD)
    for i in range(offsets.size - 1):
        if i % AHEAD == 0:
            hash_ahead(data, offsets, valid, i, hs, table, spans, arena)
        size = np.int64(offsets[i + 1] - offsets[i])
        if valid.size and not valid[i]:
            size = np.int64(-1)
        slot = find_value(data, np.int64(offsets[i]), size, hs[i % AHEAD], table, spans, arena)
        out[i] = most(slot, np.int64(-1))


@kernel(VOID, r(I64), w(U64), r(U64), w(I32, 2), w(I64), w(I64), w(B))
def delete_bytes(slots, table, hashes, spans, meta, free, live):  # type: ignore[no-untyped-def]
    """Frees live slots; dead ones and repetitions are skipped. What their bytes took is garbage."""
    for slot in slots:
        if live[slot]:
            unlink(table, hashes[slot] >> _S32, slot)
            live[slot] = False
            free[meta[FREE]] = slot
            meta[FREE] += 1
            meta[SIZE] -= 1
            meta[GARBAGE] += room(most(spans[slot, 1], np.int64(0)))
            spans[slot, 1] = -1


@kernel(I64, w(I64), r(I64), w(I64))
def release(refs, ids, dead):  # type: ignore[no-untyped-def]
    """refs[id] -= 1 for each id; those that reach 0 are written to `dead`, whose number is returned."""
    n = 0
    for i in ids:
        refs[i] -= 1
        if refs[i] == 0:
            dead[n] = i
            n += 1
    return n
