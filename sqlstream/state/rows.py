"""Rows by slot: an index from keys to slots, and columns; and rows as they are stored, which have no slots any more."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from sqlstream.state.arrays import Array, is_bytes, is_pair, is_words, plain
from sqlstream.state.columns import Column, column, run_of
from sqlstream.state.index import HashIndex
from sqlstream.state.log import LogIndex
from sqlstream.state.spec import StateSpec

ROWS_A_PIECE = 1 << 18
BYTES_A_PIECE = 1 << 28


@dataclass(frozen=True)
class Rows:
    """`count` rows as they are stored. `values` is empty for deleted rows."""

    count: int
    keys: list[pa.Array]
    values: list[pa.Array]

    def __len__(self) -> int:
        return self.count

    @property
    def nbytes(self) -> int:
        """Bytes of all columns."""
        return sum(a.nbytes for a in (*self.keys, *self.values))

    def filter(self, kept: Array) -> Rows:
        """Those where `kept`, a bool a row, is True."""
        mask = pa.array(kept)
        count = int(np.count_nonzero(kept))
        return Rows(count, [k.filter(mask) for k in self.keys], [v.filter(mask) for v in self.values])

    @staticmethod
    def joined(parts: list[Rows]) -> Rows:
        """The rows of all, in order; at least one."""
        if len(parts) == 1:
            return parts[0]
        keys = [pa.concat_arrays(list(c)) for c in zip(*(p.keys for p in parts), strict=True)]
        values = [pa.concat_arrays(list(c)) for c in zip(*(p.values for p in parts), strict=True)]
        return Rows(sum(map(len, parts)), keys, values)


class SlotRows:
    """Where the rows of a table lie: `index`, value `columns` by name, and `originals`, the key columns by position of
    which canonical keys lose something (-0.0 and the order of maps): they are kept as they first came."""

    def __init__(self, spec: StateSpec) -> None:
        self.types: list[pa.DataType] = list(spec.key.types)
        self.index: HashIndex | LogIndex = LogIndex(self.types) if spec.log else HashIndex(self.types)
        self.capacity = n = self.index.index.capacity  # length of the columns' arrays: greater than every slot
        self.columns: dict[str, Column] = {f.name: column(f.type, n, spec.log) for f in spec.value}
        lost = [] if spec.log else [j for j, t in enumerate(self.types) if lossy(t)]
        self.originals = {j: column(self.types[j], n) for j in lost}

    @property
    def outgrown(self) -> bool:
        """Whether the index has more slots than columns have room for."""
        return self.index.index.capacity > self.capacity

    def grow(self) -> None:
        """Room in the columns for all slots of the index."""
        self.capacity = self.index.index.capacity
        for c in (*self.columns.values(), *self.originals.values()):
            c.grow(self.capacity)

    def live(self) -> Array:
        """All live slots, ascending."""
        return np.flatnonzero(self.index.index.live[: self.index.index.used])

    def keys(self, slots: Array) -> list[pa.Array]:
        """The key columns of live slots; a copy."""
        out = self.index.keys(slots)
        for j, c in self.originals.items():
            out[j] = c.get(slots)
        return out

    def values(self, slots: Array) -> list[pa.Array]:
        """All value columns; a copy."""
        run = run_of(slots)
        return [c.get(run) for c in self.columns.values()]

    def rows(self, slots: Array) -> Rows:
        """The rows at live slots; a copy."""
        return Rows(len(slots), self.keys(slots), self.values(slots))

    def begin(self, slots: Array, keys: list[pa.Array], which: Array) -> None:
        """New rows, by those of the given keys where `which`, a bool each, is True."""
        for j, c in self.originals.items():
            c.set(slots, plain(keys[j], self.types[j]).filter(pa.array(which)))

    def put(self, slots: Array, originals: list[pa.Array], values: list[pa.Array]) -> None:
        """Sets all columns but the index."""
        for c, a in zip((*self.originals.values(), *self.columns.values()), (*originals, *values), strict=True):
            c.set(slots, a)

    def free(self, slots: Array) -> None:
        """Live, distinct slots are free, and their values NULL."""
        for c in (*self.columns.values(), *self.originals.values()):
            c.clear(slots)
        self.index.delete(slots)

    def pieces(self, slots: Array) -> list[Array]:
        """The slots in pieces whose rows are few enough to be copied at once."""
        if not len(slots):
            return []
        size = self.index.bytes_of(slots) + sum(c.bytes_of(slots) for c in self.columns.values())
        count = max(-(-len(slots) // ROWS_A_PIECE), -(-size // BYTES_A_PIECE))
        return np.array_split(slots, min(count, len(slots)))


def lossy(t: pa.DataType) -> bool:
    """Whether different values of a key type are the same key."""
    exact = is_words(t) or is_pair(t) or is_bytes(t) or t == pa.null()
    return not exact or t in (pa.float32(), pa.float64())
