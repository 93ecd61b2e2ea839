"""Restores the tables of one task from a checkpoint, at the same parallelism or another.

The chains of all old tasks whose key groups meet ours are read, and the rows of our key groups loaded. At the same parallelism the task goes on with the old chain
(`StateShard.resume`); after a change of it the first checkpoint must be full.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlstream.checkpoint.manifest import FileEntry, OperatorState, StateSchema
from sqlstream.checkpoint.storage import CheckpointStorage, failing_as, sha256_of
from sqlstream.errors import CheckpointError
from sqlstream.state.files import live_rows
from sqlstream.state.keys import key_groups
from sqlstream.state.spec import KEY_GROUPS, StateSpec
from sqlstream.state.table import StateTable


@dataclass(frozen=True)
class Restored:
    """`chain`: the files to `resume` with; empty after a change of parallelism. `local`: where they are here."""

    tables: dict[str, StateTable]
    snapshots: list[dict[str, Any]]
    same: bool
    chain: tuple[FileEntry, ...] = ()
    local: dict[str, Path] = field(default_factory=dict)


def key_group_range(subtask: int, parallelism: int) -> tuple[int, int]:
    """Key groups [lo, hi) of a task, as Flink assigns them."""
    lo = (subtask * KEY_GROUPS + parallelism - 1) // parallelism
    return lo, ((subtask + 1) * KEY_GROUPS - 1) // parallelism + 1


def subtask_of(key_group: int, parallelism: int) -> int:
    return key_group * parallelism // KEY_GROUPS


def restore_task(
    storage: CheckpointStorage,
    operator: OperatorState,
    states: tuple[StateSpec, ...],
    groups: tuple[int, int],
    directory: Path,
    cache: Path | None = None,
) -> Restored:
    """Tables of `states` with the rows of our key groups.

    `directory` must not exist yet; it holds the downloaded files afterwards (unless the storage is local).
    `cache`: where `CheckpointCoordinator.latest` put files that it verified. CheckpointError when a file is
    damaged, or when the states are not those of the checkpoint.
    """
    check_schemas(operator, states)
    lo, hi = groups
    tables = {s.name: StateTable(s) for s in states}
    specs = {s.number: tables[s.name].spec for s in operator.states}
    tasks = [t for t in operator.tasks if t.key_groups[0] < hi and lo < t.key_groups[1]]
    same = len(tasks) == 1 and tasks[0].key_groups == (lo, hi)
    same = same and [s.name for s in sorted(operator.states, key=lambda s: s.number)] == list(tables)
    with failing_as("make the directory", str(directory)):
        directory.mkdir(parents=True)
    local = {f.name: _local(storage, f, directory, cache) for t in tasks for f in t.files}
    for t in tasks:
        for part in live_rows([local[f.name] for f in t.files], specs):
            rows, leading = part.rows, part.spec.leading
            if t.key_groups[0] < lo or hi < t.key_groups[1]:
                of = key_groups(rows.keys[:leading], len(rows))
                rows = rows.filter((lo <= of) & (of < hi))
            if len(rows):
                tables[part.spec.name].load(rows)
    chain = tasks[0].files if same else ()
    return Restored(tables, [t.snapshot for t in tasks], same, chain, {f.name: local[f.name] for f in chain})


def check_schemas(operator: OperatorState, states: tuple[StateSpec, ...]) -> None:
    """CheckpointError with the difference unless the checkpoint's states are these."""
    old = {s.name: s for s in operator.states}
    new = {s.name: StateSchema.of(s, old[s.name].number if s.name in old else -1) for s in states}
    differences = [f"state {name} is in the checkpoint only" for name in old.keys() - new.keys()]
    differences += [f"state {name} is not in the checkpoint" for name in new.keys() - old.keys()]
    for name in old.keys() & new.keys():
        for part in ("key", "value", "distribution"):
            a, b = getattr(old[name], part), getattr(new[name], part)
            if a != b:
                differences.append(f"state {name}: its {part} is {b}, in the checkpoint {a}")
    if differences:
        raise CheckpointError(
            f"the state of {operator.name} in the checkpoint does not fit the query:\n  "
            + "\n  ".join(sorted(differences)),
            hint="run the query that wrote the checkpoint, or start the changed one with another pipeline.name",
        )


def _local(storage: CheckpointStorage, entry: FileEntry, directory: Path, cache: Path | None) -> Path:
    """The file on a local disk: in the storage itself, in the cache, or downloaded and verified."""
    name = entry.name.rsplit("/", 1)[-1]
    path = storage.local_path(entry.name)
    if path is None and cache is not None and (cache / name).exists():
        path = cache / name
    if path is None:
        path = directory / name
        storage.fetch(entry.name, path)
    with failing_as("read", str(path)):
        if path.stat().st_size != entry.size or sha256_of(path) != entry.sha256:
            raise CheckpointError(f"{entry.name} is damaged: it is not the file that the manifest names")
    return path
