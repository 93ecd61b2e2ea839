"""What a table knows of each slot beside its row."""

from __future__ import annotations

import numpy as np

from sqlstream.state.arrays import Array, grown

LONG_AGO = -(1 << 31)  # the number of the last change of a row that came back from the store


class Marks:
    """By slot. `dirty`: the row changed since the last checkpoint. `waiting`: a checkpoint takes it as it is now, and has
    not copied it yet; else `stored`: there is one that has it. `changes`: the number of the checkpoint that took its
    last change, of tables whose rows leave memory."""

    def __init__(self, capacity: int) -> None:
        self.dirty: Array = np.zeros(capacity, np.bool_)
        self.stored: Array = np.zeros(capacity, np.bool_)
        self.waiting: Array = np.zeros(0, np.bool_)
        self.changes: Array = np.zeros(0, np.int32)
        self._numbered = False

    def number(self) -> None:
        """From now on `changes` are kept."""
        self._numbered = True
        self.changes = grown(self.changes, len(self.dirty))

    def turn(self) -> None:
        """What is dirty waits; nothing is dirty. Nothing must be waiting."""
        if len(self.waiting) < len(self.dirty):
            self.waiting = grown(self.waiting, len(self.dirty))
        self.dirty, self.waiting = self.waiting, self.dirty

    def store(self, slots: Array, change: int) -> None:
        """A checkpoint has the rows as change `change` made them."""
        self.stored[slots] = True
        if self._numbered:
            self.changes[slots] = change

    def load(self, slots: Array, change: int) -> None:
        """The rows are as a checkpoint has them since `change`."""
        self.dirty[slots] = False
        self.store(slots, change)

    def free(self, slots: Array) -> None:
        """There are no such rows."""
        self.dirty[slots] = False
        self.stored[slots] = False

    def unchanged(self, slots: Array, change: int) -> Array:
        """Those of the slots whose rows are as `change` or one before it made them."""
        slots = slots[~self.dirty[slots] & (self.changes[slots] <= change)]
        return slots[~self.waiting[slots]] if len(self.waiting) else slots

    def grow(self, capacity: int) -> None:
        """Room for slots below `capacity`."""
        self.dirty, self.stored = grown(self.dirty, capacity), grown(self.stored, capacity)
        if len(self.waiting):
            self.waiting = grown(self.waiting, capacity)
        if self._numbered:
            self.changes = grown(self.changes, capacity)
