"""Descriptions of keyed state, for plans and manifests. Imports no Numba: only running jobs pay for that."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa

from sqlstream.errors import InternalError

# Fixed for a job's life. A row's key group is the stable hash of its distribution key modulo this.
KEY_GROUPS = 128


@dataclass(frozen=True)
class StateSpec:
    """A keyed state, as in the manifest. `name` is unique within the operator."""

    name: str
    key: pa.Schema
    value: pa.Schema
    # How many leading key columns decide the key group; -1: all; 0: none, everything is in key group 0.
    distribution: int = -1
    # Rows are appended and never looked up: no index from keys to slots. The operator makes their keys unique.
    log: bool = False
    # Rows of a log stay as they were appended, for good: a checkpoint need not copy them before it writes them.
    stays: bool = False

    def __post_init__(self) -> None:
        if not -1 <= self.distribution <= len(self.key):
            have = f"{len(self.key)} key columns"
            raise InternalError(f"state {self.name}: distribution {self.distribution} of {have}")
        if self.stays and not self.log:
            raise InternalError(f"state {self.name}: only rows of a log can stay")
        if len(self.key) > 62:
            raise InternalError(f"state {self.name}: {len(self.key)} key columns, more than 62")
        if len(set(self.value.names)) != len(self.value.names):
            raise InternalError(f"state {self.name}: value columns {self.value.names} are not unique")

    @cached_property
    def leading(self) -> int:
        return len(self.key) if self.distribution < 0 else self.distribution
