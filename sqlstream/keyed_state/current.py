"""The key at hand: what views of one key look at while an operator goes through an epoch's rows."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from sqlstream.state.arrays import Array

OFTEN = 32
AT_ONCE = 1 << 18  # rows


@dataclass
class CurrentKey:
    """The distinct keys of an epoch, as `columns` of `count` rows, and the number of the one at hand."""

    columns: list[pa.Array] = field(default_factory=list)
    count: int = 0
    at: int = 0

    def take(self, numbers: list[int] | Array) -> list[pa.Array]:
        """Keys by their numbers."""
        index = pa.array(np.asarray(numbers, np.int64))
        return [c.take(index) for c in self.columns]

    def one(self) -> list[pa.Array]:
        """The key at hand."""
        return [c.slice(self.at, 1) for c in self.columns]


@dataclass
class Reads:
    """When rows of all keys of an epoch are read at once: as soon as single keys were asked for often, and they are not
    too many. `counts`: how many rows each key has stored."""

    counts: list[int]
    done: int = 0

    def ahead(self, most: int) -> list[int]:
        """After one more read of a key: the keys, of `most` rows, to read as well; mostly none."""
        self.done += 1
        if self.done != OFTEN:
            return []
        numbers = [i for i, n in enumerate(self.counts) if 0 < n <= most]
        return numbers if sum(self.counts[i] for i in numbers) <= AT_ONCE else []
