"""Copies on the local disk of checkpoints in an S3 store: a restart fetches what is not there whole, and nothing else."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import kill
import pytest
from object_store import ObjectStore
from test_object_store import arguments, check, prepare, script

LOCAL = ["-D", "execution.checkpointing.local-backup.enabled=true"]


@pytest.fixture(scope="module")
def store() -> Iterator[ObjectStore]:
    store = ObjectStore()
    yield store
    store.stop()


def named(store: ObjectStore, place: str) -> set[str]:
    """The state files of the newest two checkpoints."""
    keys = [k for k in store.keys(f"{place}/cp/") if k.endswith("manifest.json")]
    newest = sorted(keys, key=lambda k: int(k.split("/")[-2].removeprefix("chk-")))[-2:]
    texts = [store.get(k).decode() for k in newest]
    return {p.split('"')[0] for t in texts for p in t.split('"name": "shared/')[1:]}


def fetched(store: ObjectStore, place: str, since: int) -> list[str]:
    return [
        k.rsplit("/", 1)[1] for m, k in store.requests[since:] if m == "GET" and f"{place}/cp" in k and "/shared/" in k
    ]


@pytest.mark.parametrize("backend", ["rocksdb", "hashmap"])
def test_a_killed_job_fetches_nothing(store: ObjectStore, tmp_path: Path, backend: str) -> None:
    """SIGKILL, then the same with a damaged copy, a lost one, at another parallelism, and without copies."""
    name = f"copies-{backend}"
    prepare(store, name)
    place = script(tmp_path, name)
    copies = tmp_path / ".sqlstream/bids/copies"
    options = [*LOCAL, "-D", f"state.backend.type={backend}", "-D", "state.changelog.enabled=false"]
    options += ["-D", "execution.epoch.max-rows=20"]

    def go(parallelism: int, fault: str | None, *more: str) -> tuple[list[str], str]:
        since = len(store.requests)
        status, said = kill.run(place, [*arguments(store, parallelism), *options, *more], fault)
        assert status == (0 if fault is None else -signal.SIGKILL), said
        return fetched(store, name, since), said

    assert go(1, "after-publish:4")[0] == []
    kept = set(os.listdir(copies))
    assert kept >= named(store, name) and len(kept) > 2
    assert not any(n.startswith(".tmp") for n in kept)

    got, said = go(1, "after-publish:3")
    assert got == [] and "resumes from checkpoint" in said

    newest = sorted(named(store, name) & set(os.listdir(copies)), key=lambda n: (copies / n).stat().st_mtime_ns)
    damaged, lost = newest[-1], newest[-2]
    data = (copies / damaged).read_bytes()
    (copies / damaged).unlink()
    (copies / damaged).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    (copies / lost).unlink()
    got, said = go(2, "after-publish:3")
    assert set(got) <= {damaged, lost} and damaged in got, (got, damaged, lost)
    assert f"{damaged}, a copy of a state file, is damaged: fetched again" in said

    # What no kept checkpoint names is gone after some more: as many files as two checkpoints have, and no more.
    got, said = go(3, "after-publish:6")
    assert got == [] and set(os.listdir(copies)) == named(store, name)

    got, said = go(1, None, "-D", "execution.checkpointing.local-backup.enabled=false")
    assert got and not copies.exists()
    check(store, name)


def test_directories_of_copies(store: ObjectStore, tmp_path: Path) -> None:
    """Where a directory is not to be written, the job goes on and says so; restarts fetch."""
    prepare(store, "copies-dirs")
    place = script(tmp_path, "copies-dirs")
    (tmp_path / "file").touch()
    dirs = f"execution.checkpointing.local-backup.dirs={tmp_path / 'a'},{tmp_path / 'file'}"
    options = [*LOCAL, "-D", dirs, "-D", "execution.epoch.max-rows=20"]
    status, said = kill.run(place, [*arguments(store), *options], "after-publish:4")
    assert status == -signal.SIGKILL, said
    assert said.count("; restarts fetch such files from s3://") == 1 and f"{tmp_path / 'file'}/sqlstream-" in said
    (mine,) = (tmp_path / "a").glob("sqlstream-*/copies")
    kept = set(os.listdir(mine))
    assert kept and named(store, "copies-dirs") - kept
    since = len(store.requests)
    status, said = kill.run(place, [*arguments(store), *options])
    assert status == 0, said
    got = fetched(store, "copies-dirs", since)
    assert got and not set(got) & kept
    check(store, "copies-dirs")
