"""Descriptions of keyed state, for plans and manifests. Imports no Numba: only running jobs pay for that."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import pyarrow as pa

from sqlstream.errors import InternalError
from sqlstream.options import MAX_PARALLELISM

# Fixed for a job's life. A row's key group is the stable hash of its distribution key modulo this.
KEY_GROUPS = MAX_PARALLELISM

# The last value column of a state whose rows live for a time: when the row was written last, in µs.
WRITTEN = "_written"


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
    # Which of those leading columns decide it, in their order; None: all as they stand.
    by: tuple[int, ...] | None = None
    # How long a row lives without being written, in µs of processing time (`ttl.py`); 0: for ever. See `living`.
    ttl: int = 0
    # Rows are reached by their key alone, no slots are listed, none is kept from one epoch to the next. They may leave
    # memory for the store and come back when their key is asked for.
    cold: bool = False
    # What people see: its columns under names of the query, fields of ROWs too, the key's first; None: as they are.
    shown: pa.Schema | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if not -1 <= self.distribution <= len(self.key):
            have = f"{len(self.key)} key columns"
            raise InternalError(f"state {self.name}: distribution {self.distribution} of {have}")
        if self.by is not None and not (self.by and set(self.by) <= set(range(self.leading))):
            raise InternalError(f"state {self.name}: its key group by columns {self.by} of {self.leading}")
        if self.stays and not self.log:
            raise InternalError(f"state {self.name}: only rows of a log can stay")
        if self.ttl and (self.stays or self.value.names[-1:] != [WRITTEN]):
            raise InternalError(f"state {self.name}: rows that live for a time know when they were written")
        if self.cold and (self.log or not len(self.key)):
            raise InternalError(f"state {self.name}: only rows with a key leave memory")
        if len(self.key) > 62:
            raise InternalError(f"state {self.name}: {len(self.key)} key columns, more than 62")
        if self.shown is not None and len(self.shown) != len(self.key) + len(self.value):
            raise InternalError(f"state {self.name}: {len(self.shown)} names of {self.key.names + self.value.names}")
        if len(set(self.value.names)) != len(self.value.names):
            raise InternalError(f"state {self.name}: value columns {self.value.names} are not unique")

    def living(self, ttl: int) -> StateSpec:
        """The same state with rows that live for `ttl`, and know when they were written; as it is for 0."""
        if not ttl:
            return self
        return replace(self, value=self.value.append(pa.field(WRITTEN, pa.int64())), ttl=ttl)

    @cached_property
    def leading(self) -> int:
        """How many of the first key columns decide the task of a row."""
        return len(self.key) if self.distribution < 0 else self.distribution

    @cached_property
    def placing(self) -> tuple[int, ...]:
        """The key columns whose stable hash decides the key group."""
        return tuple(range(self.leading)) if self.by is None else self.by
