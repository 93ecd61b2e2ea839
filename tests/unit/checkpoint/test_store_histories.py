"""Random histories of a job whose state lies in stores: folds and checkpoints on threads of their own, rows that leave
memory, come back, go, are made again and whose time is over; failures of every call that can fail, damage, other
parallelisms and backends. Against a dict."""

from __future__ import annotations

import math
import random
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from harness.seed import random_of, said

from sqlstream import faults
from sqlstream.checkpoint import writer
from sqlstream.checkpoint.arrow_shard import ArrowShard
from sqlstream.checkpoint.coordinator import Attempt, CheckpointCoordinator
from sqlstream.checkpoint.manifest import Manifest, OperatorState, TaskState
from sqlstream.checkpoint.restore import key_group_range, restore_task, subtask_of
from sqlstream.checkpoint.storage import CheckpointStorage
from sqlstream.checkpoint.store_shard import Folding, StoreShard
from sqlstream.errors import CheckpointError
from sqlstream.state import waiting
from sqlstream.state.keys import key_groups
from sqlstream.state.rocks import Store
from sqlstream.state.table import StateSpec, StateTable
from sqlstream.threads import Threads

TOTALS = StateSpec(
    "totals",
    pa.schema([("user", pa.string()), ("x", pa.float64())]),
    pa.schema([("total", pa.int64()), ("tag", pa.string())]),
    cold=True,
)
PLAIN = StateSpec("plain", pa.schema([("id", pa.int64())]), pa.schema([("n", pa.int64())]))
LOG = StateSpec(
    "log", pa.schema([("k", pa.int64()), ("n", pa.int64())]), pa.schema([("v", pa.string())]), 1, log=True, stays=True
)
GOING = StateSpec(
    "going", pa.schema([("k", pa.int64()), ("n", pa.int64())]), pa.schema([("v", pa.int64())]), 1, log=True
)

Key = tuple[str | None, float | None]
USERS: list[Key] = [(f"user {i}", float(i)) for i in range(80)]
USERS += [("z", 0.0), ("z", -0.0), ("z", math.nan), (None, 1.0), ("z", None), (None, None), ("", -0.0), ("z", math.inf)]


def identity(key: Key) -> str:
    """Equal of equal keys: -0.0 is 0.0."""
    return repr((key[0], key[1] + 0.0 if key[1] == 0 else key[1]))


@dataclass
class Model:
    """What there is. `totals`: by identity the count, the key as it first came, and when it was written last."""

    totals: dict[str, tuple[int, str, int]] = field(default_factory=dict)
    plain: dict[int, int] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    going: set[tuple[int, int]] = field(default_factory=set)

    def copy(self) -> Model:
        return Model(dict(self.totals), dict(self.plain), list(self.log), set(self.going))


class Failures:
    """Calls that fail at random, as they would: `rate` of them, while `on`."""

    def __init__(self, rng: random.Random, patch: pytest.MonkeyPatch) -> None:
        self.rng, self.rate, self.count = rng, 0.0, 0
        self._raising(patch, Store, "_get", RuntimeError("Corruption: block checksum mismatch"), 0.1)
        self._raising(patch, Store, "snapshot", CheckpointError("cannot make snapshot"))
        self._raising(patch, Store, "flush", CheckpointError("cannot flush"))
        self._raising(patch, writer, "write_file", CheckpointError("cannot write state file"))
        self._raising(patch, CheckpointStorage, "put_file", CheckpointError("cannot write"))
        self._raising(patch, CheckpointStorage, "put", CheckpointError("cannot write"))
        put_file, write = CheckpointStorage.put_file, Store._write

        def short(storage: CheckpointStorage, name: str, local: Path) -> None:
            """A store that says that all is well, and has half of the file."""
            if not self.fails(0.1):
                return put_file(storage, name, local)
            storage.put(name, local.read_bytes()[: local.stat().st_size // 2])

        def broken(store: Store, *args: Any) -> None:
            with store._writing():  # after it there are only reads
                if self.fails():
                    raise RuntimeError("IO error: No space left on device: 000007.sst")
            write(store, *args)

        patch.setattr(CheckpointStorage, "put_file", short)
        patch.setattr(Store, "_write", broken)
        patch.setattr(faults, "point", lambda name: time.sleep(rng.choice([0, 0, 0.001, 0.004])))
        patch.setattr(waiting, "SLOTS_AT_ONCE", 8)  # epochs go on while rows wait to be copied

    def fails(self, share: float = 1.0) -> bool:
        failing = self.rng.random() < self.rate * share
        self.count += failing
        return failing

    def _raising(self, patch: pytest.MonkeyPatch, where: Any, name: str, error: Exception, share: float = 1.0) -> None:
        real = getattr(where, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            if self.fails(share):
                raise error
            return real(*args, **kwargs)

        patch.setattr(where, name, call)


class Life:
    """One process of the job, from the newest good checkpoint on."""

    def __init__(self, place: Path, number: int, rng: random.Random, ttl: int, models: dict[int, Model], now: int):
        self.rng, self.ttl, self.models, self.now = rng, ttl, models, now
        self.specs = (TOTALS.living(ttl), PLAIN, LOG, GOING)
        self.backend = rng.choice(["rocksdb", "rocksdb", "rocksdb", "hashmap"])
        self.parallelism = rng.choice([1, 1, 1, 2, 3])
        self.work = place / f"work-{number}"
        self.storage = CheckpointStorage(str(place / "cp"))
        self.coordinator = CheckpointCoordinator(self.storage, "job", retained=3)
        self.threads, self.background = Threads(1, "fold"), Threads(1, "checkpoint")
        self.folding = Folding(
            rng.choice([0.0, 0.001, 600.0]), rng.random() < 0.7, rng.random() < 0.7, now=time.monotonic, hot_rows=None
        )
        self.shards: list[Any] = [self._shard(i) for i in range(self.parallelism)]
        self.tables = [{s.name: StateTable(s) for s in self.specs} for _ in range(self.parallelism)]
        self.full, self.numbers = [False] * self.parallelism, [0] * self.parallelism
        self.writing: tuple[Attempt, Future[Any], Model] | None = None
        self.model = Model()

    def _shard(self, i: int) -> Any:
        place = self.work / f"task-{i}"
        if self.backend == "hashmap":
            return ArrowShard(self.storage, place / "files", self.specs)
        return StoreShard(self.storage, place / "files", self.specs, place / "store", self.threads, self.folding)

    def restore(self) -> None:
        found = self.coordinator.latest()
        if found is not None:
            self.model = self.models[found.manifest.checkpoint_id].copy()
        for i, shard in enumerate(self.shards):
            if found is None:
                if isinstance(shard, StoreShard):
                    shard.attach(self.tables[i], all_away=False)
                continue
            restored = restore_task(
                self.storage, found.manifest.operators["1"], self.specs, key_group_range(i, self.parallelism),
                self.work / f"restore-{i}", None, shard,
            )  # fmt: skip
            self.tables[i], self.full[i] = restored.tables, restored.full
        for i, tables in enumerate(self.tables):
            of_log = [tables[name].keys(tables[name].slots())[1].to_pylist() for name in ("log", "going")]
            self.numbers[i] = max([n for numbers in of_log for n in numbers], default=-1) + 1
        # Numbers are unique in a task only: those of a task that took over others' rows begin beyond all.
        self.numbers = [max(self.numbers)] * self.parallelism

    def close(self) -> None:
        self.background.close()
        for shard in self.shards:
            shard.close()
        self.threads.close()
        shutil.rmtree(self.work, ignore_errors=True)

    # ---- what an epoch does

    def each(self, keys: list[pa.Array], by: int) -> Iterator[tuple[int, pa.Array]]:
        tasks = np.array([subtask_of(int(g), self.parallelism) for g in key_groups(keys[:by], len(keys[0]))])
        for i in np.unique(tasks):
            yield int(i), pa.array(np.flatnonzero(tasks == i))

    def begin(self) -> None:
        self.now += self.rng.choice(
            [0, 1, 1, self.ttl // 20, self.ttl // 5, self.ttl if self.rng.random() < 0.05 else 0]
        )
        for tables in self.tables:
            for t in tables.values():
                t.begin(self.now)
            with tables["totals"].held():
                tables["totals"].expire()
        if self.ttl:
            self.model.totals = {k: r for k, r in self.model.totals.items() if r[2] > self.now - self.ttl}

    def add(self, users: list[Key]) -> None:
        arrays = arrays_of(users)
        for i, at in self.each(arrays, 2):
            table = self.tables[i]["totals"]
            with table.held():
                slots, fresh = table.upsert([a.take(at) for a in arrays])
                total = table.fixed("total")
                total.valid[slots] = True
                np.add.at(total.data, slots, 1)
                table.column("tag").set(slots[fresh], pa.array(["new"] * int(fresh.sum()), pa.string()))
                table.touch(slots)
        for u in users:
            count, first, _ = self.model.totals.get(identity(u), (0, repr(u), 0))
            self.model.totals[identity(u)] = count + 1, first, self.now

    def remove(self, users: list[Key]) -> None:
        arrays = arrays_of(users)
        for i, at in self.each(arrays, 2) if users else ():
            table = self.tables[i]["totals"]
            with table.held():
                table.delete(table.find([a.take(at) for a in arrays]))
        for u in users:
            self.model.totals.pop(identity(u), None)

    def others(self) -> None:
        rng = self.rng
        ids, gone = [rng.randrange(100) for _ in range(9)], [rng.randrange(100) for _ in range(4)]
        for i, at in self.each([pa.array(ids)], 1):
            table, mine = self.tables[i]["plain"], pa.array(ids).take(at)
            slots = table.upsert([mine])[0]
            n = table.fixed("n")
            n.valid[slots] = True
            np.add.at(n.data, slots, 1)
            table.touch(slots)
        for i, at in self.each([pa.array(gone)], 1):
            table = self.tables[i]["plain"]
            table.delete(table.find([pa.array(gone).take(at)]))
        for x in ids:
            self.model.plain[x] = self.model.plain.get(x, 0) + 1
        for x in gone:
            self.model.plain.pop(x, None)
        ks = [rng.randrange(1000) for _ in range(rng.randrange(1, 12))]
        for i, at in self.each([pa.array(ks)], 1):
            mine = pa.array(ks).take(at)
            numbers = np.arange(self.numbers[i], self.numbers[i] + len(mine))
            self.numbers[i] += len(mine)
            for name, values in (("log", pa.array([f"v{k}" for k in mine.to_pylist()])), ("going", mine)):
                table = self.tables[i][name]
                table.put(table.append([mine, pa.array(numbers)], len(mine)), [values])
            self.model.log += [f"v{k}/{n}" for k, n in zip(mine.to_pylist(), numbers.tolist(), strict=True)]
            self.model.going |= set(zip(mine.to_pylist(), numbers.tolist(), strict=True))
        for tables in self.tables:
            table = tables["going"]
            slots = table.slots()
            slots = slots[np.array([rng.random() < 0.2 for _ in slots], np.bool_)]
            self.model.going -= set(zip(*(c.to_pylist() for c in table.keys(slots)), strict=True))
            table.delete(slots)

    # ---- checkpoints and folds

    def share(self, i: int, asked: bool = True) -> Any:
        changes = {n: t.changes(self.full[i]) for n, t in self.tables[i].items()}
        pending = self.shards[i].prepare(changes, self.full[i], asked)
        self.full[i] = False
        return pending

    def checkpoint(self) -> None:
        attempt = self.coordinator.begin()
        shares = [self.share(i) for i in range(self.parallelism)]
        self.writing = attempt, self.background.submit(self._write, attempt, shares), self.model.copy()

    def _write(self, attempt: Attempt, shares: list[Any]) -> Manifest:
        tasks = []
        for i, pending in enumerate(shares):
            files = pending.run()
            attempt.protected.update(f.name for f in files)
            tasks.append(TaskState(i, key_group_range(i, self.parallelism), files))
        operator = OperatorState("Totals", self.shards[0].schemas(), tuple(tasks))
        n = attempt.checkpoint_id
        made = Manifest(
            "job", "a job", "run", n, 1, "2026-01-01T00:00:00Z", "f", "p", self.parallelism, {"1": operator}
        )
        return self.coordinator.complete(attempt, made)

    def collect(self, wait: bool) -> None:
        if self.writing is None or not (wait or self.writing[1].done()):
            return
        attempt, future, model = self.writing
        self.writing = None
        self.models[attempt.checkpoint_id] = model
        try:
            future.result()
        except CheckpointError:
            self.coordinator.abort(attempt)

    def leave(self) -> None:
        for i, shard in enumerate(self.shards):
            if isinstance(shard, StoreShard):
                if self.rng.random() < 0.3 and not shard.busy:
                    self.share(i, asked=False)
                    shard.fold_soon()
                if self.rng.random() < 0.1:
                    shard.wait()
                if self.rng.random() < 0.7:
                    self.tables[i]["totals"].leave(shard.folded, self.rng.choice([0.0, 0.05, 0.15]))

    # ---- what it must be

    def check(self) -> None:
        assert self.totals() == {k: r[:2] for k, r in self.model.totals.items()}
        plain: dict[int, int] = {}
        log: list[str] = []
        going: list[tuple[int, int]] = []
        for t in self.tables:
            slots = t["plain"].slots()
            plain |= dict(
                zip(t["plain"].keys(slots)[0].to_pylist(), t["plain"].fixed("n").data[slots].tolist(), strict=True)
            )
            slots = t["log"].slots()
            rows = zip(t["log"].values(slots)[0].to_pylist(), t["log"].keys(slots)[1].to_pylist(), strict=True)
            log += [f"{v}/{n}" for v, n in rows]
            going += zip(*(c.to_pylist() for c in t["going"].keys(t["going"].slots())), strict=True)
        assert plain == self.model.plain
        assert sorted(log) == sorted(self.model.log)
        assert sorted(going) == sorted(self.model.going)

    def totals(self) -> dict[str, tuple[int, str]]:
        users = list({identity(u): u for u in USERS}.values())
        arrays, out = arrays_of(users), {}
        for i, at in self.each(arrays, 2):
            table = self.tables[i]["totals"]
            with table.held():
                slots = table.find([a.take(at) for a in arrays])
            there = slots >= 0
            rows = table.values(slots[there]).to_pylist()
            keys = zip(*(c.to_pylist() for c in table.keys(slots[there])), strict=True)
            for k, row, key in zip(np.asarray(at)[there].tolist(), rows, keys, strict=True):
                assert row["tag"] == "new"
                out[identity(users[k])] = row["total"], repr(key)
        return out


def arrays_of(users: list[Key]) -> list[pa.Array]:
    return [pa.array([u[0] for u in users], pa.string()), pa.array([u[1] for u in users], pa.float64())]


def damage(rng: random.Random, place: Path) -> bool:
    """Flips, cuts or deletes one file of the checkpoints."""
    files = [p for p in (place / "cp" / "shared").glob("*") if p.stat().st_size]
    if not files:
        return False
    path = rng.choice(files)
    data = bytearray(path.read_bytes())
    path.unlink()
    kind = rng.randrange(3)
    if kind == 0:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif kind == 1:
        del data[rng.randrange(len(data)) :]
    if kind < 2:
        path.write_bytes(data)
    return True


@pytest.mark.parametrize("ttl", [0, 2000])
@pytest.mark.parametrize("rate", [0.0, 0.02, 0.15])
def test_any_history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rate: float, ttl: int) -> None:
    rng = random_of("histories", rate, ttl)
    histories(tmp_path, monkeypatch, rng, rate, ttl, most=3)


def histories(place: Path, patch: pytest.MonkeyPatch, rng: random.Random, rate: float, ttl: int, most: int) -> None:
    failures = Failures(rng, patch)
    models: dict[int, Model] = {}
    now, lives, damaged = 10**6, 0, False
    while lives < most:
        lives += 1
        failures.rate = 0.0
        life = Life(place, lives, rng, ttl, models, now)
        try:
            life.restore()
        except CheckpointError as e:
            assert "no checkpoint" in e.message and (damaged or rate), said(str(e))
            life.close()
            shutil.rmtree(place / "cp")
            damaged = False
            models.clear()
            continue
        failures.rate = rate
        try:
            for _ in range(rng.randrange(1, 40)):
                life.begin()
                life.add([rng.choice(USERS) for _ in range(rng.randrange(1, 30))])
                life.remove([*{identity(u): u for u in (rng.choice(USERS) for _ in range(rng.randrange(8)))}.values()])
                life.others()
                life.collect(wait=rng.random() < 0.3)
                if life.writing is None and rng.random() < 0.4:
                    life.checkpoint()
                life.leave()
                if rng.random() < 0.2:
                    life.check()
        except CheckpointError:
            pass  # the job has failed
        except AssertionError as e:
            raise AssertionError(
                said(f"life {lives}, {life.backend}, {life.parallelism} tasks, {life.folding}: {e}")
            ) from e
        failures.rate = 0.0
        now = life.now
        life.collect(wait=True)
        life.close()
        if rng.random() < 0.1:
            damaged |= damage(rng, place)
    print(lives, "lives,", failures.count, "failures")
