"""Keyed state of an operator: a table addressed by slot that knows what changed since the last checkpoint.

    slots, fresh = table.upsert([keys])        # int64 slot of each row; fresh: this row made the slot
    total = table.column("total")              # fetch after upsert: arrays are replaced when the table grows
    np.add.at(total.data, slots, amounts)
    total.valid[slots] = True
    table.touch(slots)

New slots are dirty, and their values are 0 and NULL (in a log all values of new rows are `put`). Slots are local to the
process and are used again after `delete`; what is checkpointed is (key group, key, value), never slots. Not thread-safe;
the `StateChanges` that `changes` returns is a copy (unless it is full), or of rows that stay, and may be encoded on another
thread.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from sqlstream.errors import InternalError
from sqlstream.state.arrays import Array, as_slots, grown, is_bytes, is_pair, is_words, plain
from sqlstream.state.columns import ChunkColumn, Column, DenseColumn, FixedColumn, column, run_of
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

    def filter(self, kept: Array) -> Rows:
        mask = pa.array(kept)
        count = int(np.count_nonzero(kept))
        return Rows(count, [k.filter(mask) for k in self.keys], [v.filter(mask) for v in self.values])


class Staying:
    """Rows of slots start..stop - 1 that stay as they are, copied when they are asked for, by pieces. From any thread."""

    def __init__(self, keys: Sequence[Column], values: Sequence[Column], start: int, stop: int, piece: int) -> None:
        # What grows gets arrays of its own; the rows that are there stay in these.
        self._keys, self._values = [copy(c) for c in keys], [copy(c) for c in values]
        self._runs = [slice(i, min(i + piece, stop)) for i in range(start, stop, piece)]

    def __iter__(self) -> Iterator[Rows]:
        for run in self._runs:
            yield Rows(run.stop - run.start, [c.get(run) for c in self._keys], [c.get(run) for c in self._values])


@dataclass(frozen=True)
class StateChanges:
    """A consistent copy of what changed: rows to write, keys to delete (never in both); in bounded pieces.

    `full`: the upserts are the whole table, whatever was stored before. It may be larger than memory: its pieces are
    copied as they are iterated over, once, before the table changes. `live`: rows that the table has now.
    """

    spec: StateSpec
    upserts: Iterable[Rows] = field(default_factory=list)
    deleted: list[Rows] = field(default_factory=list)
    full: bool = False
    live: int = 0

    @property
    def num_rows(self) -> int:
        return sum(map(len, self.upserts)) + sum(map(len, self.deleted))


class StateTable:
    def __init__(self, spec: StateSpec) -> None:
        self.spec = spec
        self._key_types: list[pa.DataType] = list(spec.key.types)
        self._index = LogIndex(self._key_types) if spec.log else HashIndex(self._key_types)
        n = self._index.index.capacity
        self._columns: dict[str, Column] = {f.name: column(f.type, n, spec.log) for f in spec.value}
        # Canonical keys lose -0.0 and the order of maps: these key columns are kept as they first came.
        lost = [] if spec.log else [j for j, t in enumerate(self._key_types) if lossy(t)]
        self._originals = {j: column(self._key_types[j], n) for j in lost}
        self._dirty: Array = np.zeros(n, np.bool_)
        self._stored: Array = np.zeros(n, np.bool_)
        self._deleted: list[Rows] = []
        self._staying = 0  # slots below are stored, where rows stay

    def __len__(self) -> int:
        return self.size

    @property
    def size(self) -> int:
        """Live rows."""
        return self._index.index.size

    @property
    def capacity(self) -> int:
        """Length of the columns' arrays: greater than every slot."""
        return len(self._dirty)

    def upsert(self, keys: list[pa.Array], n: int | None = None) -> tuple[Array, Array]:
        """The slot of each row (int64), and True where the row made it (the first with its key).

        `n` is the number of rows; needed only for a key without columns.
        """
        n = _length(keys, n)
        slots, fresh = self._index.upsert(keys, n)
        if self._index.index.capacity > self.capacity:
            self._grow(self._index.index.capacity)
        if fresh.any():
            new = slots[fresh]
            self._dirty[new] = True
            for j, c in self._originals.items():
                c.set(new, plain(keys[j], self._key_types[j]).filter(pa.array(fresh)))
        return slots, fresh

    def append(self, keys: list[pa.Array], n: int) -> Array:
        """The slots of n new rows of a log."""
        if not isinstance(self._index, LogIndex):
            raise InternalError(f"state {self.spec.name} is no log")
        slots = self._index.append(keys, n)
        if self._index.index.capacity > self.capacity:
            self._grow(self._index.index.capacity)
        if not self.spec.stays:
            self._dirty[run_of(slots)] = True
        return slots

    def find(self, keys: list[pa.Array], n: int | None = None) -> Array:
        """The slot of each row, or -1."""
        return self._index.find(keys, _length(keys, n))

    def column(self, name: str) -> Column:
        return self._columns[name]

    def fixed(self, name: str) -> FixedColumn | DenseColumn:
        """`column(name)`, which must be of fixed width."""
        c = self._columns[name]
        if not isinstance(c, FixedColumn | DenseColumn):
            raise InternalError(f"state {self.spec.name}: {name} is a {type(c).__name__}")
        return c

    def keys(self, slots: Array) -> list[pa.Array]:
        """The key columns of live slots."""
        slots = as_slots(slots)
        out = self._index.keys(slots)
        for j, c in self._originals.items():
            out[j] = c.get(slots)
        return out

    def key_words(self, column: int, run: slice) -> Array:
        """A key column of a log as it lies there, without a copy; of fixed width."""
        if not isinstance(self._index, LogIndex):
            raise InternalError(f"state {self.spec.name} is no log")
        return self._index.words(column, run)

    def values(self, slots: Array) -> pa.RecordBatch:
        """All value columns; a copy."""
        slots = as_slots(slots)
        if not self._columns:
            return pa.RecordBatch.from_struct_array(pa.array([{}] * len(slots), pa.struct([])))
        run = run_of(slots)
        arrays = [c.get(run) for c in self._columns.values()]
        return pa.RecordBatch.from_arrays(arrays, schema=self.spec.value)

    def put(self, slots: Array, arrays: list[pa.Array]) -> None:
        """Set all value columns, in order (of a repeated slot the last row holds), and touch."""
        run = run_of(as_slots(slots))
        for c, a in zip(self._columns.values(), arrays, strict=True):
            c.set(run, a)
        if not self.spec.stays:
            self._dirty[run] = True

    def touch(self, slots: Array) -> None:
        """These rows changed since the last checkpoint."""
        self._dirty[slots] = True

    def delete(self, slots: Array) -> None:
        """Free slots; a row that was checkpointed gets a tombstone. Repetitions, -1 and free slots are skipped."""
        if self.spec.stays:
            raise InternalError(f"rows of state {self.spec.name} stay")
        slots = np.unique(as_slots(slots))
        slots = slots[slots >= 0]
        slots = slots[self._index.index.live[slots]]
        if not len(slots):
            return
        stored = slots[self._stored[slots]]
        if len(stored):
            self._deleted.append(Rows(len(stored), self.keys(stored), []))
        for c in (*self._columns.values(), *self._originals.values()):
            c.clear(slots)
        self._dirty[slots] = False
        self._stored[slots] = False
        self._index.delete(slots)

    def slots(self) -> Array:
        """All live slots, ascending."""
        return np.flatnonzero(self._index.index.live[: self._index.index.used])

    def key_groups(self, slots: Array) -> Array:
        """uint16 key group of each slot, by the distribution key."""
        if self.spec.leading == 0:
            return np.zeros(len(slots), np.uint16)
        return self._index.key_groups(as_slots(slots), self.spec.leading)

    def changes(self, full: bool = False) -> StateChanges:
        """What changed since the last call (`full`: everything); from now on nothing has."""
        if self.spec.stays:
            return self._appended(full)
        slots = self.slots() if full else np.flatnonzero(self._dirty[: self._index.index.used])
        upserts = (Rows(len(s), self.keys(s), self.values(s).columns) for s in self._pieces(slots))
        deleted = [] if full else [r for r in map(self._still_gone, self._deleted) if len(r)]
        self._deleted = []
        changes = StateChanges(self.spec, upserts if full else [*upserts], deleted, full, self.size)
        self._dirty[slots] = False
        self._stored[slots] = True
        return changes

    def _appended(self, full: bool) -> StateChanges:
        """`changes` of rows that stay."""
        assert isinstance(self._index, LogIndex)
        start, stop = 0 if full else self._staying, self._index.index.used
        self._staying = stop
        columns = (*self._index.columns, *self._columns.values())
        if any(isinstance(c, ChunkColumn) for c in columns):  # it moves its rows
            copies = (Rows(len(s), self.keys(s), self.values(s).columns) for s in self._pieces(np.arange(start, stop)))
            return StateChanges(self.spec, copies if full else [*copies], [], full, self.size)
        pieces = max(1, len(self._pieces(np.arange(start, stop))))
        rows = Staying(self._index.columns, [*self._columns.values()], start, stop, max(1, -(-(stop - start) // pieces)))
        return StateChanges(self.spec, rows, [], full, self.size)

    def load(self, rows: Rows) -> None:
        """Rows of a checkpoint: stored, not dirty."""
        n = len(rows)
        slots = self.append(rows.keys, n) if self.spec.log else self.upsert(rows.keys, n)[0]
        for c, a in zip(self._columns.values(), rows.values, strict=True):
            c.set(slots, a)
        if self.spec.stays:
            self._staying = self._index.index.used
            return
        self._dirty[slots] = False
        self._stored[slots] = True

    def _still_gone(self, rows: Rows) -> Rows:
        """Without the keys that came back."""
        if self.spec.log:
            return rows
        gone = self.find(rows.keys, len(rows)) < 0
        return rows if gone.all() else rows.filter(gone)

    def _pieces(self, slots: Array) -> list[Array]:
        if not len(slots):
            return []
        size = self._index.bytes_of(slots) + sum(c.bytes_of(slots) for c in self._columns.values())
        count = max(-(-len(slots) // ROWS_A_PIECE), -(-size // BYTES_A_PIECE))
        return np.array_split(slots, min(count, len(slots)))

    def _grow(self, capacity: int) -> None:
        for c in (*self._columns.values(), *self._originals.values()):
            c.grow(capacity)
        self._dirty, self._stored = grown(self._dirty, capacity), grown(self._stored, capacity)


def lossy(t: pa.DataType) -> bool:
    """Whether different values of a key type are the same key."""
    exact = is_words(t) or is_pair(t) or is_bytes(t) or t == pa.null()
    return not exact or t in (pa.float32(), pa.float64())


def _length(keys: list[pa.Array], n: int | None) -> int:
    if keys:
        return len(keys[0])
    if n is None:
        raise InternalError("a key without columns needs the number of rows")
    return n


__all__ = ["ChunkColumn", "Column", "FixedColumn", "Rows", "StateChanges", "StateSpec", "StateTable", "lossy"]
