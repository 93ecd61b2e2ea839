"""Holds operators to what `StateSpec.given` says of their tables: a row changes in no epoch that did not ask for its slot.

Else it might change while it waits to be copied for a checkpoint. That depends on moments; this does not.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from sqlstream.state.arrays import Array
from sqlstream.state.rows import Rows, SlotRows
from sqlstream.state.waiting import Copies, Waiting


@dataclass
class Shadow:
    """Rows as they were at a barrier, by slot; `kept`: whose slots nobody was given since, a bool a slot."""

    rows: dict[int, str]
    kept: Array

    def give(self, slots: Array) -> None:
        """These may change."""
        self.kept[slots[(slots >= 0) & (slots < len(self.kept))]] = False

    def check(self, table: SlotRows) -> None:
        """AssertionError when another one has changed."""
        slots = np.flatnonzero(self.kept)
        changed = {s: (self.rows[s], now) for s, now in shown(table.rows(slots), slots).items() if self.rows[s] != now}
        assert not changed, f"rows changed whose slots were not given out: {changed}, of columns {[*table.columns]}"


_SHADOWS: dict[int, Shadow] = {}  # by table


@contextmanager
def held_to_given() -> Iterator[None]:
    """Checks all tables from a barrier to the next, meanwhile."""
    begin, save, finish, free = Waiting.begin, Waiting.save, Waiting.finish, SlotRows.free

    def looked_at(self: Waiting, change: int) -> Copies:
        if (shadow := _SHADOWS.get(id(self._table))) is not None:
            shadow.check(self._table)
        kept = self._marks.dirty.copy()
        slots = np.flatnonzero(kept)
        rows = shown(self._table.rows(slots), slots)
        out = begin(self, change)
        _SHADOWS[id(self._table)] = Shadow(rows, kept)
        return out

    def given(self: Waiting, slots: Array) -> None:
        if (shadow := _SHADOWS.get(id(self._table))) is not None:
            shadow.give(slots)
        save(self, slots)

    def finished(self: Waiting, *until: float) -> None:
        finish(self, *until)
        if not until:
            _SHADOWS.pop(id(self._table), None)

    def freed(self: SlotRows, slots: Array) -> None:
        if (shadow := _SHADOWS.get(id(self))) is not None:
            shadow.give(slots)
        free(self, slots)

    replaced: tuple[tuple[Any, str, Any, Any], ...] = (
        (Waiting, "begin", begin, looked_at),
        (Waiting, "save", save, given),
        (Waiting, "finish", finish, finished),
        (SlotRows, "free", free, freed),
    )
    try:
        for where, name, _, ours in replaced:
            setattr(where, name, ours)
        yield
    finally:
        for where, name, theirs, _ in replaced:
            setattr(where, name, theirs)
        _SHADOWS.clear()


def shown(rows: Rows, slots: Array) -> dict[int, str]:
    """By slot, as texts: NaN equals NaN."""
    columns = [c.to_pylist() for c in (*rows.keys, *rows.values)]
    return {s: repr([c[i] for c in columns]) for i, s in enumerate(slots.tolist())}
