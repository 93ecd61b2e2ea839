"""The manifest of a checkpoint: everything that it consists of, as JSON for people and programs.

It is the last file of a checkpoint to be written; a checkpoint without it does not exist. It names each state
file with its size and hash, each state with its schema, and holds offsets, watermarks and sink preparations
themselves. `format_version` is 5 (4, without what people see of states, and 3, without files of a store, are read
too); a newer one is refused, since falling back would silently repeat output. `sha256` is the hash of all that follows
it: what was changed after it was written is not believed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, TypeVar

from sqlstream.checkpoint.schemas import schema_from_json, schema_to_json
from sqlstream.checkpoint.sealed import opened, sealed
from sqlstream.errors import CheckpointError
from sqlstream.options import MAX_PARALLELISM
from sqlstream.own_files import from_json
from sqlstream.state.spec import StateSpec

T = TypeVar("T")
FORMAT_VERSION = 5
OLDEST_VERSION = 3
BASE, DELTA = "base", "delta"  # Arrow files: a whole state, what changed since
TABLE, STORE = "sst", "store"  # of RocksDB: its sorted tables, and the small files that say which there are
SHARED = "shared"  # the directory of state files, which several checkpoints may name
_FILE = re.compile(rf"{SHARED}/([0-9a-f]{{64}})\.(arrow|sst|store)")
_IN_STORE = re.compile(r"[A-Za-z0-9_.-]*[A-Za-z0-9]")


@dataclass(frozen=True)
class FileEntry:
    """A state file. `name` is relative to the job's checkpoint directory; a chain is read in order.

    `path`: of a file of a store, its name in the store's directory. `rows` is known of Arrow files only.
    """

    name: str
    size: int
    sha256: str
    kind: str  # BASE, DELTA, TABLE or STORE
    rows: int
    path: str = ""

    def __post_init__(self) -> None:
        named = _FILE.fullmatch(self.name)
        suffix = self.kind if self.in_store else "arrow"
        good = named is not None and named[1] == self.sha256 and named[2] == suffix and min(self.size, self.rows) >= 0
        if not good or self.kind not in (BASE, DELTA, TABLE, STORE):
            raise ValueError(f"{self.name!r} is no state file")
        if (_IN_STORE.fullmatch(self.path) is not None) != self.in_store:
            raise ValueError(f"{self.name!r} cannot be {self.path!r} in a store")

    @property
    def in_store(self) -> bool:
        """Whether it is a file of a store."""
        return self.kind in (TABLE, STORE)


@dataclass(frozen=True)
class StateSchema:
    """A state of an operator. `number` says which rows of the files are its own; `shown` is what people see of it, the
    key's columns first (none: what they are inside), `stays` that its rows are a log, in their order."""

    name: str
    number: int
    key: list[list[Any]]
    value: list[list[Any]]
    distribution: int
    by: list[int] | None = None
    stays: bool = False
    shown: list[list[Any]] = field(default_factory=list)

    @staticmethod
    def of(spec: StateSpec, number: int) -> StateSchema:
        """The description of a state for a manifest."""
        key, value = schema_to_json(spec.key), schema_to_json(spec.value)
        by = None if spec.by is None else list(spec.by)
        shown = [] if spec.shown is None else schema_to_json(spec.shown)
        return StateSchema(spec.name, number, key, value, spec.distribution, by, spec.stays, shown)

    def spec(self) -> StateSpec:
        """The state that was described. CheckpointError for a type that this version does not know."""
        key, value = schema_from_json(self.key), schema_from_json(self.value)
        by = None if self.by is None else tuple(self.by)
        shown = schema_from_json(self.shown) if self.shown else None
        return StateSpec(self.name, key, value, self.distribution, self.stays, self.stays, by, shown=shown)


@dataclass(frozen=True)
class TaskState:
    """What one task of an operator had: key groups [lo, hi), its files in order, and its small facts."""

    subtask: int
    key_groups: tuple[int, int]
    files: tuple[FileEntry, ...] = ()
    snapshot: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        lo, hi = self.key_groups
        if not 0 <= lo <= hi <= MAX_PARALLELISM or self.subtask < 0:
            raise ValueError(f"task {self.subtask} has key groups {lo} to {hi}")


@dataclass(frozen=True)
class OperatorState:
    """What a checkpoint has of one node of the plan: `name`, for people; its states, and what each task of it had."""

    name: str
    states: tuple[StateSchema, ...] = ()
    tasks: tuple[TaskState, ...] = ()


@dataclass(frozen=True)
class NodeMark:
    """By what a node of a plan is known in another one. `hash`: of what it means (`runtime/meaning.py`); `table`: that of a
    source or a sink; `stateful`: it remembers something of what came. The rest is for people; `inputs`: ids."""

    hash: str
    table: str = ""
    stateful: bool = False
    name: str = ""
    details: str = ""
    inputs: list[str] = field(default_factory=list)


def likeness(
    fingerprint: str, nodes: Mapping[str, NodeMark], old: str, marks: Mapping[str, NodeMark]
) -> tuple[bool, int]:
    """How well a plan suits a checkpoint, to be compared: whether that is of the plan (by its fingerprint `old`), and how many of
    the operators that remember something have the same in it."""
    there = {m.hash for m in marks.values() if m.stateful}
    return fingerprint == old, sum(m.stateful and m.hash in there for m in nodes.values())


@dataclass(frozen=True)
class Manifest:
    """One checkpoint. Everything in it can be JSON; nodes go by their ids in the plan."""

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
    tables: dict[str, dict[str, str]] = field(default_factory=dict)  # by name: options, as they are compared
    nodes: dict[str, NodeMark] = field(default_factory=dict)  # by id, inputs first; none: ids are places in the plan
    format_version: int = FORMAT_VERSION

    def __post_init__(self) -> None:
        for key in ("rows_in", "rows_out", "late_rows"):
            if type(self.metrics.get(key, 0)) is not int:
                raise ValueError(f"metrics: {key!r} is no int")

    def renamed(self, ids: Mapping[str, str]) -> Manifest:
        """This with other ids of operators; what has none goes."""

        def moved(parts: Mapping[str, T]) -> dict[str, T]:
            return {ids[k]: v for k, v in parts.items() if k in ids}

        metrics = dict(self.metrics)
        metrics |= {k: moved(metrics[k]) for k in ("source_watermarks", "state") if k in metrics}
        parts = (moved(self.operators), moved(self.sources), moved(self.sinks))
        return replace(self, operators=parts[0], sources=parts[1], sinks=parts[2], metrics=metrics)

    def files(self) -> dict[str, FileEntry]:
        """All state files, by name."""
        tasks = (task for operator in self.operators.values() for task in operator.tasks)
        return {f.name: f for task in tasks for f in task.files}

    def check_plan(self, fingerprint: str, plan: str) -> None:
        """CheckpointError, with the difference, when another plan is to go on from here."""
        if self.plan_fingerprint == fingerprint:
            return
        import difflib

        changes = [
            *difflib.unified_diff(self.plan.splitlines(), plan.splitlines(), "checkpoint", "now", lineterm="", n=1)
        ]
        what = ":\n  " + "\n  ".join(changes) if changes else " (in what is not printed, such as the types of columns)"
        raise CheckpointError(
            f"the plan of job {self.job_name} is not that of its checkpoint {self.checkpoint_id}{what}",
            hint="run the statement as it was, give the changed one another pipeline.name, or start anew with --fresh",
        )

    def to_json(self) -> str:
        """Readable and stable text; `format_version` comes first, then the hash of the rest."""
        value = asdict(self)
        return sealed(value.pop("format_version"), value)

    @staticmethod
    def from_json(text: str | bytes) -> Manifest:
        """CheckpointError when it is not a manifest as it was written, or one of a newer version (`Refused`)."""
        data = text.encode(errors="surrogatepass") if isinstance(text, str) else text
        try:
            value = opened("checkpoint", data, OLDEST_VERSION, FORMAT_VERSION)
            made: Manifest = from_json(Manifest, value)
            return made
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as e:
            raise CheckpointError(f"not a checkpoint manifest: {type(e).__name__}: {e}") from e
