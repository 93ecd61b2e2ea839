"""The manifest of a checkpoint: everything that it consists of, as JSON for people and programs.

It is the last file of a checkpoint to be written; a checkpoint without it does not exist. It names each state
file with its size and hash, each state with its schema, and holds offsets, watermarks and sink preparations
themselves. `format_version` is 2; a newer one is refused, since falling back would silently repeat output.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from sqlstream.checkpoint.schemas import schema_from_json, schema_to_json
from sqlstream.errors import CheckpointError
from sqlstream.state.spec import StateSpec

FORMAT_VERSION = 2
BASE, DELTA = "base", "delta"
SHARED = "shared"  # the directory of state files, which several checkpoints may name


@dataclass(frozen=True)
class FileEntry:
    """A state file. `name` is relative to the job's checkpoint directory; a chain is read in order."""

    name: str
    size: int
    sha256: str
    kind: str  # BASE or DELTA
    rows: int


@dataclass(frozen=True)
class StateSchema:
    """A state of an operator. `number` says which rows of the files are its own."""

    name: str
    number: int
    key: list[list[Any]]
    value: list[list[Any]]
    distribution: int

    @staticmethod
    def of(spec: StateSpec, number: int) -> StateSchema:
        key, value = schema_to_json(spec.key), schema_to_json(spec.value)
        return StateSchema(spec.name, number, key, value, spec.distribution)

    def spec(self) -> StateSpec:
        return StateSpec(self.name, schema_from_json(self.key), schema_from_json(self.value), self.distribution)


@dataclass(frozen=True)
class TaskState:
    """What one task of an operator had: key groups [lo, hi), its files in order, and its small facts."""

    subtask: int
    key_groups: tuple[int, int]
    files: tuple[FileEntry, ...] = ()
    snapshot: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class OperatorState:
    name: str
    states: tuple[StateSchema, ...] = ()
    tasks: tuple[TaskState, ...] = ()


@dataclass(frozen=True)
class Manifest:
    job_id: str
    job_name: str
    run_id: str
    checkpoint_id: int
    epoch: int
    created: str  # ISO 8601, UTC
    plan_fingerprint: str
    plan: str  # the physical plan's text, to show what changed
    parallelism: int
    operators: dict[str, OperatorState] = field(default_factory=dict)  # by node id
    sources: dict[str, dict[str, Any]] = field(default_factory=dict)  # node id: split id: position, watermark, …
    sinks: dict[str, list[Any]] = field(default_factory=dict)  # node id: what to commit
    metrics: dict[str, Any] = field(default_factory=dict)
    previous: int | None = None  # the checkpoint before this one, if it was kept
    format_version: int = FORMAT_VERSION

    def files(self) -> dict[str, FileEntry]:
        """All state files, by name."""
        tasks = (task for operator in self.operators.values() for task in operator.tasks)
        return {f.name: f for task in tasks for f in task.files}

    def check_plan(self, fingerprint: str, plan: str) -> None:
        """CheckpointError, with the difference, when another plan is to go on from here."""
        if self.plan_fingerprint == fingerprint:
            return
        import difflib

        changes = difflib.unified_diff(self.plan.splitlines(), plan.splitlines(), "checkpoint", "now", lineterm="", n=1)
        raise CheckpointError(
            f"the plan of job {self.job_name} is not that of its checkpoint {self.checkpoint_id}:\n  "
            + "\n  ".join(changes),
            hint="run the statement as it was, give the changed one another pipeline.name, or start anew with --fresh",
        )

    def to_json(self) -> str:
        """Readable and stable text; `format_version` comes first."""
        value = asdict(self)
        head = {"format_version": value.pop("format_version")}
        return json.dumps({**head, **value}, indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    @staticmethod
    def from_json(text: str | bytes) -> Manifest:
        """CheckpointError when it is not a manifest, or one of a newer version (`Refused`)."""
        try:
            value = json.loads(text)
            version = value["format_version"]
            if isinstance(version, int) and version > FORMAT_VERSION:
                raise Refused(
                    f"the checkpoint has format version {version}, this sqlstream reads up to {FORMAT_VERSION}",
                    hint="install the version of sqlstream that wrote it, or a newer one",
                )
            if version != FORMAT_VERSION:
                raise ValueError(f"format version {version!r}")
            value["operators"] = {node: _operator(o) for node, o in value["operators"].items()}
            return Manifest(**value)
        except (ValueError, KeyError, TypeError, AttributeError) as e:
            raise CheckpointError(f"not a checkpoint manifest: {type(e).__name__}: {e}") from e


class Refused(CheckpointError):
    """A good checkpoint, but not one for us (a later version's, another job's): never skipped for an older one."""


def _operator(value: dict[str, Any]) -> OperatorState:
    return OperatorState(
        value["name"],
        tuple(StateSchema(**s) for s in value["states"]),
        tuple(
            TaskState(
                t["subtask"],
                (int(t["key_groups"][0]), int(t["key_groups"][1])),
                tuple(FileEntry(**f) for f in t["files"]),
                t["snapshot"],
            )
            for t in value["tasks"]
        ),
    )
