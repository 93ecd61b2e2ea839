"""Keyed states as a job has them: some tasks, each with its key groups; checkpoints, and restarts at any parallelism."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from sqlstream.keyed_state.descriptors import StateDescriptor
from sqlstream.keyed_state.states import KeyedStates
from sqlstream.keyed_state.timers import TimerService, TimerTable, timers_spec
from sqlstream.state.keys import KEY_GROUPS, key_groups
from sqlstream.state.spec import StateSpec
from sqlstream.state.table import Rows, StateTable

KEY = pa.schema([("k", pa.string())])


class Task:
    """One task's tables, and its views in an epoch over some keys."""

    def __init__(
        self, descriptors: Sequence[StateDescriptor[Any]], utc: bool | None, rows: Callable[[StateTable], None]
    ):
        self.tables: dict[str, StateTable] = {}
        self.rows = rows
        self.states = KeyedStates(descriptors, KEY, self.table)
        self.timers = TimerTable(self.table(timers_spec("timers-", KEY)))
        self.service = TimerService(self.timers, self.states.key, utc)

    def table(self, spec: StateSpec) -> StateTable:
        table = self.tables[spec.name] = StateTable(spec)
        self.rows(table)
        return table


class Tasks:
    """All tasks. `epoch(keys, now)`, then `at(key)` makes its task's views those of the key, then `flush()`."""

    def __init__(self, *descriptors: StateDescriptor[Any], parallelism: int = 1, utc: bool | None = None) -> None:
        self.descriptors, self.utc = descriptors, utc
        self.durable: dict[str, StateTable] = {}
        self.start(parallelism)

    def start(self, parallelism: int) -> None:
        self.groups = [
            range(i * KEY_GROUPS // parallelism, (i + 1) * KEY_GROUPS // parallelism) for i in range(parallelism)
        ]
        self.tasks = [Task(self.descriptors, self.utc, self._loader(g)) for g in self.groups]

    def _loader(self, groups: range) -> Callable[[StateTable], None]:
        def load(table: StateTable) -> None:
            old = self.durable.get(table.spec.name)
            if old is None or not old.size:
                return
            slots = old.slots()
            slots = slots[np.isin(old.key_groups(slots), np.arange(groups.start, groups.stop))]
            if len(slots):
                table.load(Rows(len(slots), old.keys(slots), old.values(slots).columns))

        return load

    def restart(self, parallelism: int) -> None:
        """What changed since the last time is written as deltas, and read by other tasks."""
        for task in self.tasks:
            for name, table in task.tables.items():
                durable = self.durable.setdefault(name, StateTable(replace(table.spec, log=False, ttl=0)))
                changes = table.changes()
                for gone in changes.deleted:
                    durable.delete(durable.find(gone.keys))
                for rows in changes.upserts:
                    if len(rows):
                        durable.load(rows)
        self.start(parallelism)

    def epoch(self, keys: Sequence[str | None], now: int = 0) -> None:
        self.keys: dict[str | None, tuple[Task, int]] = {}
        distinct = list(dict.fromkeys(keys))
        groups = key_groups([pa.array(distinct, pa.string())], len(distinct))
        for task, mine in zip(self.tasks, self.groups, strict=True):
            for table in task.tables.values():
                table.begin(now)
            here = [k for k, g in zip(distinct, groups, strict=True) if g in mine]
            task.states.begin([pa.array(here, pa.string())], len(here))
            self.keys |= {k: (task, i) for i, k in enumerate(here)}

    def at(self, key: str | None) -> Task:
        task, task.states.key.at = self.keys[key]
        return task

    def view(self, key: str | None, name: str) -> Any:
        return self.at(key).states.views[name]

    def flush(self) -> None:
        for task in self.tasks:
            task.states.flush()
            task.service.flush()

    @property
    def rows(self) -> int:
        """Of all states."""
        return sum(t.size for task in self.tasks for t in task.tables.values())
