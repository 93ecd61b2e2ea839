"""What was checkpointed comes back: after restarts, damage, failures, and at another parallelism."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from sqlstream.checkpoint.arrow_shard import ArrowShard
from sqlstream.checkpoint.manifest import BASE, DELTA
from sqlstream.checkpoint.restore import key_group_range, restore_task, subtask_of
from sqlstream.checkpoint.storage import CheckpointStorage
from sqlstream.errors import CheckpointError, InternalError
from sqlstream.state.keys import KEY_GROUPS
from sqlstream.state.table import StateSpec, StateTable

from .jobs import SPECS, Job


def names(storage: CheckpointStorage) -> set[str]:
    return {f.name for f in storage.files()}


def test_unchanged_state_uploads_only_the_manifest(tmp_path: Path) -> None:
    job = Job(tmp_path / "cp", tmp_path / "work")
    job.add(["a", "b"], [1, 2])
    first = job.checkpoint()
    before = names(job.storage)
    second = job.checkpoint()
    assert names(job.storage) - before == {"chk-2/manifest.json"}
    assert second.files() == first.files() != {}
    assert (second.previous, second.checkpoint_id) == (1, 2)


def test_empty_state(tmp_path: Path) -> None:
    job = Job(tmp_path / "cp", tmp_path / "work")
    job.checkpoint()
    assert names(job.storage) == {"chk-1/manifest.json"}
    assert Job(tmp_path / "cp", tmp_path / "work2").restore().totals() == {}


@pytest.mark.parametrize("url", ["{tmp}/cp", "memory://recovery"])
def test_random_histories_at_random_parallelism(tmp_path: Path, url: str) -> None:
    seed = random.randrange(10**6)
    print("seed", seed)
    rng = random.Random(seed)
    place = url.format(tmp=tmp_path)
    model: dict[str, int] = {}
    seen: dict[int, tuple] = {}
    for attempt in range(12):
        work = tmp_path / f"work-{attempt}"
        job = Job(place, work, rng.choice([1, 1, 2, 3, 7]), cache=tmp_path / "cache").restore()
        assert job.totals() == model and {k: v[1] for k, v in job.seen().items()} == seen
        for _ in range(rng.randrange(1, 4)):
            for _ in range(rng.randrange(4)):
                users = [f"user {rng.randrange(60)}" for _ in range(rng.randrange(1, 40))]
                job.add(users, [1] * len(users))
                for u in users:
                    model[u] = model.get(u, 0) + 1
                gone = list({f"user {rng.randrange(60)}" for _ in range(rng.randrange(10))})
                job.remove(gone)
                for u in gone:
                    model.pop(u, None)
                ids = [rng.randrange(1000) for _ in range(20)]
                job.see(ids)
                seen.update({i: f"tag {i}" for i in ids})
            job.checkpoint()
        if rng.random() < 0.5:  # what is not in a checkpoint is lost
            job.add(["lost"], [1])
    assert Job(place, tmp_path / "end", 5).restore().totals() == model
    CheckpointStorage(place).delete(names(CheckpointStorage(place)))


def test_one_percent_is_a_small_upload(tmp_path: Path) -> None:
    n = 1_000_000
    spec = StateSpec("s", pa.schema([("k", pa.int64())]), pa.schema([("v", pa.int64()), ("w", pa.float64())]))
    table = StateTable(spec)
    slots, _ = table.upsert([pa.array(np.arange(n))])
    rng = np.random.default_rng(1)
    table.put(slots, [pa.array(rng.integers(0, 2**60, n)), pa.array(rng.random(n))])
    storage = CheckpointStorage(tmp_path / "cp")
    shard = ArrowShard(storage, tmp_path / "work", (spec,))
    full = shard.prepare({"s": table.changes()}).run()
    some = rng.choice(n, n // 100, replace=False)
    table.fixed("v").data[some] += 1
    table.touch(some)
    base, delta = shard.prepare({"s": table.changes()}).run()
    assert (base,) == full and base.rows == n and delta.rows == n // 100
    assert delta.size < base.size / 10
    print("base", base.size, "delta", delta.size)


def test_outgrown_deltas_become_a_base(tmp_path: Path) -> None:
    job = Job(tmp_path / "cp", tmp_path / "work")
    text = random.Random(1)
    kinds = []
    for i in range(12):
        job.add([str(text.randrange(3000)) for _ in range(1500)], [i] * 1500)
        job.remove(list(job.totals())[:200])
        kinds.append([f.kind for f in job.checkpoint().files().values()])
    assert [BASE] in kinds and any(k[0] == BASE and DELTA in k for k in kinds)
    assert len(kinds[-1]) < 12 and len(list((tmp_path / "work/task-0").iterdir())) == len(kinds[-1])
    again = Job(tmp_path / "cp", tmp_path / "work2").restore()
    assert again.totals() == job.totals()
    manifest = job.checkpoint()
    if set(kinds[-1]) == {BASE}:  # tombstones are dropped
        assert sum(f.rows for f in manifest.files().values()) == len(job.totals())


def test_a_damaged_chain_is_not_merged(tmp_path: Path) -> None:
    """The new base would have a good hash, and rows that nobody wrote."""
    job = Job(tmp_path / "cp", tmp_path / "work")
    with pytest.raises(CheckpointError, match="is damaged"):
        for i in range(12):
            job.add([f"{n}-{i % 2}" for n in range(5000)], [i] * 5000)
            job.checkpoint()
            damaged = next((tmp_path / "work/task-0").iterdir())
            content = bytearray(damaged.read_bytes())
            content[len(content) // 2] ^= 1
            damaged.unlink()  # the stored file has this as its second name
            damaged.write_bytes(content)


def test_state_that_only_grows_is_not_written_twice(tmp_path: Path) -> None:
    job = Job(tmp_path / "cp", tmp_path / "work")
    for i in range(8):
        job.add([f"{i}-{n}" for n in range(5000)], [i] * 5000)
        files = job.checkpoint().files().values()
    assert [f.kind for f in files] == [BASE] + [DELTA] * 7 and sum(f.rows for f in files) == 8 * 5000


def test_the_chain_goes_on_after_a_restart(tmp_path: Path) -> None:
    job = Job(tmp_path / "cp", tmp_path / "work", 2)
    job.add([f"u{i}" for i in range(1000)], [1] * 1000)
    first = job.checkpoint()
    again = Job(tmp_path / "cp", tmp_path / "work2", 2).restore()
    assert again.position == 1000
    before = names(again.storage)
    again.add(["u1"], [1])
    second = again.checkpoint()
    assert first.files().keys() < second.files().keys() and len(names(again.storage) - before) == 2
    third = Job(tmp_path / "cp", tmp_path / "work3", 3).restore()
    assert third.full and third.totals() == again.totals()
    fourth = third.checkpoint()
    assert not fourth.files().keys() & second.files().keys()
    assert {f.kind for f in fourth.files().values()} == {BASE}


@pytest.mark.parametrize("damage", ["flip", "cut", "missing", "manifest", "no manifest"])
def test_damage_falls_back(tmp_path: Path, damage: str) -> None:
    job = Job(tmp_path / "cp", tmp_path / "work")
    job.add(["a"], [1])
    job.checkpoint()
    job.add(["b"], [2])
    second = job.checkpoint()
    newest = tmp_path / "cp" / list(second.files())[-1]
    newest_manifest = tmp_path / "cp/chk-2/manifest.json"
    data = newest.read_bytes()
    if damage == "flip":
        newest.write_bytes(data[:50] + bytes([data[50] ^ 1]) + data[51:])
    elif damage == "cut":
        newest.write_bytes(data[:-1])
    elif damage == "missing":
        newest.unlink()
    elif damage == "manifest":
        newest_manifest.write_text(newest_manifest.read_text()[:-20])
    else:
        newest_manifest.unlink()
    again = Job(tmp_path / "cp", tmp_path / "work2").restore()
    assert again.totals() == {"a": 1} and again.position == 1
    assert len(again.skipped) == (damage != "no manifest")
    if again.skipped:
        reason = {"flip": "damaged", "cut": "bytes instead of", "missing": "missing", "manifest": "not a checkpoint"}
        assert "checkpoint 2" in again.skipped[0] and reason[damage] in again.skipped[0]
    again.add(["c"], [3])
    third = again.checkpoint()
    assert third.previous == 1 and third.checkpoint_id == (2 if damage == "no manifest" else 3)
    assert 1 in again.coordinator.checkpoints()  # the damaged one does not count as kept
    last = Job(tmp_path / "cp", tmp_path / "work3").restore()
    assert last.totals() == {"a": 1, "c": 3} and last.skipped == []


def test_everything_damaged(tmp_path: Path) -> None:
    job = Job(tmp_path / "cp", tmp_path / "work")
    job.add(["a"], [1])
    for _ in range(2):
        job.checkpoint()
    (file,) = (tmp_path / "cp/shared").iterdir()
    file.unlink()
    with pytest.raises(CheckpointError, match=r"(?s)no checkpoint.*checkpoint 2 .*missing.*checkpoint 1 .*missing"):
        Job(tmp_path / "cp", tmp_path / "work2").restore()


@pytest.mark.parametrize("remote", [False, True])
def test_damage_between_verifying_and_restoring(tmp_path: Path, remote: bool) -> None:
    place = "memory://between" if remote else str(tmp_path / "cp")
    job = Job(place, tmp_path / "work")
    job.add(["a"], [1])
    manifest = job.checkpoint()
    (name,) = manifest.files()
    data = job.storage.read(name)
    job.storage.put(name, data[:-1] + b"?")
    with pytest.raises(CheckpointError, match="damaged"):
        restore_task(job.storage, manifest.operators["1"], SPECS, (0, KEY_GROUPS), tmp_path / "r")


def test_killed_between_upload_and_manifest(tmp_path: Path) -> None:
    job = Job(tmp_path / "cp", tmp_path / "work")
    job.add(["a"], [1])
    job.checkpoint()
    script = f"""
import os, signal, sys
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from pathlib import Path
from checkpoint.jobs import Job
job = Job({str(tmp_path / "cp")!r}, Path({str(tmp_path / "work2")!r})).restore()
job.add(["b"], [2])
job.coordinator.begin()
for p in job.pending():
    assert len(p.run()) == 2
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -signal.SIGKILL
    assert len(list((tmp_path / "cp/shared").iterdir())) == 2
    clock_ahead = time.time() + 2 * 3600
    from .jobs import FakeClock

    again = Job(tmp_path / "cp", tmp_path / "work3", clock=FakeClock(clock_ahead)).restore()
    assert again.totals() == {"a": 1} and again.skipped == []
    again.checkpoint()
    assert len(list((tmp_path / "cp/shared").iterdir())) == 2
    again.checkpoint()  # the second round: the orphan goes
    assert len(list((tmp_path / "cp/shared").iterdir())) == 1
    assert Job(tmp_path / "cp", tmp_path / "work4").restore().totals() == {"a": 1}


class Failing(CheckpointStorage):
    """Uploads fail while `broken`."""

    broken = True

    def put_file(self, name: str, local: Path) -> None:
        if self.broken:
            raise CheckpointError("no")
        super().put_file(name, local)


def test_a_failed_checkpoint_loses_nothing(tmp_path: Path) -> None:
    storage = Failing(tmp_path / "cp")
    job = Job(tmp_path / "cp", tmp_path / "work", wrap=lambda s: storage)
    job.add(["a"], [1])
    with pytest.raises(CheckpointError, match="no"):
        job.checkpoint()
    job.add(["b"], [2])
    job.pending()  # an attempt given up before it ran
    job.add(["c"], [3])
    storage.broken = False
    job.checkpoint()
    assert Job(tmp_path / "cp", tmp_path / "work2").restore().totals() == {"a": 1, "b": 2, "c": 3}


def test_shares_run_in_order(tmp_path: Path) -> None:
    job = Job(tmp_path / "cp", tmp_path / "work")
    job.add(["a"], [1])
    (one,), (two,) = job.pending(), job.pending()
    two.run()
    with pytest.raises(InternalError, match="runs after"):
        one.run()


def test_full_means_all(tmp_path: Path) -> None:
    job = Job(tmp_path / "cp", tmp_path / "work")
    tables = job.tables[0]
    with pytest.raises(InternalError, match="full"):
        job.shards[0].prepare({"totals": tables["totals"].changes(full=True)}, full=True)
    with pytest.raises(InternalError, match="full"):
        job.shards[0].prepare({n: t.changes(full=True) for n, t in tables.items()})


def test_changed_states_are_refused_with_the_difference(tmp_path: Path) -> None:
    job = Job(tmp_path / "cp", tmp_path / "work")
    job.add(["a"], [1])
    operator = job.checkpoint().operators["1"]
    wider = StateSpec("totals", SPECS[0].key, pa.schema([("total", pa.decimal128(10, 2))]))
    with pytest.raises(CheckpointError, match=r"(?s)seen is in the checkpoint only.*decimal128\(10, 2\).*int64"):
        restore_task(job.storage, operator, (wider,), (0, 128), tmp_path / "r")


def test_key_group_ranges_cover_all() -> None:
    for parallelism in (1, 2, 3, 5, 7, 64, 127, 128):
        owner = [i for i in range(parallelism) for _ in range(*key_group_range(i, parallelism))]
        assert owner == [subtask_of(g, parallelism) for g in range(KEY_GROUPS)]
