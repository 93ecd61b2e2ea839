"""Value columns addressed by slot. They grow with their table; `data` and `valid` are replaced when they do,
so fetch them anew after every `upsert`.

    FixedColumn   numbers, booleans, dates, times, decimals: `data` and `valid` may be read and written
    DenseColumn   the same in a log: `data` only, and a validity from the first NULL on
    BytesColumn   strings and binary, in an arena that is compacted when more than half of it is garbage
    NumberColumn  numbers that go up with the slots: nothing is kept as long as they do
    ChunkColumn   everything else (ROW, ARRAY, MAP): positions in Arrow chunks, compacted likewise

All have `get(slots) -> pa.Array`, `set(slots, array)` (slots: an array or a slice; of a repeated one the last value
holds), `clear(slots)` (NULL again) and `valid`. In a log each slot in use was set: of others nothing is known there.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from sqlstream.errors import RunError
from sqlstream.state import arena_kernels
from sqlstream.state.arrays import (
    ALL,
    Array,
    as_slots,
    byte_strings,
    combined,
    dtype_of,
    fixed,
    from_fixed,
    gather,
    grown,
    grown_spans,
    is_bytes,
    is_pair,
    is_words,
    no_spans,
    plain,
    validity,
)
from sqlstream.state.memory import stored, zeros
from sqlstream.state.meta import GARBAGE, NEED, USED
from sqlstream.state.sets import ascending

SMALL_ARENA = 1 << 16
LARGEST_ARENA = 1 << (31 + arena_kernels.UNIT)
RECENT = 1 << 14  # values that are looked at for an equal one
LARGE_CHUNK = 1 << 30  # Arrow's nested arrays count their elements and bytes in int32


Slots = Array | slice


def run_of(slots: Array) -> Slots:
    """The slice that `slots` are, when they follow one another: copying it is several times as fast as gathering."""
    n = len(slots)
    if n < 2 or slots[n - 1] - slots[0] != n - 1 or slots[0] < 0 or not (np.diff(slots) == 1).all():
        return slots
    return slice(int(slots[0]), int(slots[0]) + n)


def array_of(slots: Slots) -> Array:
    """The slots one by one."""
    return np.arange(slots.start, slots.stop) if isinstance(slots, slice) else as_slots(slots)


def _zero_values(t: pa.DataType, n: int) -> Array:
    return np.zeros((n, 2), np.int64) if is_pair(t) else np.zeros(n, dtype_of(t))


class FixedColumn:
    """`data` by slot, 0 where never set (times as integers; decimals (n, 2): low and high word); `valid`."""

    def __init__(self, t: pa.DataType, capacity: int) -> None:
        self.type = t
        self.data = _zero_values(t, capacity)
        self.valid: Array = np.zeros(capacity, np.bool_)

    def grow(self, capacity: int) -> None:
        """Room for slots below `capacity`; the new ones are NULL."""
        self.data, self.valid = grown(self.data, capacity), grown(self.valid, capacity)

    def get(self, slots: Slots) -> pa.Array:
        """The values at slots, in their order; a copy."""
        data = self.data[slots]
        return from_fixed(data.copy() if isinstance(slots, slice) else data, self.valid[slots], self.type)

    def set(self, slots: Slots, array: pa.Array) -> None:
        """Writes `array` to slots, row by row; of a repeated slot the last value holds."""
        a = plain(array, self.type)
        values, valid = fixed(a), validity(a)
        if valid.size:
            mask = valid[:, None] if values.ndim == 2 else valid
            values = np.where(mask, values, np.zeros(1, values.dtype))
        self.data[slots] = values
        self.valid[slots] = valid if valid.size else True

    def clear(self, slots: Array) -> None:
        """NULL again."""
        self.data[slots] = 0
        self.valid[slots] = False

    def bytes_of(self, slots: Array) -> int:
        """About how many bytes the values take in an Arrow array."""
        return len(slots) * self.data.itemsize


class DenseColumn:
    """`data` as in FixedColumn. Each slot in use was written, mostly with a value: what is NULL is kept once one is."""

    def __init__(self, t: pa.DataType, capacity: int) -> None:
        self.type = t
        self.data = _zero_values(t, capacity)
        self._null: Array | None = None

    @property
    def valid(self) -> Array:
        """Not to be written."""
        valid = np.ones(len(self.data), np.bool_) if self._null is None else ~self._null
        valid.flags.writeable = False
        return valid

    def grow(self, capacity: int) -> None:
        """Room for slots below `capacity`; nothing is known of the new ones."""
        self.data = grown(self.data, capacity)
        if self._null is not None:
            self._null = grown(self._null, capacity)

    def get(self, slots: Slots) -> pa.Array:
        """The values at slots, in their order; a copy."""
        data = self.data[slots] if isinstance(slots, slice) else self.data.take(slots, axis=0)
        valid = ALL if self._null is None else ~self._null[slots]
        return from_fixed(data.copy() if isinstance(slots, slice) else data, valid, self.type)

    def set(self, slots: Slots, array: pa.Array) -> None:
        """Writes `array` to slots; from the first NULL on, what is NULL is kept."""
        a = plain(array, self.type)
        values, valid = fixed(a), validity(a)
        self.data[slots] = values
        if valid.size and self._null is None:
            self._null = grown(np.zeros(0, np.bool_), len(self.data))
        if self._null is not None:
            self._null[slots] = ~valid if valid.size else False

    def clear(self, slots: Array) -> None:
        """Nobody looks at a slot that is free."""

    def bytes_of(self, slots: Array) -> int:
        """About how many bytes the values take in an Arrow array."""
        return len(slots) * self.data.itemsize


class BytesColumn:
    """Place and length by slot into one arena; length -1 is NULL. `shared`: equal values that come soon after one
    another are kept once; for columns of which each slot in use was written, once."""

    def __init__(self, t: pa.DataType, capacity: int, shared: bool = False) -> None:
        self.type = t
        self._recent: Array = np.zeros(RECENT if shared else 0, np.int64)
        self.arena: Array = np.empty(SMALL_ARENA, np.uint8)
        self.spans = no_spans(capacity)
        self.meta: Array = np.zeros(6, np.int64)

    @property
    def valid(self) -> Array:
        """A new array: not to be written."""
        return self.spans[:, 1] >= 0

    def grow(self, capacity: int) -> None:
        """Room for slots below `capacity`; the new ones are NULL, but where values are shared."""
        # Where each slot is written before it is read, memory for more is not touched now.
        self.spans = grown(self.spans, capacity) if self._recent.size else grown_spans(self.spans, capacity)

    def get(self, slots: Slots) -> pa.Array:
        """The values at slots, in their order; a copy. DataError when they are more than 2 GiB."""
        return gather(self.arena, self.spans, array_of(slots), self.type)

    def set(self, slots: Slots, array: pa.Array) -> None:
        """RunError when the values of a task do not fit in the largest arena."""
        a = plain(array, self.type)
        slots, valid = array_of(slots), validity(a)
        data, offsets = byte_strings(a)
        done = 0
        while True:
            done = arena_kernels.scatter_bytes(
                data, offsets, valid, slots, self.arena, self.spans, self.meta, self._recent, done
            )
            if done == len(slots):
                break
            self._make_room(int(self.meta[NEED]))
        if self.meta[GARBAGE] > len(self.arena) // 2:
            self._make_room(0)

    def clear(self, slots: Array) -> None:
        """Their bytes are garbage until the arena is compacted."""
        slots = ascending(as_slots(slots))
        unit = (1 << arena_kernels.UNIT) - 1
        sizes = np.maximum(self.spans[slots, 1], 0).astype(np.int64)
        self.meta[GARBAGE] += int(((sizes + unit) & ~unit).sum())
        self.spans[slots, 1] = -1

    def bytes_of(self, slots: Array) -> int:
        """Bytes of the values, each counted where it is shared."""
        return int(arena_kernels.total_length(self.spans, as_slots(slots)))

    def _make_room(self, need: int) -> None:
        self.arena = compacted(self.arena, self.spans, self.meta, need)


def compacted(arena: Array, spans: Array, meta: Array, need: int) -> Array:
    """The arena with room for `need` bytes and for as much again: grown, or a new one of the live values where that
    makes room, too. GARBAGE is what is used less the lengths of all values, so less than 0 where many are shared."""
    used, garbage = int(meta[USED]), int(meta[GARBAGE])
    if need and 4 * garbage <= used and used + need <= LARGEST_ARENA:
        return grown(arena, _arena_size(used + need))
    new = zeros(_arena_size(min(used, used - garbage) + need), np.uint8)
    moved = np.zeros((used >> arena_kernels.UNIT) + 1, np.bool_)
    now = arena_kernels.compact_bytes(arena, spans, len(spans), new, moved)
    meta[USED], meta[GARBAGE] = now, garbage - (used - now)
    return new


def _arena_size(content: int) -> int:
    if content > LARGEST_ARENA:
        raise RunError(
            f"more than {LARGEST_ARENA >> 30} GiB of strings in one column of one task",
            hint="raise parallelism.default to spread them",
        )
    return min(max(SMALL_ARENA, 2 * content), LARGEST_ARENA)


class ChunkColumn:
    """Position by slot in the rows of all `chunks`; -1 is NULL. Chunks merge as in a binomial heap."""

    def __init__(self, t: pa.DataType, capacity: int) -> None:
        self.type = t
        self.at: Array = np.full(capacity, -1, np.int64)
        self.chunks: list[pa.Array] = []
        self.rows = 0

    @property
    def valid(self) -> Array:
        """A new array: not to be written."""
        return self.at >= 0

    def grow(self, capacity: int) -> None:
        """Room for slots below `capacity`; the new ones are NULL."""
        self.at = grown(self.at, capacity, -1)

    def get(self, slots: Slots) -> pa.Array:
        """The values at slots, in their order."""
        at = self.at[slots]
        if not self.chunks:
            return pa.nulls(len(at), self.type)
        indices = pa.array(at, mask=at < 0)
        if len(self.chunks) == 1:
            return self.chunks[0].take(indices)
        return combined(pa.chunked_array(self.chunks).take(indices))

    def set(self, slots: Slots, array: pa.Array) -> None:
        """Keeps `array` as a chunk, without a copy until chunks merge."""
        a = plain(array, self.type)
        valid = validity(a)
        at = np.arange(self.rows, self.rows + len(a))
        self.at[slots] = np.where(valid, at, -1) if valid.size else at
        self.chunks.append(a)
        self.rows += len(a)
        while (
            len(self.chunks) > 1
            and 2 * len(self.chunks[-1]) >= len(self.chunks[-2])
            and self.chunks[-1].nbytes + self.chunks[-2].nbytes < LARGE_CHUNK
        ):
            self.chunks[-2:] = [stored(pa.concat_arrays(self.chunks[-2:]))]
        if self.rows > 1024:
            live = np.flatnonzero(self.at >= 0)
            if len(live) < self.rows // 2:
                parts = 1 + sum(c.nbytes for c in self.chunks) // LARGE_CHUNK
                self.chunks = [stored(self.get(s)) for s in np.array_split(live, parts)]
                self.rows = len(live)
                self.at[live] = np.arange(len(live))

    def clear(self, slots: Array) -> None:
        """Their rows go when more than half of all are of no slot."""
        self.at[slots] = -1

    def bytes_of(self, slots: Array) -> int:
        """As if all rows were of one size."""
        size = sum(c.nbytes for c in self.chunks)
        return int(size * len(slots) / max(1, self.rows))


class NumberColumn:
    """int64 values of which most are the slot and a constant, as those of rows that are numbered as they are appended:
    they are kept from the moment on when one is not: a slot that was freed is used again, or rows of several files of a
    checkpoint were loaded."""

    type = pa.int64()

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._first: int | None = None  # the value at slot 0
        self._kept: FixedColumn | None = None

    @property
    def valid(self) -> Array:
        """Not to be written. As long as nothing is kept every slot counts as set."""
        return self._kept.valid if self._kept else np.ones(self._capacity, np.bool_)

    def grow(self, capacity: int) -> None:
        """Room for slots below `capacity`; the new ones count on."""
        self._capacity = capacity
        if self._kept:
            self._kept.grow(capacity)

    def get(self, slots: Slots) -> pa.Array:
        """The numbers at slots, in their order."""
        return self._kept.get(slots) if self._kept else pa.array(array_of(slots) + (self._first or 0))

    def set(self, slots: Slots, array: pa.Array) -> None:
        """Where they do not go on with the slots, all are kept from now on."""
        if not len(array):
            return
        if self._kept is None:
            first = array[0].as_py() - (slots.start if isinstance(slots, slice) else int(slots[0]))
            self._first = first if self._first is None else self._first
            if first == self._first and (fixed(array) - array_of(slots) == first).all():
                return
            self._kept = FixedColumn(self.type, 1)
            self._kept.grow(self._capacity)
            self._kept.data[:] = np.arange(self._first, self._first + self._capacity)
            self._kept.valid[:] = True
        self._kept.set(slots, array)

    def clear(self, slots: Array) -> None:
        """Nobody looks at a slot that is free."""

    def bytes_of(self, slots: Array) -> int:
        """As if they were kept."""
        return 8 * len(slots)


Column = FixedColumn | DenseColumn | BytesColumn | ChunkColumn | NumberColumn


def column(t: pa.DataType, capacity: int, log: bool = False) -> Column:
    """The column for an Arrow type. `log`: it is of a log, so each slot in use was written, and is written once."""
    if is_bytes(t):
        return BytesColumn(t, capacity, log)
    if is_words(t) or is_pair(t):
        return DenseColumn(t, capacity) if log else FixedColumn(t, capacity)
    return ChunkColumn(t, capacity)


__all__ = [
    "BytesColumn", "ChunkColumn", "Column", "DenseColumn", "FixedColumn", "NumberColumn", "Slots", "column", "compacted",
    "run_of",
]  # fmt: skip
