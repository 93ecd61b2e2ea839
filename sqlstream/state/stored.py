"""A keyed state in a store: its rows written, deleted, read and copied, in bulk.

Rows of a log that stay lie in blocks, in the order in which they were appended; all others have a key of their own, by
key group. How both look says `packed.py`.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sqlstream.state.arrays import fixed
from sqlstream.state.cold import taken
from sqlstream.state.encoding import Packed
from sqlstream.state.keys import key_groups
from sqlstream.state.packed import (
    RowCodec,
    block_key,
    decode_block,
    decode_sweep,
    encode_block,
    encode_sweep,
    sweep_key,
)
from sqlstream.state.rocks import Store
from sqlstream.state.rows import Rows
from sqlstream.state.spec import KEY_GROUPS, StateSpec
from sqlstream.state.ttl import NEVER, expired

ALL_GROUPS = (0, KEY_GROUPS)
BLOCK_ROWS = 4096  # of a log, at most


class StoredState:
    """State number `number` of a shard. Used by one thread at a time, but for `codec`."""

    def __init__(self, spec: StateSpec, number: int) -> None:
        self.spec, self.number = spec, number
        self.codec = RowCodec(spec, number)
        self.next_block = 0  # of a log: where the next rows go

    def write(self, store: Store, rows: Rows) -> None:
        """Rows with distinct keys, in the place of those that the store has."""
        if self.spec.stays:
            starts = range(0, len(rows), BLOCK_ROWS)
            keys = [block_key(self.number, self.next_block + i) for i in range(len(starts))]
            store.write(packed(keys), packed([encode_block(_slice(rows, at, BLOCK_ROWS), self.spec) for at in starts]))
            self.next_block += len(starts)
        else:
            n = len(rows)
            store.write(self.codec.keys(rows.keys, n), self.codec.values(rows.keys, rows.values, n))

    def delete(self, store: Store, rows: Rows) -> None:
        """Rows by their keys; those that are not there do not matter."""
        store.write(self.codec.keys(rows.keys, len(rows)), None)

    def rows(self, store: Store, groups: tuple[int, int] = ALL_GROUPS) -> Iterator[Rows]:
        """All rows of key groups [lo, hi). Those that stay: in their order; only then, after all of them, more may be
        written."""
        if not self.spec.stays:
            for keys, values in store.scan(*self.codec.group_range(*groups)):
                yield self.codec.rows(keys, values)
            return
        for keys, blocks in store.scan(block_key(self.number, 0), block_key(self.number, (1 << 64) - 1)):
            for block in blocks.tolist():
                rows = decode_block(block, self.spec)
                if groups != ALL_GROUPS:
                    of = key_groups([rows.keys[j] for j in self.spec.placing], len(rows))
                    rows = rows.filter((groups[0] <= of) & (of < groups[1]))
                if len(rows):
                    yield rows
            last = keys.tolist()[-1]
            self.next_block = max(self.next_block, int.from_bytes(last[-8:], "big") + 1)

    def sweep(self, store: Store, now: int) -> int:
        """Deletes rows whose time to live is over: of so many key groups, the next ones, that all are looked at once in
        that time. How many. A newer form of a row may be in memory or in deltas: those bring it back.

        How far it came is in the store, so that a job goes on there however often it is restarted."""
        ttl = self.spec.ttl
        if not ttl or now == NEVER:
            return 0
        place = packed([sweep_key(self.number)])
        _, known = store.get(place)
        upto, next_group = decode_sweep(known.tolist()[0]) if len(known) else (now, 0)
        upto = min(upto, now)  # the clock was set back
        groups = min(KEY_GROUPS, (now - upto) * KEY_GROUPS // ttl)
        upto += max(groups * ttl // KEY_GROUPS, now - upto - ttl)
        end, deleted = next_group + groups, 0
        for lo, hi in ((next_group, min(end, KEY_GROUPS)), (0, end - KEY_GROUPS)):
            if lo < hi:
                deleted += self._delete_expired(store, (lo, hi), now)
        if groups or not len(known):
            store.write(place, packed([encode_sweep(upto, end % KEY_GROUPS)]))
        return deleted

    def _delete_expired(self, store: Store, groups: tuple[int, int], now: int) -> int:
        deleted = 0
        for keys, values in store.scan(*self.codec.group_range(*groups)):
            written = self.codec.rows(keys, values).values[-1]
            over = np.flatnonzero(expired(fixed(written), now, self.spec.ttl))
            if len(over):
                store.write(taken(keys, over), None)
                deleted += len(over)
        return deleted

    def copy(self, store: Store, other: Store, groups: tuple[int, int], number: int) -> None:
        """The rows of key groups [lo, hi) of another store, where this is state `number`."""
        if self.spec.stays or number != self.number:
            theirs = StoredState(self.spec, number)
            for rows in theirs.rows(other, groups):
                self.write(store, rows)
        else:
            store.copy_range(other, *self.codec.group_range(*groups))


def packed(strings: list[bytes]) -> Packed:
    """Byte strings end to end."""
    offsets = np.zeros(len(strings) + 1, np.int64)
    np.cumsum([len(s) for s in strings], out=offsets[1:])
    return Packed(np.frombuffer(b"".join(strings), np.uint8), offsets)


def _slice(rows: Rows, start: int, count: int) -> Rows:
    n = min(count, len(rows) - start)
    return Rows(n, [k.slice(start, n) for k in rows.keys], [v.slice(start, n) for v in rows.values])
