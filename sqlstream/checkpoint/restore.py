"""Restores the tables of one task from a checkpoint, at the same parallelism or another, on either backend.

The chains of all old tasks whose key groups meet ours are read. Into Arrow (`hashmap`) that means every row; into a store
(`rocksdb`) its files are linked, and rows that are reached by their key alone stay there until they are asked for. At
another parallelism rows are copied by key group into a store of our own.

Rows that lived for ever and now are to live for a time (`table.exec.state.ttl`, STATE_TTL) were written when the job is
restored, as in Flink; the other way round the time of their last write is dropped. Either takes a pass over all rows.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from sqlstream import faults
from sqlstream.checkpoint.chain import Chain, link_store, local_file, opened_store, spec_of
from sqlstream.checkpoint.manifest import BASE, FileEntry, OperatorState, StateSchema, TaskState
from sqlstream.checkpoint.storage import CheckpointStorage, failing_as
from sqlstream.checkpoint.store_shard import StoreShard
from sqlstream.checkpoint.writer import StateShard
from sqlstream.errors import CheckpointError
from sqlstream.state.clusters import clustered
from sqlstream.state.files import StateRows, in_turn
from sqlstream.state.keys import key_groups
from sqlstream.state.memory import MEMORY
from sqlstream.state.rocks import Store
from sqlstream.state.rows import Rows
from sqlstream.state.spec import KEY_GROUPS, WRITTEN, StateSpec
from sqlstream.state.stored import StoredState
from sqlstream.state.table import StateTable
from sqlstream.threads import mapped

UNPACKED = 4  # bytes of memory for one of a state file, about


@dataclass(frozen=True)
class Restored:
    """`full`: the shard has no chain to go on with, and the first checkpoint must be full."""

    tables: dict[str, StateTable]
    snapshots: list[dict[str, Any]]
    full: bool


@dataclass(frozen=True)
class _Old:
    """An old task's part. `specs`: our states by name; `local` says where its files are; `now` what time it is, µs."""

    task: TaskState
    schemas: tuple[StateSchema, ...]
    specs: dict[str, StateSpec]
    local: dict[str, Path]
    now: int

    @property
    def in_store(self) -> list[tuple[FileEntry, Path]]:
        """The files of its store, and where they are."""
        return [(f, self.local[f.name]) for f in self.task.files if f.in_store]

    def chain(self, store: Store | None) -> Chain:
        """Its Arrow files over its store, with the states as they were."""
        files = [f for f in self.task.files if not f.in_store]
        states = [StoredState(self._spec(s, store), s.number) for s in self.schemas]
        return Chain([(self.local[f.name], f.rows) for f in files], states, store, self.task.key_groups)

    def _spec(self, state: StateSchema, store: Store | None) -> StateSpec:
        ours = self.specs[state.name]
        return spec_of(state, store) if relived(state, ours) else ours

    def as_now(self, part: StateRows) -> Rows:
        """Rows as we have them: where rows lived for ever so far, they were written now."""
        rows, ours = part.rows, self.specs[part.spec.name]
        if len(part.spec.value) == len(ours.value):
            return rows
        if not ours.ttl:
            return Rows(len(rows), rows.keys, rows.values[:-1])
        return Rows(len(rows), rows.keys, [*rows.values, pa.array(np.full(len(rows), self.now))])


def own_place(directory: Path, task: TaskState) -> Path:
    """Where a store of an old task is opened. RocksDB holds a directory until the last reader of it is forgotten, and an
    attempt that follows a damaged one may come before that: no two have the same."""
    return directory / f"store-{task.subtask}-{uuid.uuid4().hex[:8]}"


def key_group_range(subtask: int, parallelism: int) -> tuple[int, int]:
    """Key groups [lo, hi) of a task, as Flink assigns them."""
    lo = (subtask * KEY_GROUPS + parallelism - 1) // parallelism
    return lo, ((subtask + 1) * KEY_GROUPS - 1) // parallelism + 1


def subtask_of(key_group: int, parallelism: int) -> int:
    """Which task has a key group: the one in whose `key_group_range` it is."""
    return key_group * parallelism // KEY_GROUPS


def restore_task(
    storage: CheckpointStorage,
    operator: OperatorState,
    states: tuple[StateSpec, ...],
    groups: tuple[int, int],
    directory: Path,
    cache: Path | None = None,
    shard: StateShard | None = None,
    now: int = 0,
) -> Restored:
    """Tables of `states` with the rows of our key groups; `shard`, a new one, goes on with the chain where it can.

    `directory` must not exist yet; it holds the downloaded files afterwards (unless the storage is local).
    `cache`: where `CheckpointCoordinator.latest` put files that it verified. `now`, µs: when rows were written that
    lived for ever so far. CheckpointError when a file is damaged, or when the states are not those of the checkpoint.
    """
    check_schemas(operator, states)
    lo, hi = groups
    tables = {s.name: StateTable(s) for s in states}
    specs = {name: table.spec for name, table in tables.items()}
    tasks = [t for t in operator.tasks if t.key_groups[0] < hi and lo < t.key_groups[1]]
    same = len(tasks) == 1 and tasks[0].key_groups == (lo, hi)
    same = same and [s.name for s in sorted(operator.states, key=lambda s: s.number)] == list(tables)
    same = same and not any(relived(s, specs[s.name]) for s in operator.states)
    with failing_as("make the directory", str(directory)):
        directory.mkdir(parents=True)
    entries = {f.name: f for t in tasks for f in t.files}
    places = mapped(storage.transfers, lambda f: _local(storage, f, directory, cache), entries.values())
    local = dict(zip(entries, places, strict=True))
    olds = [_Old(t, operator.states, specs, local, now) for t in tasks]
    snapshots = [t.snapshot for t in tasks]
    if isinstance(shard, StoreShard):
        if same and not _too_large(olds[0], shard):
            _go_on(olds[0], shard, tables)
        else:
            _build(olds, shard, tables, groups, directory)
        return Restored(tables, snapshots, False)
    for old in olds:
        with opened_store(old.in_store, own_place(directory, old.task)) as store:
            for part in old.chain(store).rows(groups=groups):
                tables[part.spec.name].load(old.as_now(part))
    goes_on = same and not olds[0].in_store
    if shard is not None and goes_on:
        shard.resume(tasks[0].files, local)
    return Restored(tables, snapshots, not goes_on)


def _go_on(old: _Old, shard: StoreShard, tables: dict[str, StateTable]) -> None:
    """At the same parallelism: the store as it is, its cold rows not even looked at."""
    if old.in_store:
        link_store(old.in_store, shard.place)
    shard.attach(tables, all_away=bool(old.in_store))
    shard.resume(old.task.files, old.local)
    chain = replace(old.chain(shard.store() if old.in_store else None), states=shard.stored)
    wanted = shard.stored
    if old.in_store:
        wanted = [s for s in shard.stored if not s.spec.cold]
        if cold := {s.number for s in shard.stored if s.spec.cold}:
            for part in in_turn(chain.counted, chain.specs, cold):
                table = tables[part.spec.name]
                table.bury(part.rows) if part.deleted else table.load(part.rows)
    for part in chain.rows(wanted):
        tables[part.spec.name].load(part.rows)


def _too_large(old: _Old, shard: StoreShard) -> bool:
    """Of Arrow files with a whole state: whether its rows may be more than memory holds."""
    files = old.task.files
    if not any(f.kind == BASE for f in files) or not any(s.spec.cold for s in shard.stored):
        return False
    if (fit := shard.folding.hot_rows) is not None:
        return sum(f.rows for f in files) > fit
    return not MEMORY.has_room(UNPACKED * sum(f.size for f in files))


def _build(
    olds: list[_Old], shard: StoreShard, tables: dict[str, StateTable], groups: tuple[int, int], directory: Path
) -> None:
    """At another parallelism, of files that must not all come to memory, or where rows now live for a time, or for ever: a
    store of our own, filled by key group. Its deltas are folded at once."""
    store = shard.store()
    by_name = {s.spec.name: s for s in shard.stored}
    for old in olds:
        with opened_store(old.in_store, own_place(directory, old.task), shard.folding.memory) as source:
            chain = old.chain(source)
            others = {s.number for s in old.schemas if relived(s, old.specs[s.name])}
            for theirs in chain.states:
                mine = by_name[theirs.spec.name]
                if theirs.number in others:
                    work = directory / f"rows-{old.task.subtask}-{theirs.number}"
                    for part in chain.by_groups([theirs], work, groups):
                        mine.write(store, old.as_now(part))
                elif source is not None:
                    mine.copy(store, source, groups, theirs.number)
            for part in clustered(chain.counted, chain.specs, directory / f"parts-{old.task.subtask}"):
                rows = part.rows if chain.within(groups) else _of(groups, part)
                if len(rows) and part.number not in others:
                    mine = by_name[part.spec.name]
                    mine.delete(store, rows) if part.deleted else mine.write(store, rows)
    shard.attach(tables, all_away=True)
    for state in shard.stored:
        for rows in () if state.spec.cold else state.rows(store):
            tables[state.spec.name].load(rows)
    shard.built()


def _of(groups: tuple[int, int], part: StateRows) -> Rows:
    """The rows of our key groups."""
    of = key_groups([part.rows.keys[j] for j in part.spec.placing], len(part.rows))
    return part.rows.filter((groups[0] <= of) & (of < groups[1]))


def check_schemas(operator: OperatorState, states: tuple[StateSpec, ...]) -> None:
    """CheckpointError with the difference unless the checkpoint's states are these."""
    old = {s.name: s for s in operator.states}
    new = {s.name: StateSchema.of(s, old[s.name].number if s.name in old else -1) for s in states}
    differences = [f"state {name} is in the checkpoint only" for name in old.keys() - new.keys()]
    differences += [f"state {name} is not in the checkpoint" for name in new.keys() - old.keys()]
    for name in old.keys() & new.keys():
        for part in ("key", "value", "distribution", "by"):
            a, b = getattr(old[name], part), getattr(new[name], part)
            if part == "value":
                a, b = timeless(a), timeless(b)
            if a != b:
                differences.append(f"state {name}: its {part} is {b}, in the checkpoint {a}")
    if differences:
        raise CheckpointError(
            f"the state of {operator.name} in the checkpoint does not fit the query:\n  "
            + "\n  ".join(sorted(differences)),
            hint="run the query that wrote the checkpoint, or start the changed one with another pipeline.name",
        )


def relived(was: StateSchema, spec: StateSpec) -> bool:
    """Whether rows of a state lived for ever so far and now live for a time, or the other way round."""
    return (timeless(was.value) == was.value) == bool(spec.ttl)


def timeless(value: list[list[Any]]) -> list[list[Any]]:
    """A state's value columns without that of the last write."""
    return [c for c in value if c[0] != WRITTEN]


def _local(storage: CheckpointStorage, entry: FileEntry, directory: Path, cache: Path | None) -> Path:
    """The file on a local disk, verified. Blocks of a table are by RocksDB, when they are read, and the whole of it by the
    coordinator, beside the job."""
    path = local_file(storage, entry, directory, cache, tables=False)
    faults.point("mid-restore")
    return path
