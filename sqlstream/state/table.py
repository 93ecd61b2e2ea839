"""Keyed state of an operator: a table addressed by slot that knows what changed since the last checkpoint.

    slots, fresh = table.upsert([keys])        # int64 slot of each row; fresh: this row made the slot
    total = table.column("total")              # fetch after upsert: arrays are replaced when the table grows
    np.add.at(total.data, slots, amounts)
    total.valid[slots] = True
    table.touch(slots)

New slots are dirty, and their values are 0 and NULL (in a log all values of new rows are `put`). A row is written in an
epoch in which `upsert`, `find` or `append` gave its slot out, or else after `writing(slots)`: a checkpoint may not have
copied it yet. Slots are local to the process and are used again after `delete`; what is checkpointed is (key group, key, value), never slots. Not
thread-safe; but the `StateChanges` that `changes` returns may be read on another thread (unless it is full), where
whoever works with the table has it `held` meanwhile.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import numpy as np
import pyarrow as pa

from sqlstream.errors import InternalError
from sqlstream.state.arrays import Array, as_slots, plain
from sqlstream.state.changes import StateChanges, Staying
from sqlstream.state.cold import ColdRows
from sqlstream.state.columns import ChunkColumn, Column, DenseColumn, FixedColumn, run_of
from sqlstream.state.hot import HotRows
from sqlstream.state.log import LogIndex
from sqlstream.state.marks import LONG_AGO, Marks
from sqlstream.state.rows import Rows, SlotRows
from sqlstream.state.sets import ascending
from sqlstream.state.spec import WRITTEN, StateSpec
from sqlstream.state.ttl import NEVER, NONE, Expiry
from sqlstream.state.waiting import Waiting


class StateTable:
    """The state that `spec` describes, of one task: the rows of its key groups."""

    def __init__(self, spec: StateSpec) -> None:
        self.spec = spec
        self._rows = SlotRows(spec)
        self._marks = Marks(self.capacity)
        self._expiry = Expiry(spec.ttl, self.capacity) if spec.ttl else None
        # What `put` sets: the table itself says when a row was written.
        self._given = [c for name, c in self._rows.columns.items() if not spec.ttl or name != WRITTEN]
        self._deleted: list[Rows] = []
        self._staying = 0  # slots below are stored, where rows stay
        self._taken = 0  # how often changes were taken: their number
        self._waiting = Waiting(self._rows, self._marks)
        # Values of a log are set in here only.
        self._stay = spec.log or all(isinstance(c, FixedColumn) for c in self._rows.columns.values())
        self._hot: HotRows | None = None

    def __len__(self) -> int:
        return self.size

    @property
    def size(self) -> int:
        """Live rows in memory."""
        return self._rows.index.index.size

    @property
    def capacity(self) -> int:
        """Length of the columns' arrays: greater than every slot."""
        return self._rows.capacity

    def upsert(self, keys: list[pa.Array], n: int | None = None) -> tuple[Array, Array]:
        """The slot of each row (int64), and True where the row made it (the first with its key).

        `n` is the number of rows; needed only for a key without columns.
        """
        with self._alone():
            slots, fresh = self._upsert(keys, _length(keys, n))
            self._waiting.save(slots)
            if self._expiry is not None and fresh.any():
                new = slots[fresh]
                self._write(new)
                self._expiry.add(new)
        return slots, fresh

    def _upsert(self, keys: list[pa.Array], n: int) -> tuple[Array, Array]:
        slots, fresh = self._rows.index.upsert(keys, n)
        self._grow()
        if fresh.any():
            new = slots[fresh]
            self._marks.dirty[new] = True
            self._rows.begin(new, keys, fresh)
            if self._hot is not None and self._hot.cold.any:
                self._come_back(self._hot, keys, slots, fresh)
        if self._hot is not None:
            self._hot.use(slots)
        return slots, fresh

    def _come_back(self, hot: HotRows, keys: list[pa.Array], slots: Array, fresh: Array) -> None:
        """Of the rows that `upsert` has just made, those that are in the store get their values, and are not fresh."""
        at = np.flatnonzero(fresh)
        missing = keys if len(at) == len(fresh) else [plain(k).take(pa.array(at)) for k in keys]
        found = hot.fetch(missing, len(at))
        if not len(found.at):
            return
        at = at[found.at]
        back = slots[at]
        self._rows.put(back, found.originals, found.values)
        self._marks.load(back, LONG_AGO)
        if self._expiry is not None:
            self._expiry.add(back, self.fixed(WRITTEN).data[back])
        fresh[at] = False

    def append(self, keys: list[pa.Array], n: int) -> Array:
        """The slots of n new rows of a log."""
        with self._alone():
            slots = self._append(keys, n)
        if self._expiry is not None:
            self._write(slots)
            self._expiry.add(slots)
        return slots

    def _append(self, keys: list[pa.Array], n: int) -> Array:
        slots = self._log.append(keys, n)
        self._grow()
        if not self.spec.stays:
            self._marks.dirty[run_of(slots)] = True
        return slots

    @property
    def _log(self) -> LogIndex:
        index = self._rows.index
        if not isinstance(index, LogIndex):
            raise InternalError(f"state {self.spec.name} is no log")
        return index

    def find(self, keys: list[pa.Array], n: int | None = None) -> Array:
        """The slot of each row, or -1."""
        with self._alone():
            slots = self._rows.index.find(keys, _length(keys, n))
            self._waiting.save(slots)
            if self._hot is None:
                return slots
            if self._hot.cold.any and (missing := np.flatnonzero(slots < 0)).size:
                asked = [plain(k).take(pa.array(missing)) for k in keys]
                found = self._hot.fetch(asked, len(missing))
                if len(found.at):
                    there = pa.array(found.at)
                    back = [k.take(there) for k in asked]
                    slots[missing[found.at]] = self._load(back, len(there), found.originals, found.values, LONG_AGO)
            self._hot.use(slots[slots >= 0])
        return slots

    def column(self, name: str) -> Column:
        """A value column, by slot (`columns.py`)."""
        return self._rows.columns[name]

    def fixed(self, name: str) -> FixedColumn | DenseColumn:
        """`column(name)`, which must be of fixed width."""
        c = self._rows.columns[name]
        if not isinstance(c, FixedColumn | DenseColumn):
            raise InternalError(f"state {self.spec.name}: {name} is a {type(c).__name__}")
        return c

    def keys(self, slots: Array) -> list[pa.Array]:
        """The key columns of live slots."""
        return self._rows.keys(as_slots(slots))

    def key_words(self, column: int, run: slice) -> Array:
        """A key column of a log as it lies there, without a copy; of fixed width."""
        return self._log.words(column, run)

    def values(self, slots: Array) -> pa.RecordBatch:
        """All value columns; a copy."""
        slots = as_slots(slots)
        if not self._rows.columns:
            return pa.RecordBatch.from_struct_array(pa.array([{}] * len(slots), pa.struct([])))
        return pa.RecordBatch.from_arrays(self._rows.values(slots), schema=self.spec.value)

    def put(self, slots: Array, arrays: list[pa.Array]) -> None:
        """Set all value columns, in order (of a repeated slot the last row holds), and touch."""
        run = run_of(as_slots(slots))
        with self._alone():
            for c, a in zip(self._given, arrays, strict=True):
                c.set(run, a)
        if not self.spec.stays:
            self._marks.dirty[run] = True
        if self._expiry is not None:
            self._write(slots)

    def writing(self, slots: Array) -> None:
        """These rows, whose slots were not given out in this epoch, are written next."""
        self._waiting.save(slots)

    def touch(self, slots: Array, renew: bool = True) -> None:
        """These rows were written: they changed since the last checkpoint, and (`renew`) live on. Who only renews rows needs
        no slots of this epoch."""
        self._marks.dirty[slots] = True
        if renew and self._expiry is not None:
            self._waiting.save(slots)
            self._write(slots)

    def begin(self, now: int) -> None:
        """An epoch begins at `now`, µs: rows that are written in it live from then on (where rows live for a time)."""
        if self._expiry is not None:
            self._expiry.begin(now)

    def expired(self) -> Array:
        """The slots of rows whose time is over, once: whoever asks deletes them, before anything of the epoch."""
        if self._expiry is None:
            return NONE
        slots = self._expiry.take(self.fixed(WRITTEN).data, self._rows.index.index.live)
        self._waiting.save(slots)
        return slots

    def renew(self, slots: Array, written: Array | None = None) -> None:
        """Lets rows live on that are `expired`, instead of deleting them: as if written at `written`, or (which is
        durable) written now."""
        if self._expiry is None:
            return
        if written is None:
            self.touch(slots)
        else:
            self.fixed(WRITTEN).data[slots] = written
        self._expiry.add(slots, written)

    @property
    def now(self) -> int:
        """When the epoch began, µs; only where rows live for a time."""
        return NEVER if self._expiry is None else self._expiry.now

    def expire(self) -> Array:
        """Deletes the rows whose time is over; the slots that they had."""
        slots = self.expired()
        if len(slots):
            self.delete(slots)
        return slots

    def _write(self, slots: Array) -> None:
        assert self._expiry is not None
        written = self.fixed(WRITTEN)
        written.data[slots] = self._expiry.now
        if isinstance(written, FixedColumn):
            written.valid[slots] = True

    def delete(self, slots: Array) -> None:
        """Free slots; a row that was checkpointed gets a tombstone. Repetitions, -1 and free slots are skipped."""
        if self.spec.stays:
            raise InternalError(f"rows of state {self.spec.name} stay")
        slots = ascending(as_slots(slots))
        slots = slots[slots >= 0]
        slots = slots[self._rows.index.index.live[slots]]
        if not len(slots):
            return
        self._waiting.save(slots)
        stored = slots[self._marks.stored[slots]]
        if len(stored):
            gone = Rows(len(stored), self.keys(stored), [])
            self._deleted.append(gone)
            if self._hot is not None:
                self._hot.cold.bury(gone.keys, len(gone), self._taken + 1)
        with self._alone():
            self._marks.free(slots)
            self._rows.free(slots)

    def slots(self) -> Array:
        """All live slots, ascending, to read their rows or to delete them."""
        return self._rows.live()

    def key_groups(self, slots: Array) -> Array:
        """uint16 key group of each slot, by the distribution key."""
        if not self.spec.placing:
            return np.zeros(len(slots), np.uint16)
        return self._rows.index.key_groups(as_slots(slots), self.spec.placing)

    def held(self) -> AbstractContextManager[object]:
        """While an operator works with the table. Nobody copies rows meanwhile whose columns move values when others are
        set; values of fixed width stay where they are, and rows that may change have been copied."""
        return nullcontext() if self._stay else self._alone()

    def _alone(self) -> AbstractContextManager[object]:
        """While the index or the columns change: nobody copies rows that wait."""
        return self._waiting.turns if self._waiting else nullcontext()

    def copy_some(self, until: float) -> None:
        """Copies rows of the `changes` taken last that are not copied yet, until then (`time.perf_counter`)."""
        if self._waiting:
            self._waiting.finish(until)

    def changes(self, full: bool = False) -> StateChanges:
        """What changed since the last call (`full`: everything); from now on nothing has."""
        self._taken += 1
        if self.spec.stays:
            return self._appended(full)
        if not full:
            deleted = [r for r in map(self._still_gone, self._deleted) if len(r)]
            self._deleted = []
            some = self._marks.dirty[: self._rows.index.index.used].any()
            return StateChanges(self.spec, self._waiting.begin(self._taken) if some else [], deleted, False, self.size)
        self._deleted = []
        self._waiting.finish()
        slots = self.slots()
        upserts = (self._rows.rows(s) for s in self._rows.pieces(slots))
        changes = StateChanges(self.spec, upserts, [], True, self.size)
        self._marks.load(slots, self._taken)
        return changes

    def _appended(self, full: bool) -> StateChanges:
        """`changes` of rows that stay."""
        start, stop = 0 if full else self._staying, self._rows.index.index.used
        self._staying = stop
        keys, values = self._log.columns, [*self._rows.columns.values()]
        pieces = self._rows.pieces(np.arange(start, stop))
        if any(isinstance(c, ChunkColumn) for c in (*keys, *values)):  # it moves its rows
            copies = (self._rows.rows(s) for s in pieces)
            return StateChanges(self.spec, copies if full else [*copies], [], full, self.size)
        rows = Staying(keys, values, start, stop, max(1, -(-(stop - start) // max(1, len(pieces)))))
        return StateChanges(self.spec, rows, [], full, self.size)

    def load(self, rows: Rows) -> None:
        """Rows of a checkpoint: stored, not dirty."""
        if not self.spec.log:
            self._load(rows.keys, len(rows), [rows.keys[j] for j in self._rows.originals], rows.values, 0)
            return
        slots = self._append(rows.keys, len(rows))
        self._rows.put(slots, [], rows.values)
        if self.spec.stays:
            self._staying = self._rows.index.index.used
            return
        if self._expiry is not None:
            self._expiry.add(slots, self.fixed(WRITTEN).data[slots])
        self._marks.load(slots, 0)

    def _load(
        self, keys: list[pa.Array], n: int, originals: list[pa.Array], values: list[pa.Array], change: int
    ) -> Array:
        """n rows that are stored since `change`; their slots."""
        slots, _ = self._rows.index.upsert(keys, n)
        self._grow()
        self._rows.put(slots, originals, values)
        self._marks.load(slots, change)
        if self._expiry is not None:
            some = ascending(slots)
            self._expiry.add(some, self.fixed(WRITTEN).data[some])
        return slots

    # ---- rows that leave memory

    def attach(self, cold: ColdRows, hot: int | None = None) -> None:
        """From now on rows may leave memory, and come back from there. `hot`: rows that stay; None: as many as fit."""
        self._hot = HotRows(self._rows, self._marks, self._expiry, cold, hot)

    @property
    def moved(self) -> tuple[int, int]:
        """How many rows have left memory, and how many came back."""
        return (0, 0) if self._hot is None else (self._hot.cold.left, self._hot.cold.returned)

    def bury(self, rows: Rows) -> None:
        """Keys of a checkpoint's delta, gone though the store, or a delta before it, may have them."""
        assert self._hot is not None
        slots = self._rows.index.find(rows.keys, len(rows))
        if (loaded := slots[slots >= 0]).size:
            self._marks.free(loaded)
            self._rows.free(loaded)
        self._hot.cold.bury(rows.keys, len(rows), 0)

    def pressed(self) -> bool:
        """Whether the table is nearly full, and would leave its memory if it grew. Then rows should leave it. Asked once
        between two epochs: it sees by how much the last one has grown."""
        return self._hot is not None and self._hot.pressed()

    def full(self) -> bool:
        """Of a table that is pressed: whether an epoch more may be too many for its memory."""
        return self._hot is not None and self._hot.full()

    def leave(self, folded: int, share: float = 0.5) -> int:
        """Rows that have not changed since change `folded` leave memory, those that were used longest ago first, until
        a share of the rows that it has room for is left. Between epochs only. How many left."""
        assert self._hot is not None
        with self._alone():
            return self._hot.leave(folded, share)

    def _still_gone(self, rows: Rows) -> Rows:
        """Without the keys that came back."""
        if self.spec.log:
            return rows
        gone = self._rows.index.find(rows.keys, len(rows)) < 0
        return rows if gone.all() else rows.filter(gone)

    def _grow(self) -> None:
        if not self._rows.outgrown:
            return
        self._rows.grow()
        self._marks.grow(self.capacity)
        if self._expiry is not None:
            self._expiry.grow(self.capacity)
        if self._hot is not None:
            self._hot.grow(self.capacity)


def _length(keys: list[pa.Array], n: int | None) -> int:
    if keys:
        return len(keys[0])
    if n is None:
        raise InternalError("a key without columns needs the number of rows")
    return n


__all__ = ["ChunkColumn", "Column", "FixedColumn", "Rows", "StateChanges", "StateSpec", "StateTable"]
