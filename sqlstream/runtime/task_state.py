"""The keyed state of one task: tables, the shards that write them, and rows that leave memory when it is short."""

from __future__ import annotations

import time as walltime
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from sqlstream import faults
from sqlstream.checkpoint.arrow_shard import ArrowShard
from sqlstream.checkpoint.manifest import OperatorState
from sqlstream.checkpoint.restore import key_group_range, relived, restore_task
from sqlstream.checkpoint.storage import CheckpointStorage
from sqlstream.checkpoint.store_shard import Folding, StoreShard
from sqlstream.checkpoint.writer import Pending, StateShard
from sqlstream.metrics.state import StateMetrics
from sqlstream.options import STORE_STATISTICS, SessionOptions
from sqlstream.runtime.process import trim
from sqlstream.runtime.store_places import StoreShare
from sqlstream.state.rocks import StoreSettings
from sqlstream.state.spec import StateSpec
from sqlstream.state.table import StateTable
from sqlstream.threads import Threads

COPYING = 0.002  # seconds: about what the rows take that are copied at once


@dataclass
class OperatorTables:
    """What one operator has. `shard`: None in a job that takes no checkpoints, or without states."""

    tables: dict[str, StateTable]
    shard: StateShard | None = None
    full: bool = False  # the next checkpoint must have the whole state
    snapshots: list[dict[str, Any]] = field(default_factory=list)

    def held(self) -> AbstractContextManager[object]:
        """While the operator works with its tables: nobody copies rows for a checkpoint."""
        stack = ExitStack()
        for table in self.tables.values():
            stack.enter_context(table.held())
        return stack

    def share(self, asked: bool = True) -> Pending | None:
        """Takes what changed: for a checkpoint (`asked`), or to be folded."""
        if self.shard is None:
            return None
        changes = {name: t.changes(full=self.full) for name, t in self.tables.items()}
        pending = self.shard.prepare(changes, self.full, asked)
        self.full = False
        return pending


def store_settings(options: SessionOptions) -> StoreSettings:
    """Flink's `state.backend.rocksdb.*` as stores take them."""
    names = {"bzlib2": "bz2", "no": "none"}
    kinds = [c.removesuffix("_COMPRESSION").lower() for c in options.store_compression]
    return StoreSettings(
        options.store_block,
        tuple(names.get(k, k) for k in kinds),
        round(options.store_filter_bits) if options.store_filter else 0,
        options.store_buffer,
        options.store_buffers,
        options.store_file,
        options.store_level,
        options.store_threads,
        open_files=options.store_open,
        statistics=any(name in STORE_STATISTICS for name in options.store_metrics),
    )


def _leave(tables: list[StateTable], shard: StoreShard) -> None:
    """What the shard's store has of them leaves memory, as far as each table is too large."""
    if sum(t.leave(shard.folded) for t in tables):
        faults.point("after-leave")


class TaskStates:
    """Those of all operators of a task. `directory`: the task's own. `storage`: None without checkpoints. `now`:
    seconds, by which state is folded."""

    def __init__(
        self,
        subtask: int,
        options: SessionOptions,
        directory: Path,
        storage: CheckpointStorage | None,
        stores: StoreShare,
        now: Callable[[], float],
        say: Callable[[str], None],
    ) -> None:
        self.subtask, self.options, self.directory, self.storage = subtask, options, directory, storage
        self._now, self._say = now, say
        self._memory = stores.memory
        self._store_directory = stores.places[subtask % len(stores.places)] / directory.name
        self._operators: list[OperatorTables] = []
        self._nodes: list[str] = []
        self._copying = 0.0

    def open(
        self, node_id: str, states: tuple[StateSpec, ...], old: OperatorState | None, cache: Path | None, now: int
    ) -> OperatorTables:
        """The tables of an operator, with what the checkpoint has of it (`old`). `now`: what time it is, µs."""
        made = OperatorTables({s.name: StateTable(s) for s in states})
        place = self.directory / node_id
        if self.storage is not None and states:
            made.shard = self._shard(self.storage, node_id, states)
        self._operators.append(made)  # it is closed, whatever happens from here on
        self._nodes.append(node_id)
        groups = key_group_range(self.subtask, self.options.parallelism)
        if old is not None:
            if made.shard is not None and self.storage is not None:
                restored = restore_task(self.storage, old, states, groups, place / "restore", cache, made.shard, now)
                self._say_lives(old, states)
                made.tables, made.full = restored.tables, restored.full
            met = [t for t in old.tasks if t.key_groups[0] < groups[1] and groups[0] < t.key_groups[1]]
            made.snapshots = [t.snapshot for t in met]
        elif isinstance(made.shard, StoreShard):
            made.shard.attach(made.tables, all_away=False)
        return made

    def _say_lives(self, old: OperatorState, states: tuple[StateSpec, ...]) -> None:
        """That rows now live for a time, or for ever, which they did not before."""
        ours = {s.name: s for s in states}
        changed = [ours[s.name] for s in old.states if relived(s, ours[s.name])]
        if changed and self.subtask == 0:
            how = "live for a time from now on" if any(s.ttl for s in changed) else "live for ever from now on"
            names = ", ".join(s.name for s in changed)
            self._say(
                f"the rows of {old.name} that are there ({names}) {how}: their time to live was set, or taken away"
            )

    def _shard(self, storage: CheckpointStorage, node_id: str, states: tuple[StateSpec, ...]) -> StateShard:
        files, options = self.directory / node_id / "files", self.options
        if options.backend == "hashmap":
            return ArrowShard(storage, files, states, options.incremental)
        folding = Folding(
            options.materialize_interval / 1e6,
            options.changelog,
            options.incremental,
            options.hot_rows,
            self._memory,
            store_settings(options),
            self._say,
            after=trim,
            now=self._now,
        )
        place = self._store_directory / node_id / "store"
        return StoreShard(storage, files, states, place, self._folder, folding)

    @cached_property
    def _folder(self) -> Threads:
        return Threads(1, "fold")

    def copy_some(self, seconds: float) -> None:
        """Between epochs, which have so much time for it in all: copies rows of the last checkpoint that wait for that."""
        self._copying += seconds
        if self._copying < COPYING:
            return
        until, self._copying = walltime.perf_counter() + self._copying, 0.0
        for operator in self._operators:
            for table in operator.tables.values():
                table.copy_some(until)

    def relieve(self) -> None:
        """Between epochs: where a table is nearly full and memory is short, rows leave it."""
        for operator in self._operators:
            shard = operator.shard
            if not isinstance(shard, StoreShard):
                continue
            pressed = [t for t in operator.tables.values() if t.pressed()]
            _leave(pressed, shard)
            # What is left has changed since the last fold. The next one goes on beside epochs while there is room.
            short = [t for t in pressed if t.full()]
            if short and shard.failing:  # what was in the way may be gone
                operator.share(asked=False)
                shard.fold_soon()
            if short and (shard.busy or shard.failing):
                shard.wait()
                _leave(short, shard)
            if pressed and not shard.busy:
                operator.share(asked=False)
                shard.fold_soon()
                if self.options.hot_rows is not None:  # a test wants rows to leave and come back, as many as can
                    shard.wait()
                    _leave(pressed, shard)

    def metrics(self) -> dict[str, StateMetrics]:
        """Of each operator that has state, by node. Between epochs."""
        out = {}
        for node_id, operator in zip(self._nodes, self._operators, strict=True):
            if not operator.tables:
                continue
            m = out[node_id] = StateMetrics({name: t.size for name, t in operator.tables.items()})
            moved = [t.moved for t in operator.tables.values()]
            m.left, m.returned = sum(a for a, _ in moved), sum(b for _, b in moved)
            shard = operator.shard
            if isinstance(shard, StoreShard):
                m.folds, m.fold_seconds = shard.folds, shard.fold_seconds
                m.changelog_bytes, m.store_files, m.store_bytes = shard.sizes()
                m.rocksdb = shard.figures(self.options.store_metrics)
        return out

    def close(self) -> None:
        """Closes the stores; a fold that is at work ends."""
        with ExitStack() as closing:
            if "_folder" in self.__dict__:
                closing.callback(self._folder.close)
            for operator in self._operators:
                if operator.shard is not None:
                    closing.callback(operator.shard.close)
