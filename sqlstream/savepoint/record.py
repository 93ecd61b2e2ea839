"""What a savepoint consists of: its `_metadata`, JSON for people and programs.

    <directory>/savepoint-<job>-<id>/_metadata                            written last; without it there is no savepoint
    <directory>/savepoint-<job>-<id>/<operator>/<state>/part-<task>-<n>.parquet

All names are relative, so that a savepoint may be moved. `sha256` in `_metadata` is the hash of all that follows it there,
and every other file stands in it with its size and hash. `format_version` is 1; a newer one is refused.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from typing import Any

from sqlstream.checkpoint.manifest import NodeMark, StateSchema, TaskState
from sqlstream.checkpoint.sealed import opened, sealed
from sqlstream.errors import CheckpointError
from sqlstream.options import MAX_PARALLELISM
from sqlstream.own_files import from_json

FORMAT_VERSION = 1
METADATA = "_metadata"
MANUAL, PERIODIC, STOP = "MANUAL", "PERIODIC", "STOP"
_PIECE = re.compile(r"[A-Za-z0-9_.~-]+/[A-Za-z0-9_.~-]+/part-\d+-\d+\.parquet")
_HASH = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Piece:
    """A file with rows of one state, of the task that had them. `name` is relative to the savepoint's directory."""

    name: str
    size: int
    sha256: str
    rows: int
    subtask: int

    def __post_init__(self) -> None:
        parts = self.name.split("/")
        if not _PIECE.fullmatch(self.name) or any(p.startswith(".") for p in parts) or min(self.size, self.rows) < 0:
            raise ValueError(f"{self.name!r} is no file of a savepoint")
        if not _HASH.fullmatch(self.sha256):
            raise ValueError(f"{self.sha256!r} is no sha256")


@dataclass(frozen=True)
class SavedState:
    """A state of an operator: how its rows look inside and outside, and where they are, in order."""

    schema: StateSchema
    pieces: tuple[Piece, ...] = ()


@dataclass(frozen=True)
class SavedOperator:
    """`tasks`: the key groups that each had, and its small facts; without files."""

    name: str
    states: tuple[SavedState, ...] = ()
    tasks: tuple[TaskState, ...] = ()


@dataclass(frozen=True)
class Record:
    """`id` is the last part of the directory's name as it was written; `origin`: MANUAL, PERIODIC or STOP.

    `drained`: inputs were declared to be at their end before, so that all windows closed. The rest is as in the manifest
    of the checkpoint that it was made of; what that had prepared for `sinks` was published before, and what they remember
    stands among it.
    """

    id: str
    origin: str
    created: str  # ISO 8601, UTC
    job_name: str
    run_id: str
    checkpoint_id: int
    epoch: int
    plan_fingerprint: str
    plan: str
    parallelism: int
    drained: bool = False
    key_groups: int = MAX_PARALLELISM
    operators: dict[str, SavedOperator] = field(default_factory=dict)
    nodes: dict[str, NodeMark] = field(default_factory=dict)
    sources: dict[str, dict[str, Any]] = field(default_factory=dict)
    sinks: dict[str, list[Any]] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    tables: dict[str, dict[str, str]] = field(default_factory=dict)
    format_version: int = FORMAT_VERSION

    def __post_init__(self) -> None:
        if self.key_groups != MAX_PARALLELISM or self.origin not in (MANUAL, PERIODIC, STOP):
            raise ValueError(f"{self.key_groups} key groups, origin {self.origin!r}")
        for key in ("rows_in", "rows_out", "late_rows"):
            if type(self.metrics.get(key, 0)) is not int:
                raise ValueError(f"metrics: {key!r} is no int")

    def pieces(self) -> list[Piece]:
        """All files but `_metadata`."""
        return [p for o in self.operators.values() for s in o.states for p in s.pieces]

    def to_json(self) -> str:
        """Readable and stable text."""
        value = asdict(self)
        return sealed(value.pop("format_version"), value)

    @staticmethod
    def from_json(data: bytes, where: str) -> Record:
        """CheckpointError, naming the file `where`, when it is not as it was written, or of a newer version."""
        try:
            made: Record = from_json(Record, opened("savepoint", data, FORMAT_VERSION, FORMAT_VERSION))
            return made
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as e:
            raise CheckpointError(
                f"{where} is not the metadata of a savepoint: {type(e).__name__}: {e}",
                hint="it is damaged: take another savepoint, or restore the file from a backup",
            ) from e


@dataclass(frozen=True)
class Savepoint:
    """A complete savepoint, and where it is."""

    path: str
    record: Record

    @property
    def id(self) -> str:
        """The last part of its directory's name."""
        return self.record.id

    @property
    def checkpoint_id(self) -> int:
        """The checkpoint that it was made of."""
        return self.record.checkpoint_id
