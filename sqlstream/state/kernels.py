"""The compiled loops of keyed state: hashing, hash indexes, byte arenas, chains, row packing.

Everything is int64, uint64, uint8 or bool arrays; inputs that may be views of Arrow buffers are declared read-only.
What a kernel is, and when it is compiled, says `kernel.py`.

Hash tables are open addressing with linear probing. An entry is one uint64: the upper 32 bits of the key's
hash (the tag, which also decides the home position) over slot + 1; 0 is empty. So growing and deleting (by
backward shift) never look at keys, and a lookup looks at a key only when 32 bits agree; equality is always
decided on the key itself. Lookups go in blocks, with prefetches first: cache misses overlap, and a table of
a million keys is as fast as one of ten thousand.
"""

from __future__ import annotations

import numpy as np

from sqlstream.state.kernel import I32, I64, U8, U64, VOID, B, Instruction, helper, kernel, r, w

load64, load32, store64 = Instruction("load64"), Instruction("load32"), Instruction("store64")
prefetch, local_words = Instruction("prefetch"), Instruction("local_words")


# --- words of byte arrays ----------------------------------------------------------------------------------


@helper
def least(a, b):  # type: ignore[no-untyped-def]
    """Numba's own `min` takes ten times as long to compile."""
    return a if a < b else b


@helper
def most(a, b):  # type: ignore[no-untyped-def]
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


# A value's span is a row (place, length) of an array by slot: its first byte in an arena in units of 8 bytes, so that 32
# bits reach over 16 GiB. Length -1 is NULL.
UNIT = 3


@helper
def place(spans, slot):  # type: ignore[no-untyped-def]
    return np.int64(spans[slot, 0]) << UNIT


@helper
def room(n):  # type: ignore[no-untyped-def]
    """The bytes of the units that n bytes take."""
    return (np.int64(n) + 7) & ~np.int64(7)


# --- the stable hash ---------------------------------------------------------------------------------------
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
    for i in range(h.size):
        if valid.size and not valid[i]:
            h[i] = mix(h[i], NULL_HASH)
        else:
            h[i] = mix(h[i], hash_bytes(data, np.int64(offsets[i]), np.int64(offsets[i + 1] - offsets[i])))


# --- hash tables -------------------------------------------------------------------------------------------
# meta: what Python and kernels share of a table.
SIZE, NEXT, FREE, USED, GARBAGE, NEED = 0, 1, 2, 3, 4, 5


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


# --- byte arenas -------------------------------------------------------------------------------------------


@kernel(I64, r(I32, 2), r(I64))
def total_length(spans, slots):  # type: ignore[no-untyped-def]
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


# --- chains of rows by key (MultiMap) ----------------------------------------------------------------------
# A chain is a row of `chains`, a row's place in it a row of `links`: one cache line each. Where rows are never
# removed, links have their first column only.
HEAD, TAIL, COUNT = 0, 1, 2
FOLLOWING, BEFORE, OWNER = 0, 1, 2


@kernel(I64, r(I64), r(I64), w(I32, 2), w(I32, 2))
def chain_add(keys, rows, chains, links):  # type: ignore[no-untyped-def]
    """Appends each row to its key's chain; one that is in a chain is left there. Returns rows added."""
    added = 0
    n, width = rows.size, links.shape[1]
    for i in range(n):
        if i + 32 < n:
            prefetch(chains, keys[i + 32] * 4)
        if i + 16 < n:
            k = keys[i + 16]
            prefetch(links, np.int64(chains[k, TAIL]) * width)
        k, row = keys[i], rows[i]
        if width > 1 and links[row, OWNER] >= 0:
            continue
        last = np.int64(chains[k, TAIL]) if chains[k, COUNT] else np.int64(-1)
        links[row, FOLLOWING] = -1
        if width > 1:
            links[row, BEFORE] = last
            links[row, OWNER] = k
        if last < 0:
            chains[k, HEAD] = row
        else:
            links[last, FOLLOWING] = row
        chains[k, TAIL] = row
        chains[k, COUNT] += 1
        added += 1
    return added


@kernel(I64, r(I64), w(I32, 2), w(I32, 2))
def chain_remove(rows, chains, links):  # type: ignore[no-untyped-def]
    """Takes rows out of their chains; rows in none are skipped. Returns rows removed."""
    removed = 0
    for row in rows:
        if row >= links.shape[0]:
            continue
        k = np.int64(links[row, OWNER])
        if k < 0:
            continue
        p, f = np.int64(links[row, BEFORE]), np.int64(links[row, FOLLOWING])
        if p < 0:
            chains[k, HEAD] = f
        else:
            links[p, FOLLOWING] = f
        if f < 0:
            chains[k, TAIL] = most(p, 0)
        else:
            links[f, BEFORE] = p
        links[row, OWNER] = -1
        chains[k, COUNT] -= 1
        removed += 1
    return removed


@kernel(VOID, r(I64), r(I32, 2), w(I64))
def chain_counts(keys, chains, out):  # type: ignore[no-untyped-def]
    """How many rows each key has; 0 for keys that are unknown."""
    n = keys.size
    for i in range(n):
        if i + 16 < n and 0 <= keys[i + 16] < chains.shape[0]:
            prefetch(chains, keys[i + 16] * 4)
        k = keys[i]
        out[i] = chains[k, COUNT] if 0 <= k < chains.shape[0] else 0


@kernel(VOID, r(I64), r(I64), r(I32, 2), r(I32, 2), w(I64), w(I64))
def chain_fill(keys, counts, chains, links, probe, rows):  # type: ignore[no-untyped-def]
    at = 0
    for i in range(keys.size):
        if counts[i]:
            row = np.int64(chains[keys[i], HEAD])
            for _ in range(counts[i]):
                probe[at] = i
                rows[at] = row
                row = np.int64(links[row, FOLLOWING])
                at += 1


# --- packed rows (encoding.py) -----------------------------------------------------------------------------


@kernel(VOID, w(U8), w(I64), r(U8, 2), r(B))
def pack_fixed(out, at, values, valid):  # type: ignore[no-untyped-def]
    """Appends values[i] to row i, whose end is at[i] and moves; nothing where NULL."""
    n, width = values.shape
    for i in range(n):
        if valid.size == 0 or valid[i]:
            for k in range(width):
                out[at[i] + k] = values[i, k]
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
