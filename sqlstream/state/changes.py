"""What changed in a table since the last checkpoint, as it was when that was taken."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, field

from sqlstream.state.columns import Column
from sqlstream.state.rows import Rows
from sqlstream.state.spec import StateSpec


class Staying:
    """Rows of slots start..stop - 1 that stay as they are, copied when asked for, by pieces. From any thread."""

    def __init__(self, keys: Sequence[Column], values: Sequence[Column], start: int, stop: int, piece: int) -> None:
        # What grows gets arrays of its own; the rows that are there stay in these.
        self._keys, self._values = [copy(c) for c in keys], [copy(c) for c in values]
        self._runs = [slice(i, min(i + piece, stop)) for i in range(start, stop, piece)]

    def __iter__(self) -> Iterator[Rows]:
        for run in self._runs:
            yield Rows(run.stop - run.start, [c.get(run) for c in self._keys], [c.get(run) for c in self._values])


@dataclass(frozen=True)
class StateChanges:
    """What changed, consistently: rows to write, keys to delete (never in both); in bounded pieces.

    `upserts`: a copy; or copied as they are asked for, on any thread, each time the same (`waiting.py`, `Staying`).
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
        """Rows to write and keys to delete. Not to be asked of changes that are `full`: their pieces come once."""
        return sum(map(len, self.upserts)) + sum(map(len, self.deleted))
