"""From keys to slots: open-addressing hash tables in memory (the loops are in `index_kernels.py`).

    BytesIndex  one byte string (or NULL) to a slot
    WordIndex   rows of int64 words to a slot
    HashIndex   keys of any columns: a BytesIndex when the key is one string, else a WordIndex over the
                columns' words; there a string is its number in a BytesIndex of its own (interned, counted)

Slots are dense from 0; freed ones are used again. Rows of a call are handled in order.
"""

from __future__ import annotations

from itertools import accumulate

import numpy as np
import pyarrow as pa

from sqlstream.state import arena_kernels, hash_kernels, index_kernels
from sqlstream.state.arrays import (
    ALL,
    Array,
    from_fixed,
    gather,
    grown,
    is_bytes,
    is_pair,
    is_words,
    no_spans,
    plain,
)
from sqlstream.state.columns import SMALL_ARENA, compacted
from sqlstream.state.keys import Bytes, Words, canonical, groups_of, key_width
from sqlstream.state.memory import zeros
from sqlstream.state.meta import FREE, GARBAGE, NEED, NEXT, SIZE

FIRST_SLOTS, FIRST_TABLE = 256, 1024


class SlotTable:
    """What both indexes have: the table, free slots and which slots are live."""

    def __init__(self) -> None:
        self.table: Array = np.zeros(FIRST_TABLE, np.uint64)
        self.meta: Array = np.zeros(6, np.int64)
        self.free: Array = np.zeros(FIRST_SLOTS, np.int64)
        self.live: Array = np.zeros(FIRST_SLOTS, np.bool_)

    @property
    def size(self) -> int:
        """Live slots."""
        return int(self.meta[SIZE])

    @property
    def capacity(self) -> int:
        """Length of the arrays by slot: greater than every slot."""
        return len(self.live)

    @property
    def used(self) -> int:
        """Slots below this one have been in use."""
        return int(self.meta[NEXT])

    def make_room(self) -> None:
        """After a kernel stopped: double what was full."""
        if self.size >= len(self.table) // 8 * 5:
            new = zeros(len(self.table) * (4 if len(self.table) < 1 << 20 else 2), np.uint64)
            index_kernels.rehash(self.table, new)
            self.table = new
        elif self.meta[FREE] == 0 and self.used >= self.capacity:
            self.grow_slots(self.capacity * 2)

    def grow_slots(self, capacity: int) -> None:
        """Lengthens the arrays by slot. An index with more of them adds its own."""
        self.free, self.live = grown(self.free, capacity), grown(self.live, capacity)


class BytesIndex(SlotTable):
    """The keys' bytes by slot in an arena (`spans`), with their hashes, so that a table grows without reading them."""

    def __init__(self) -> None:
        super().__init__()
        self.hashes: Array = np.zeros(FIRST_SLOTS, np.uint64)
        self.spans = no_spans(FIRST_SLOTS)
        self.arena: Array = np.empty(SMALL_ARENA, np.uint8)

    def grow_slots(self, capacity: int) -> None:
        super().grow_slots(capacity)
        self.hashes = grown(self.hashes, capacity)
        self.spans = grown(self.spans, capacity)

    def upsert(self, keys: Bytes) -> tuple[Array, Array]:
        """The slot of each key (int64), and True for the row that made it. Equal are equal bytes, or NULL and NULL."""
        n = len(keys.offsets) - 1
        out, fresh, done = np.empty(n, np.int64), np.empty(n, np.bool_), 0
        while True:
            done = index_kernels.upsert_bytes(
                keys.data, keys.offsets, keys.valid, self.table, self.hashes, self.spans, self.arena,
                self.meta, self.free, self.live, out, fresh, done,
            )  # fmt: skip
            if done == n:
                return out, fresh
            if self.meta[NEED]:
                self.compact(int(self.meta[NEED]))
            else:
                self.make_room()

    def find(self, keys: Bytes) -> Array:
        """The slot of each key, or -1."""
        out = np.empty(len(keys.offsets) - 1, np.int64)
        index_kernels.find_bytes(keys.data, keys.offsets, keys.valid, self.table, self.spans, self.arena, out)
        return out

    def delete(self, slots: Array) -> None:
        """Frees live slots; dead ones and repetitions are skipped."""
        index_kernels.delete_bytes(slots, self.table, self.hashes, self.spans, self.meta, self.free, self.live)
        if self.meta[GARBAGE] > len(self.arena) // 2:
            self.compact(0)

    def compact(self, need: int) -> None:
        """Leaves the garbage behind, in an arena with room for `need` bytes more."""
        self.arena = compacted(self.arena, self.spans, self.meta, need)

    def get(self, slots: Array, t: pa.DataType) -> pa.Array:
        """The keys at slots, as an array of `t`: strings or binary."""
        return gather(self.arena, self.spans, slots, t)


class WordIndex(SlotTable):
    """`keys` (capacity, width): the words of each slot; the last is the NULL bitmap once `nulls` is 1."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.keys: Array = np.zeros((FIRST_SLOTS, width), np.int64)
        self.nulls = 0

    def grow_slots(self, capacity: int) -> None:
        super().grow_slots(capacity)
        self.keys = grown(self.keys, capacity)

    def with_nulls(self) -> None:
        """From the first NULL on there is a bitmap word; hashes of rows without NULLs stay what they were."""
        if not self.nulls:
            keys = zeros((self.capacity, self.keys.shape[1] + 1), np.int64)
            keys[:, :-1] = self.keys
            self.keys = keys
            self.nulls = 1

    def upsert(self, words: Array) -> tuple[Array, Array]:
        """The slot of each row of words (int64), and True for the row that made it.

        `words` (n, width) is contiguous, and as wide as `keys`: with the NULL bitmap once there is one.
        """
        n, width = words.shape
        out, fresh, done = np.empty(n, np.int64), np.empty(n, np.bool_), 0
        while True:
            state = self.table, self.keys, self.meta, self.free, self.live, out, fresh, done
            if width == 1:
                done = index_kernels.upsert_word(words.reshape(-1), *state)
            else:
                done = index_kernels.upsert_row(words, *state, self.nulls)
            if done == n:
                return out, fresh
            self.make_room()

    def find(self, words: Array) -> Array:
        """The slot of each row, or -1. `words` as in `upsert`."""
        out = np.empty(len(words), np.int64)
        index_kernels.find_row(words, self.table, self.keys, out, self.nulls)
        return out

    def delete(self, slots: Array) -> None:
        """Frees live slots; dead ones and repetitions are skipped."""
        index_kernels.delete_rows(slots, self.table, self.keys, self.meta, self.free, self.live, self.nulls)


class Interner:
    """Numbers for byte strings, counted by use: a string that no key has any more is forgotten."""

    def __init__(self) -> None:
        self.index = BytesIndex()
        self.refs: Array = np.zeros(self.index.capacity, np.int64)

    def intern(self, keys: Bytes) -> Array:
        """Every string interned must be `hold`ed at least once, by one of the rows that use it."""
        ids, _ = self.index.upsert(keys)
        if len(self.refs) < self.index.capacity:
            self.refs = grown(self.refs, self.index.capacity)
        return ids

    def hold(self, ids: Array) -> None:
        """One use more of each; of one that is repeated, as many."""
        np.add.at(self.refs, ids, 1)

    def release(self, ids: Array) -> None:
        """One use less of each; what has none left is forgotten, and its number used again."""
        dead = np.empty(len(ids), np.int64)
        n = index_kernels.release(self.refs, ids, dead)
        if n:
            self.index.delete(dead[:n])


class HashIndex:
    """Keys of the Arrow types given to slots. `keys` and `hashes` give back what slots stand for."""

    def __init__(self, key_types: list[pa.DataType]) -> None:
        self.types = key_types
        self.interners: list[Interner | None] = []
        self.index: WordIndex | BytesIndex
        if len(key_types) == 1 and _interned(key_types[0]):
            self.index = BytesIndex()
        else:
            self.interners = [Interner() if _interned(t) else None for t in key_types]
            # A key without columns (a global aggregate) is one word, always 0.
            self.index = WordIndex(max(1, sum(key_width(t) for t in key_types)))

    def upsert(self, arrays: list[pa.Array], n: int) -> tuple[Array, Array]:
        """The slot of each row (int64), and True for the row that made it. Equal are equal canonical keys, NULL too.

        `n` is the number of rows: a key may have no columns.
        """
        columns = self._canonical(arrays)
        if isinstance(self.index, BytesIndex):
            (only,) = columns
            assert isinstance(only, Bytes)
            return self.index.upsert(only)
        parts = [
            i.intern(c).reshape(-1, 1) if isinstance(c, Bytes) and i is not None else c
            for c, i in zip(columns, self.interners, strict=True)
        ]
        words = self._words(parts, n, self.index, widen=True)
        slots, fresh = self.index.upsert(words)
        if any(i is not None for i in self.interners) and fresh.any():
            for interner, ids in zip(self.interners, parts, strict=True):
                if interner is not None:
                    assert not isinstance(ids, Words | Bytes)
                    interner.hold(ids[fresh, 0])
        return slots, fresh

    def find(self, arrays: list[pa.Array], n: int) -> Array:
        """The slot of each row, or -1. Nothing is kept of keys that are not there."""
        columns = self._canonical(arrays)
        if isinstance(self.index, BytesIndex):
            (only,) = columns
            assert isinstance(only, Bytes)
            return self.index.find(only)
        parts = [
            i.index.find(c).reshape(-1, 1) if isinstance(c, Bytes) and i is not None else c
            for c, i in zip(columns, self.interners, strict=True)
        ]
        words = self._words(parts, n, self.index, widen=False)
        slots = self.index.find(np.ascontiguousarray(words[:, : self.index.keys.shape[1]]))
        if words.shape[1] > self.index.keys.shape[1]:  # NULLs asked for where there never was one
            slots[words[:, -1] != 0] = -1
        return slots

    def delete(self, slots: Array) -> None:
        """Frees live, distinct slots."""
        if isinstance(self.index, WordIndex) and any(i is not None for i in self.interners):
            at = 0
            for t, interner in zip(self.types, self.interners, strict=True):
                if interner is not None:
                    interner.release(np.ascontiguousarray(self.index.keys[slots, at]))
                at += key_width(t)
        self.index.delete(slots)

    def keys(self, slots: Array) -> list[pa.Array]:
        """The key columns at slots, canonical (nested ones as their canonical bytes)."""
        if isinstance(self.index, BytesIndex):
            return [self.index.get(slots, _key_type(self.types[0]))]
        rows, out, at = self.index.keys[slots], [], 0
        for j, (t, interner) in enumerate(zip(self.types, self.interners, strict=True)):
            width = key_width(t)
            if interner is not None:
                out.append(interner.index.get(np.ascontiguousarray(rows[:, at]), _key_type(t)))
            elif t == pa.null():
                out.append(pa.nulls(len(slots)))
            else:
                words = rows[:, at] if width == 1 else rows[:, at : at + 2]
                out.append(from_fixed(_values(words, t), self._valid(rows, j), t))
            at += width
        return out

    def bytes_of(self, slots: Array) -> int:
        """About how many bytes the keys take in Arrow arrays."""
        if isinstance(self.index, BytesIndex):
            return int(arena_kernels.total_length(self.index.spans, slots))
        size, at = 8 * int(self.index.keys.shape[1]) * len(slots), 0
        for t, interner in zip(self.types, self.interners, strict=True):
            if interner is not None:
                ids = np.ascontiguousarray(self.index.keys[slots, at])
                size += int(arena_kernels.total_length(interner.index.spans, ids))
            at += key_width(t)
        return size

    def key_groups(self, slots: Array, placing: tuple[int, ...]) -> Array:
        """Key group by the key columns `placing`, in that order."""
        h = np.full(len(slots), hash_kernels.SEED)
        if isinstance(self.index, BytesIndex):
            hash_kernels.combine_words(h, self.index.hashes[slots].view(np.int64), ALL)
            return groups_of(h)
        rows = self.index.keys[slots]
        first = [0, *accumulate(key_width(t) for t in self.types)]
        for j in placing:
            interner = self.interners[j]
            if interner is not None:
                hash_kernels.combine_words(h, interner.index.hashes[rows[:, first[j]]].view(np.int64), ALL)
                continue
            for at in range(first[j], first[j + 1]):
                hash_kernels.combine_words(h, np.ascontiguousarray(rows[:, at]), self._valid(rows, j))
        return groups_of(h)

    def _canonical(self, arrays: list[pa.Array]) -> list[Words | Bytes]:
        return [canonical(plain(a, t)) for a, t in zip(arrays, self.types, strict=True)]

    def _valid(self, rows: Array, j: int) -> Array:
        assert isinstance(self.index, WordIndex)
        if not self.index.nulls:
            return ALL
        valid: Array = (rows[:, -1] >> np.int64(j)) & 1 == 0
        return valid

    def _words(self, parts: list[Words | Bytes | Array], n: int, index: WordIndex, widen: bool) -> Array:
        """A batch's rows of words, with the NULL bitmap where there is one or (`widen`) now has to be."""
        bitmap: Array | None = None
        arrays: list[Array] = []
        for j, part in enumerate(parts):
            if isinstance(part, Words):
                arrays.append(part.words)
                if part.valid.size and not part.valid.all():
                    bitmap = np.zeros(n, np.int64) if bitmap is None else bitmap
                    bitmap |= (~part.valid).astype(np.int64) << np.int64(j)
            else:
                assert not isinstance(part, Bytes)
                arrays.append(part)
        if not arrays:
            arrays.append(np.zeros((n, 1), np.int64))
        if bitmap is not None and widen:
            index.with_nulls()
        if bitmap is not None or index.nulls:
            arrays.append((np.zeros(n, np.int64) if bitmap is None else bitmap).reshape(-1, 1))
        return np.ascontiguousarray(arrays[0]) if len(arrays) == 1 else np.hstack(arrays)


def _interned(t: pa.DataType) -> bool:
    return not (is_words(t) or is_pair(t) or t == pa.null())


def _key_type(t: pa.DataType) -> pa.DataType:
    """Strings and binary come back as they are, nested values as their canonical bytes."""
    return t if is_bytes(t) else pa.binary()


def _values(words: Array, t: pa.DataType) -> Array:
    if t == pa.float64():
        return np.ascontiguousarray(words).view(np.float64)
    if t == pa.float32():
        return np.ascontiguousarray(words).view(np.float64).astype(np.float32)
    if t == pa.bool_():
        return np.not_equal(words, 0)
    return words
