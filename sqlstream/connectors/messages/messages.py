"""Messages as they come out of a queue: their values, their keys, and what else is known of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
import pyarrow as pa

from sqlstream.formats.messages import Texts


@dataclass(frozen=True)
class Messages:
    """Messages of one split, in its order. `places`: where each stands there (an offset), as errors say it; `following`: where
    the next one will, at least. `keys`: None where nobody asked for them. `metadata`: columns of those keys that were asked for."""

    values: Texts
    places: np.ndarray
    following: int
    keys: Texts | None = None
    metadata: Mapping[str, pa.Array] = field(default_factory=lambda: MappingProxyType({}))

    def __len__(self) -> int:
        return len(self.places)
