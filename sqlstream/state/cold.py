"""Rows of a table that left memory and lie in its shard's store.

Only tables whose rows are reached by their key alone have them (`StateSpec.cold`). What the store has of a key is what the
table's row was when the deltas up to `folded` were folded into it; a row leaves memory when it did not change since. So
a key that is not in memory either has its row in the store, or was never there, or is gone since: the keys of
those are the graves here, until the fold that takes their rows out of the store.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa

from sqlstream.state.arrays import Array, grown
from sqlstream.state.encoding import Packed
from sqlstream.state.filter import Filter
from sqlstream.state.index import HashIndex
from sqlstream.state.spec import StateSpec

NEVER_FOLDED = -(1 << 31)


class Codec(Protocol):
    """Rows as byte strings (`packed.py`)."""

    def keys(self, keys: list[pa.Array], n: int) -> Packed:
        """The store's keys of n rows."""

    def decode_values(self, values: Packed) -> tuple[list[pa.Array], list[pa.Array]]:
        """Key columns that are kept as they came, and value columns."""


class Reader(Protocol):
    """What reads the store. `folded`: the last change that is in it."""

    folded: int

    def get(self, keys: Packed) -> tuple[Array, Packed]:
        """Which of the keys are there, and the values of those."""


@dataclass(frozen=True)
class Fetched:
    """Rows that came back: their places among the rows asked for, the key columns as they first came, the values."""

    at: Array
    originals: list[pa.Array]
    values: list[pa.Array]

    @property
    def columns(self) -> list[pa.Array]:
        """Originals, then values."""
        return [*self.originals, *self.values]

    def where(self, kept: Array) -> Fetched:
        """Those where `kept`, a bool each, is True."""
        mask = pa.array(kept)
        return Fetched(self.at[kept], [a.filter(mask) for a in self.originals], [a.filter(mask) for a in self.values])


class Graves:
    """Keys that are gone, of which the store may have rows until the change is folded that took them away."""

    def __init__(self, spec: StateSpec) -> None:
        self._index = HashIndex(list(spec.key.types))
        self._changes: Array = np.zeros(0, np.int64)  # by slot: the last that took the key away
        self._folded = NEVER_FOLDED

    def add(self, keys: list[pa.Array], n: int, change: int) -> None:
        """Keys that are gone, as the deltas of `change` will say."""
        slots, _ = self._index.upsert(keys, n)
        if len(self._changes) < self._index.index.capacity:
            self._changes = grown(self._changes, self._index.index.capacity)
        self._changes[slots] = change

    def hide(self, keys: list[pa.Array], n: int, asked: Array) -> None:
        """Sets `asked`, a bool a key, to False where the key is gone."""
        if self._index.index.size:
            asked &= self._index.find(keys, n) < 0

    def forget(self, folded: int) -> None:
        """Those that the store does not have any more."""
        if folded == self._folded:
            return
        self._folded = folded
        index = self._index.index
        live = np.flatnonzero(index.live[: index.used])
        self._index.delete(live[self._changes[live] <= folded])


class ColdRows:
    """`all_away`: on start every row lies there, and the filter knows of none."""

    def __init__(self, spec: StateSpec, codec: Codec, store: Reader, all_away: bool = False) -> None:
        self.spec, self._codec, self._store = spec, codec, store
        self._all_away = all_away
        self._filter = Filter(spec.ttl)
        self._any = False
        self.left = self.returned = 0  # rows, since the start
        self._graves = Graves(spec)
        self._digging = all_away
        self._unmarked = 0  # the last change with keys that are gone and have no grave

    @property
    def any(self) -> bool:
        """Whether a key that is not in memory may have a row."""
        return self._any or self._all_away

    def fetch(self, keys: list[pa.Array], n: int) -> Fetched:
        """The rows of those of n keys, which are not in memory, that have one in the store."""
        packed = self._codec.keys(keys, n)
        asked = np.ones(n, np.bool_) if self._all_away else self._filter.may_have(packed)
        self._graves.hide(keys, n, asked)
        at = np.flatnonzero(asked)
        if not len(at):
            return Fetched(at, [], [])
        found, values = self._store.get(packed if len(at) == n else taken(packed, at))
        self.returned += int(np.count_nonzero(found))
        return Fetched(at[found], *self._codec.decode_values(values))

    def leave(self, keys: list[pa.Array], n: int, now: int) -> None:
        """The rows of these keys leave memory, in an epoch that began at `now`."""
        self._any = True
        self.left += n
        if not self._all_away:
            self._filter.add(self._codec.keys(keys, n), now)

    def bury(self, keys: list[pa.Array], n: int, change: int) -> None:
        """Keys whose rows the store may have are gone, as the deltas of `change` will say."""
        if not self._digging:
            self._unmarked = change
            return
        self._graves.forget(self._store.folded)
        self._graves.add(keys, n, change)

    def may_leave(self, folded: int) -> bool:
        """Whether rows may leave memory now: keys that went before the first did so have no graves, and must be out of
        the store. `folded`: the last change that is in it."""
        self._digging = True
        self._graves.forget(folded)
        return self._unmarked <= folded


def taken(packed: Packed, at: Array) -> Packed:
    """Some of the byte strings."""
    large = pa.Array.from_buffers(
        pa.large_binary(), len(packed), [None, pa.py_buffer(packed.offsets), pa.py_buffer(packed.data)], 0
    ).take(pa.array(at))
    _, offsets, data = large.buffers()
    bytes_ = np.empty(0, np.uint8) if data is None else np.frombuffer(data, np.uint8)
    return Packed(bytes_, np.frombuffer(offsets, np.int64, count=len(at) + 1, offset=8 * large.offset))
