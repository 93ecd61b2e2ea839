"""State in a store: folded at any time, its rows out of memory at any time, restored on either backend."""

from __future__ import annotations

import contextlib
import random
import shutil
import threading
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from sqlstream.checkpoint.arrow_shard import ArrowShard
from sqlstream.checkpoint.coordinator import CheckpointCoordinator
from sqlstream.checkpoint.manifest import DELTA, STORE, TABLE, Manifest, OperatorState, TaskState
from sqlstream.checkpoint.restore import key_group_range, restore_task, subtask_of
from sqlstream.checkpoint.storage import CheckpointStorage
from sqlstream.checkpoint.store_shard import Folding, StoreShard
from sqlstream.errors import CheckpointError
from sqlstream.state.keys import key_groups
from sqlstream.state.rocks import Store
from sqlstream.state.table import StateSpec, StateTable
from sqlstream.threads import Threads

TOTALS = StateSpec(
    "totals",
    pa.schema([("user", pa.string()), ("x", pa.float64())]),
    pa.schema([("total", pa.int64()), ("tags", pa.list_(pa.string()))]),
    cold=True,
)
SEEN = StateSpec("seen", pa.schema([("id", pa.int64())]), pa.schema([("tag", pa.string())]))
LOG = StateSpec(
    "log", pa.schema([("k", pa.int64()), ("n", pa.int64())]), pa.schema([("v", pa.string())]), 1, log=True, stays=True
)
SPECS = (TOTALS, SEEN, LOG)


class Now:
    """Work is done when it is given."""

    def submit(self, work: Any, *args: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(work(*args))
        except BaseException as e:
            future.set_exception(e)
        return future


class Job:
    """A job of one operator with the three kinds of state; keys by task as the runtime spreads them."""

    def __init__(
        self, url: Any, work: Path, backend: str, parallelism: int = 1, background: Any = None, changelog: bool = True
    ) -> None:
        self.storage, self.parallelism, self.work = CheckpointStorage(url), parallelism, work
        self.coordinator, self.folding = CheckpointCoordinator(self.storage, "job"), Folding(changelog=changelog)
        self.shards: list[Any] = [self._shard(backend, i, background or Now()) for i in range(parallelism)]
        self.tables = [{s.name: StateTable(s) for s in SPECS} for _ in range(parallelism)]
        self.full = [False] * parallelism
        self.numbers = [0] * parallelism
        if backend == "rocksdb":
            for shard, tables in zip(self.shards, self.tables, strict=True):
                shard.attach(tables, all_away=False)

    def _shard(self, backend: str, i: int, background: Any) -> Any:
        place = self.work / f"task-{i}"
        if backend == "hashmap":
            return ArrowShard(self.storage, place / "files", SPECS)
        return StoreShard(self.storage, place / "files", SPECS, place / "store", background, self.folding)

    def restore(self) -> Job:
        found = self.coordinator.latest()
        if found is None:
            return self
        for i in range(self.parallelism):
            groups, place = key_group_range(i, self.parallelism), self.work / f"restore-{i}"
            operator = found.manifest.operators["1"]
            restored = restore_task(self.storage, operator, SPECS, groups, place, None, self.shards[i])
            self.tables[i], self.full[i] = restored.tables, restored.full
            log = self.tables[i]["log"]
            numbers = log.keys(log.slots())[1].to_pylist()
            self.numbers[i] = max(numbers, default=-1) + 1
        return self

    def each(self, keys: list[pa.Array], by: int) -> Any:
        tasks = np.array([subtask_of(int(g), self.parallelism) for g in key_groups(keys[:by], len(keys[0]))])
        for i in np.unique(tasks):
            yield int(i), pa.array(np.flatnonzero(tasks == i))

    def add(self, keys: list[tuple[str, float]]) -> None:
        arrays = [pa.array([k[0] for k in keys]), pa.array([k[1] for k in keys], pa.float64())]
        for i, at in self.each(arrays, 2):
            table = self.tables[i]["totals"]
            with table.held():
                slots, fresh = table.upsert([a.take(at) for a in arrays])
                total = table.fixed("total")
                total.valid[slots] = True
                np.add.at(total.data, slots, 1)
                tags = table.column("tags")
                tags.set(slots[fresh], pa.array([["new"]] * int(fresh.sum()), pa.list_(pa.string())))
                table.touch(slots)

    def remove(self, keys: list[tuple[str, float]]) -> None:
        arrays = [pa.array([k[0] for k in keys], pa.string()), pa.array([k[1] for k in keys], pa.float64())]
        for i, at in self.each(arrays, 2) if keys else ():
            table = self.tables[i]["totals"]
            with table.held():
                table.delete(table.find([a.take(at) for a in arrays]))

    def totals(self, keys: list[tuple[str, float]]) -> dict[tuple[str, float], int]:
        arrays = [pa.array([k[0] for k in keys]), pa.array([k[1] for k in keys], pa.float64())]
        out = {}
        for i, at in self.each(arrays, 2):
            table = self.tables[i]["totals"]
            with table.held():
                slots = table.find([a.take(at) for a in arrays])
            for k, s in zip(at.to_pylist(), slots.tolist(), strict=True):
                if s >= 0:
                    row = table.values(np.array([s])).to_pylist()[0]
                    assert row["tags"] == ["new"]
                    assert str(table.keys(np.array([s]))[1][0].as_py()) == str(keys[k][1])
                    out[keys[k]] = row["total"]
        return out

    def see(self, ids: list[int], gone: list[int]) -> None:
        for i, at in self.each([pa.array(ids)], 1):
            mine, table = pa.array(ids).take(at), self.tables[i]["seen"]
            table.put(table.upsert([mine])[0], [pa.array([f"tag {x}" for x in mine.to_pylist()])])
        for i, at in self.each([pa.array(gone)], 1):
            table = self.tables[i]["seen"]
            table.delete(table.find([pa.array(gone).take(at)]))

    def write(self, ks: list[int]) -> None:
        for i, at in self.each([pa.array(ks)], 1):
            mine, table = pa.array(ks).take(at), self.tables[i]["log"]
            numbers = pa.array(np.arange(self.numbers[i], self.numbers[i] + len(mine)))
            self.numbers[i] += len(mine)
            table.put(table.append([mine, numbers], len(mine)), [pa.array([f"v{x}" for x in mine.to_pylist()])])

    def seen(self) -> set[int]:
        return {x for t in self.tables for x in t["seen"].keys(t["seen"].slots())[0].to_pylist()}

    def log(self) -> list[str]:
        return sorted(x for t in self.tables for x in t["log"].values(t["log"].slots()).column(0).to_pylist())

    def prepare(self, i: int, asked: bool = False) -> Any:
        changes = {n: t.changes(self.full[i]) for n, t in self.tables[i].items()}
        pending = self.shards[i].prepare(changes, self.full[i], asked)
        self.full[i] = False
        return pending

    def checkpoint(self) -> Manifest:
        attempt = self.coordinator.begin()
        tasks = []
        for i in range(self.parallelism):
            files = self.prepare(i, asked=True).run()
            tasks.append(TaskState(i, key_group_range(i, self.parallelism), files))
        operator = OperatorState("GroupAggregate", self.shards[0].schemas(), tuple(tasks))
        return self.coordinator.complete(
            attempt,
            Manifest("job", "a job", "run-1", attempt.checkpoint_id, 1, "2026-01-01T00:00:00Z", "f", "p",
                     self.parallelism, {"1": operator}),
        )  # fmt: skip

    def close(self) -> None:
        for shard in self.shards:
            shard.close()


USERS = [(f"user {i}", float(i % 3) - 0.0 if i % 7 else -0.0) for i in range(60)]


@pytest.mark.parametrize("url", ["{tmp}/cp", "memory://stores"])
def test_random_histories(tmp_path: Path, url: str) -> None:
    seed = random.randrange(10**6)
    print("seed", seed)
    rng = random.Random(seed)
    place = url.format(tmp=tmp_path)
    model: dict[tuple[str, float], int] = {}
    saved: tuple[Any, Any, Any] = ({}, set(), [])
    seen: set[int] = set()
    log: list[str] = []
    for attempt in range(14):
        backend = rng.choice(["rocksdb", "rocksdb", "rocksdb", "hashmap"])
        job = Job(place, tmp_path / f"work-{attempt}", backend, rng.choice([1, 1, 2, 3])).restore()
        model, seen, log = dict(saved[0]), set(saved[1]), list(saved[2])
        if rng.random() < 0.5:
            assert job.totals(USERS) == model
        assert job.seen() == seen and job.log() == sorted(log)
        for _ in range(rng.randrange(1, 9)):
            users = [rng.choice(USERS) for _ in range(rng.randrange(1, 40))]
            job.add(users)
            for u in users:
                model[u] = model.get(u, 0) + 1
            gone = [*{rng.choice(USERS) for _ in range(rng.randrange(10))}]
            job.remove(gone)
            for u in gone:
                model.pop(u, None)
            ids, less = [rng.randrange(200) for _ in range(20)], [rng.randrange(200) for _ in range(5)]
            job.see(ids, less)
            seen = (seen | set(ids)) - set(less)
            ks = [rng.randrange(1000) for _ in range(rng.randrange(1, 30))]
            job.write(ks)
            log += [f"v{k}" for k in ks]
            if rng.random() < 0.5:
                job.checkpoint()
                saved = dict(model), set(seen), list(log)
            for i, shard in enumerate(job.shards):
                if backend == "rocksdb":
                    if rng.random() < 0.5 and not job.full[i]:
                        job.prepare(i)
                        shard.fold_soon()
                    if rng.random() < 0.7:
                        job.tables[i]["totals"].leave(shard.folded, rng.choice([0.0, 0.03, 0.1]))
            if rng.random() < 0.3:
                assert job.totals(USERS) == model
        assert job.totals(USERS) == model
        job.close()


def test_a_checkpoint_is_the_store_and_what_came_since(tmp_path: Path) -> None:
    job = Job(tmp_path / "cp", tmp_path / "work", "rocksdb")
    job.add(USERS)
    first = job.checkpoint()
    assert {f.kind for f in first.files().values()} == {DELTA}
    job.shards[0].fold_soon()
    second = job.checkpoint()
    kinds = [f.kind for f in second.files().values()]
    assert kinds.count(TABLE) == 1 and STORE in kinds and DELTA not in kinds
    before = {f.name for f in job.storage.files()}
    third = job.checkpoint()
    assert third.files() == second.files()
    assert {f.name for f in job.storage.files()} - before == {"chk-3/manifest.json"}
    job.add(USERS[:1])
    fourth = job.checkpoint()
    assert [f.kind for f in fourth.files().values() if f.name not in third.files()] == [DELTA]
    job.close()


def test_nothing_is_read_of_rows_that_are_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = Job(tmp_path / "cp", tmp_path / "work", "rocksdb")
    job.add(USERS)
    job.checkpoint()
    job.shards[0].fold_soon()
    job.checkpoint()
    job.close()
    again = Job(tmp_path / "cp", tmp_path / "work2", "rocksdb").restore()
    table = again.tables[0]["totals"]
    assert table.size == 0
    again.add(USERS[:2])
    assert table.size == 2 and again.totals(USERS[:3]) == {USERS[0]: 2, USERS[1]: 2, USERS[2]: 1}
    again.close()


def test_new_keys_are_not_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of keys that never left memory the filter knows: one in a hundred at most is asked for."""
    job = Job(tmp_path / "cp", tmp_path / "work", "rocksdb")
    job.add(USERS)
    job.prepare(0)
    job.shards[0].fold_soon()
    assert job.tables[0]["totals"].leave(job.shards[0].folded, 0.0) == len(USERS)
    asked = []
    get = job.shards[0].get
    monkeypatch.setattr(job.shards[0], "get", lambda keys: (asked.append(len(keys)), get(keys))[1])
    job.add([(f"new {i}", 1.0) for i in range(10_000)])
    assert sum(asked) < 100
    job.add(USERS)
    assert sum(asked) >= len(USERS) and job.totals(USERS) == dict.fromkeys(USERS, 2)
    job.close()


def test_a_fold_beside_checkpoints(tmp_path: Path) -> None:
    """Folds on a thread, rows out of memory, checkpoints between: what each says is what was there."""
    with Threads(1, "fold") as threads:
        job = Job(tmp_path / "cp", tmp_path / "work", "rocksdb", background=threads)
        rng, model = random.Random(7), dict.fromkeys(USERS, 0)
        for i in range(60):
            users = [rng.choice(USERS) for _ in range(30)]
            job.add(users)
            for u in users:
                model[u] += 1
            if i % 3 == 0:
                job.prepare(0)
                job.shards[0].fold_soon()
            if i % 4 == 0:
                job.checkpoint()
            job.tables[0]["totals"].leave(job.shards[0].folded, 0.0)
        job.shards[0].wait()
        job.checkpoint()
        assert job.totals(USERS) == {u: n for u, n in model.items() if n}
        job.close()
    again = Job(tmp_path / "cp", tmp_path / "work2", "rocksdb").restore()
    assert again.totals(USERS) == {u: n for u, n in model.items() if n}
    again.close()


@pytest.mark.parametrize("damage", ["flip", "cut", "missing"])
@pytest.mark.parametrize("suffix", ["sst", "store", "arrow"])
def test_damage_falls_back(tmp_path: Path, damage: str, suffix: str) -> None:
    job = Job(tmp_path / "cp", tmp_path / "work", "rocksdb")
    job.add(USERS[:5])
    job.checkpoint()
    job.add(USERS[5:9])
    job.shards[0].fold_soon()
    job.checkpoint()
    job.add(USERS[9:10])
    newest = job.checkpoint()
    older = job.coordinator.manifest(2).files()
    job.close()
    for name in newest.files():
        path = tmp_path / "cp" / name
        data = path.read_bytes()
        if not name.endswith(suffix) or (suffix == "arrow") != (name not in older) or not data:
            continue
        if damage == "missing":
            path.unlink()
        else:
            at = len(data) // 2
            changed = data[:-1] if damage == "cut" else data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
            path.unlink()
            path.write_bytes(changed)
    if suffix != "arrow":  # both checkpoints name them
        with pytest.raises(CheckpointError, match="no checkpoint"):
            Job(tmp_path / "cp", tmp_path / "work2", "rocksdb").restore()
        return
    again = Job(tmp_path / "cp", tmp_path / "work2", "rocksdb").restore()
    assert again.totals(USERS) == dict.fromkeys(USERS[:9], 1)
    again.close()


def test_size_is_a_reason_to_fold_when_the_last_one_is_long_ago(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The more there is to fold, the sooner; a fold takes 10 s here."""
    now = [0.0]
    monkeypatch.setattr("sqlstream.checkpoint.store_shard.SMALL", 1)
    job = Job(tmp_path / "cp", tmp_path / "work", "rocksdb")
    shard = job.shards[0]
    monkeypatch.setattr(shard, "folding", replace(shard.folding, now=lambda: now[0]))
    shard._begun = shard._ended = now[0]

    def folds(seconds: float, large: int) -> bool:
        """Whether a checkpoint so long after the last fold has another one follow; what counts as large in bytes."""
        monkeypatch.setattr("sqlstream.checkpoint.store_shard.LARGE", large)
        before, now[0] = shard.folds, shard._ended + seconds
        job.add(USERS)
        job.checkpoint()
        return shard.folds > before

    snapshot = StoreShard._snapshot

    def slow(shard: StoreShard, number: int) -> Any:
        now[0] += 10
        return snapshot(shard, number)

    monkeypatch.setattr(StoreShard, "_snapshot", slow)
    never = 1 << 40
    base = sum(f.size for f in job.checkpoint().files().values())
    assert base == 0 and not folds(19, 1) and folds(21, 1)
    assert not folds(29, 1) and folds(31, 1)
    monkeypatch.setattr("sqlstream.checkpoint.store_shard.SMALL", 1 << 20)
    assert not folds(31, 1 << 20) and not folds(201, never)
    monkeypatch.setattr("sqlstream.checkpoint.store_shard.SMALL", 1)
    shard._base = replace(shard._base, files=tuple(replace(f, size=never) for f in shard._base.files))
    assert not folds(199, never) and folds(201, never)
    job.close()


def test_without_checkpoints_old_changes_go(tmp_path: Path) -> None:
    """A job whose memory is short may fold often between two checkpoints."""
    job = Job(tmp_path / "cp", tmp_path / "work", "rocksdb")
    counts = []
    for i in range(30):
        job.add([USERS[i], USERS[0]])
        job.prepare(0)
        job.shards[0].fold_soon()
        job.tables[0]["totals"].leave(job.shards[0].folded, 0.0)
        counts.append(len(list((tmp_path / "work/task-0/files").glob("*.arrow"))))
    assert max(counts[20:]) <= max(counts[:10]), counts  # of tables there are as many as compaction has left yet
    manifest = job.checkpoint()
    assert not any(f.kind == DELTA for f in manifest.files().values())
    job.close()
    again = Job(tmp_path / "cp", tmp_path / "work2", "rocksdb").restore()
    assert again.totals(USERS) == {USERS[i]: 31 if i == 0 else 1 for i in range(30)}
    again.close()


def test_a_checkpoint_from_before_a_fold(tmp_path: Path) -> None:
    """Its share was prepared, then more came and was folded: it names what was there at its barrier."""
    job = Job(tmp_path / "cp", tmp_path / "work", "rocksdb")
    job.add(USERS[:3])
    attempt = job.coordinator.begin()
    pending = job.prepare(0, asked=True)
    job.add(USERS[2:9])
    job.prepare(0)
    job.shards[0].fold_soon()
    task = TaskState(0, key_group_range(0, 1), pending.run())
    operator = OperatorState("GroupAggregate", job.shards[0].schemas(), (task,))
    job.coordinator.complete(
        attempt, Manifest("job", "a job", "run-1", 1, 1, "2026-01-01T00:00:00Z", "f", "p", 1, {"1": operator})
    )
    again = Job(tmp_path / "cp", tmp_path / "work2", "rocksdb").restore()
    assert again.totals(USERS) == dict.fromkeys(USERS[:3], 1)
    again.close()
    job.checkpoint()
    job.close()
    again = Job(tmp_path / "cp", tmp_path / "work3", "rocksdb").restore()
    assert again.totals(USERS) == {u: 2 if i == 2 else 1 for i, u in enumerate(USERS[:9])}
    again.close()


def test_a_store_that_is_gone_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    """After a write that failed the store is opened anew: when its files are gone that is an error, not a new store."""
    job = Job(tmp_path / "cp", tmp_path / "work", "rocksdb")
    shard = job.shards[0]
    job.add(USERS)
    job.prepare(0)
    shard.fold_soon()
    assert job.tables[0]["totals"].leave(shard.folded, 0.0) == len(USERS)
    shutil.rmtree(shard.place)
    job.add(USERS[:1])
    job.prepare(0)
    shard.fold_soon()
    with pytest.raises(CheckpointError):
        shard.wait()
    with pytest.raises(CheckpointError, match=r"store"):
        job.totals(USERS)
        shard.store().flush()
    with contextlib.suppress(CheckpointError):  # what RocksDB still had open could be read
        assert job.totals(USERS) == {u: 1 + (u == USERS[0]) for u in USERS}
    assert not shard.place.exists() or not list(shard.place.glob("*.sst"))
    job.close()


def test_damage_of_the_working_store_is_an_error(tmp_path: Path) -> None:
    """Never another row, and never none."""
    job = Job(tmp_path / "cp", tmp_path / "work", "rocksdb")
    shard = job.shards[0]
    job.add(USERS)
    job.prepare(0)
    shard.fold_soon()
    assert job.tables[0]["totals"].leave(shard.folded, 0.0) == len(USERS)
    for table in shard.place.glob("*.sst"):
        data = bytearray(table.read_bytes())
        for at in range(0, len(data), 100):
            data[at] ^= 255
        with table.open("r+b") as file:  # RocksDB has it open
            file.write(data)
    with pytest.raises(CheckpointError, match="Corruption") as e:
        job.totals(USERS)
    assert str(shard.place) in e.value.message and "start from a checkpoint" in str(e.value.hint)
    job.close()


def test_a_log_is_folded_once_however_often_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of rows that stay were written, and the fold failed behind that: they are written again in their place."""
    job = Job(tmp_path / "cp", tmp_path / "work", "rocksdb")
    real, fails = Store.snapshot, 3

    def snapshot(store: Store, place: Path) -> list[Path]:
        nonlocal fails
        fails -= 1
        if fails >= 0:
            raise CheckpointError("no room")
        return real(store, place)

    monkeypatch.setattr(Store, "snapshot", snapshot)
    for k in range(4):
        job.write([k, k])
        job.prepare(0)
        job.shards[0].fold_soon()
    assert job.shards[0].folds == 1
    job.checkpoint()
    job.close()
    again = Job(tmp_path / "cp", tmp_path / "again", "rocksdb").restore()
    assert again.log() == [f"v{k}" for k in range(4) for _ in range(2)]
    again.close()


def test_only_what_a_store_cannot_be_opened_without_is_kept(tmp_path: Path) -> None:
    """No file that is the same in all checkpoints: its damage would be that of all of them."""
    job = Job(tmp_path / "cp", tmp_path / "work", "rocksdb")
    named = []
    for _ in range(2):
        job.add(USERS[:9])
        job.prepare(0)
        job.shards[0].fold_soon()
        named.append({f.path: f for f in job.checkpoint().files().values() if f.in_store})
    job.close()
    assert {p.split("-")[0] for p in named[1] if not p.endswith(".sst")} == {"MANIFEST"}
    assert not {f.name for f in named[0].values() if f.kind == STORE} & {f.name for f in named[1].values()}


def test_epochs_do_not_wait_for_an_upload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows come back while a checkpoint is being written."""
    job = Job(tmp_path / "cp", tmp_path / "work", "rocksdb")
    job.add(USERS)
    job.prepare(0)
    job.shards[0].fold_soon()
    job.tables[0]["totals"].leave(job.shards[0].folded, 0.0)
    uploading, over = threading.Event(), threading.Event()

    def put_file(*given: Any) -> None:
        uploading.set()
        assert over.wait(60)

    monkeypatch.setattr(CheckpointStorage, "put_file", put_file)
    job.see([1], [])
    pending = job.prepare(0)
    with Threads(1, "checkpoint") as thread:
        written = thread.submit(pending.run)
        assert uploading.wait(60)
        assert job.totals(USERS) == dict.fromkeys(USERS, 1)
        over.set()
        written.result(60)
    job.close()


def test_one_fold_after_the_other_and_never_back(tmp_path: Path) -> None:
    """With a checkpoint that folds itself, and folds for want of memory beside it."""
    with Threads(2, "fold") as threads:
        job = Job(tmp_path / "cp", tmp_path / "work", "rocksdb", background=threads, changelog=False)
        folded = -1
        for i in range(40):
            job.add(USERS)
            job.prepare(0)
            job.shards[0].fold_soon()
            job.checkpoint()
            assert job.shards[0].folded > folded
            folded = job.shards[0].folded
            job.tables[0]["totals"].leave(folded, 0.0)
            assert job.totals(USERS) == dict.fromkeys(USERS, i + 1)
        job.close()


def test_graves_are_forgotten_when_their_keys_have_left_the_store(tmp_path: Path) -> None:
    job = Job(tmp_path / "cp", tmp_path / "work", "rocksdb")
    job.add(USERS)
    job.prepare(0)
    job.shards[0].fold_soon()
    job.checkpoint()
    job.close()
    again = Job(tmp_path / "cp", tmp_path / "again", "rocksdb").restore()
    hot = again.tables[0]["totals"]._hot
    assert hot is not None
    for u in USERS[:-1]:
        again.remove([u])
        assert u not in again.totals([u, USERS[-1]])
        again.prepare(0)
        again.shards[0].fold_soon()
        assert hot.cold._graves._index.index.size <= 1
    again.close()
