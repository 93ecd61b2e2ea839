"""Messages as they come out of a queue: their values, their keys, and what else is known of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa

from sqlstream.formats.messages import Texts


@dataclass(frozen=True)
class Messages:
    """Messages of one split, in its order. `places`: where each stands there (an offset), as errors say it. `keys`: None where nobody
    asked for them. `metadata`: columns of those keys that were asked for. `marks`: where reading goes on with each, where that is not
    its place."""

    values: Texts
    places: np.ndarray
    keys: Texts | None = None
    metadata: Mapping[str, pa.Array] = field(default_factory=lambda: MappingProxyType({}))
    marks: Sequence[dict[str, Any]] | None = None

    def __len__(self) -> int:
        return len(self.places)

    @property
    def size(self) -> int:
        """How many bytes the values have together, and the keys that were asked for."""
        return self.values.total + (0 if self.keys is None else self.keys.total)

    def at(self, message: int) -> dict[str, Any]:
        """The position before a message."""
        return {"offset": int(self.places[message])} if self.marks is None else self.marks[message]
