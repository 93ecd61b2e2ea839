"""A job of one operator, small enough for tests: tables, shards, a coordinator."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa

from sqlstream.checkpoint.arrow_shard import ArrowShard
from sqlstream.checkpoint.coordinator import CheckpointCoordinator
from sqlstream.checkpoint.manifest import Manifest, OperatorState, TaskState
from sqlstream.checkpoint.restore import key_group_range, restore_task, subtask_of
from sqlstream.checkpoint.storage import CheckpointStorage
from sqlstream.state.keys import key_groups
from sqlstream.state.table import StateSpec, StateTable

TOTALS = StateSpec("totals", pa.schema([("user", pa.string())]), pa.schema([("total", pa.int64())]))
SEEN = StateSpec("seen", pa.schema([("id", pa.int64())]), pa.schema([("at", pa.timestamp("us")), ("tag", pa.string())]))
SPECS = (TOTALS, SEEN)


class FakeClock:
    """Seconds, moved by tests."""

    def __init__(self, seconds: float = 1_000_000.0) -> None:
        self.seconds = seconds

    def now(self) -> int:
        return int(self.seconds * 1e6)

    def rows(self, split: int, first: int, count: int) -> np.ndarray:
        return np.full(count, self.now(), np.int64)

    def monotonic(self) -> float:
        return self.seconds


class Job:
    """`tables[task][state]`; `checkpoint` does what the runtime does."""

    def __init__(
        self,
        url: str | Path,
        work: Path,
        parallelism: int = 1,
        job_id: str = "job",
        wrap: Callable[[CheckpointStorage], CheckpointStorage] = lambda s: s,
        **coordinator: object,
    ) -> None:
        self.storage = wrap(CheckpointStorage(url))
        self.parallelism, self.work = parallelism, work
        self.coordinator = CheckpointCoordinator(self.storage, job_id, **coordinator)
        self.shards = [ArrowShard(self.storage, work / f"task-{i}", SPECS) for i in range(parallelism)]
        self.tables = [{s.name: StateTable(s) for s in SPECS} for _ in range(parallelism)]
        self.full = False
        self.skipped: list[str] = []
        self.position = 0

    def restore(self) -> Job:
        found = self.coordinator.latest()
        if found is None:
            return self
        self.skipped = found.skipped
        self.position = found.manifest.sources["scan"]["0"]["position"]
        for i in range(self.parallelism):
            restored = restore_task(
                self.storage,
                found.manifest.operators["1"],
                SPECS,
                key_group_range(i, self.parallelism),
                self.work / f"restore-{i}",
                self.coordinator.cache,
                self.shards[i],
            )
            self.tables[i] = restored.tables
            self.full |= restored.full
        return self

    def add(self, users: list[str], amounts: list[int]) -> None:
        self._each(TOTALS, [pa.array(users)], lambda t, slots, at: self._add(t, slots, np.array(amounts)[at]))
        self.position += len(users)

    def remove(self, users: list[str]) -> None:
        self._each(TOTALS, [pa.array(users)], lambda t, slots, at: t.delete(slots))

    def see(self, ids: list[int]) -> None:
        columns = [pa.array([i * 10 for i in ids], pa.timestamp("us")), pa.array([f"tag {i}" for i in ids])]
        self._each(SEEN, [pa.array(ids)], lambda t, s, at: t.put(s, [c.take(pa.array(at)) for c in columns]))

    def _add(self, table: StateTable, slots: np.ndarray, amounts: np.ndarray) -> None:
        total = table.fixed("total")
        np.add.at(total.data, slots, amounts)
        total.valid[slots] = True
        table.touch(slots)

    def _each(self, spec: StateSpec, keys: list[pa.Array], do: Callable) -> None:
        groups = key_groups(keys, len(keys[0]))
        tasks = np.array([subtask_of(int(g), self.parallelism) for g in groups])
        for i in range(self.parallelism):
            at = np.flatnonzero(tasks == i)
            if len(at):
                table = self.tables[i][spec.name]
                slots, _ = table.upsert([k.take(pa.array(at)) for k in keys])
                do(table, slots, at)

    def pending(self) -> list:
        out = []
        for shard, tables in zip(self.shards, self.tables, strict=True):
            out.append(shard.prepare({n: t.changes(self.full) for n, t in tables.items()}, self.full))
        self.full = False
        return out

    def manifest(self, n: int, files: list) -> Manifest:
        tasks = tuple(
            TaskState(i, key_group_range(i, self.parallelism), f, {"emitted": i}) for i, f in enumerate(files)
        )
        return Manifest(
            "job", "a job", "run-1", n, n, "2026-01-01T00:00:00Z", "f00", "Aggregate\n  Scan", self.parallelism,
            {"1": OperatorState("GroupAggregate", self.shards[0].schemas(), tasks)},
            {"scan": {"0": {"position": self.position, "watermark": 5, "idle": False}}},
        )  # fmt: skip

    def checkpoint(self) -> Manifest:
        attempt = self.coordinator.begin()
        try:
            files = [p.run() for p in self.pending()]
            return self.coordinator.complete(attempt, self.manifest(attempt.checkpoint_id, files))
        except BaseException:
            self.coordinator.abort(attempt)
            raise

    def totals(self) -> dict[str, int]:
        return self._all("totals", lambda row: row["total"])

    def seen(self) -> dict[int, tuple]:
        return self._all("seen", lambda row: (row["at"], row["tag"]))

    def _all(self, name: str, value: Callable) -> dict:
        out: dict = {}
        for tables in self.tables:
            t = tables[name]
            slots = t.slots()
            (keys,) = t.keys(slots)
            assert not out.keys() & set(keys.to_pylist())
            out.update(zip(keys.to_pylist(), map(value, t.values(slots).to_pylist()), strict=True))
        return out
