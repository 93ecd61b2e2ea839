"""Numbering, retention and deletion."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from sqlstream.checkpoint.coordinator import CheckpointCoordinator
from sqlstream.checkpoint.storage import CheckpointStorage
from sqlstream.errors import CheckpointError

from .jobs import FakeClock, Job


def files(job: Job) -> set[str]:
    return {f.name for f in job.storage.files()}


def test_retention_never_deletes_what_is_reachable(tmp_path: Path) -> None:
    clock = FakeClock(time.time())
    job = Job(tmp_path / "cp", tmp_path / "work", clock=clock, retained=3)
    for i in range(30):
        job.add([f"u{j}" for j in range(i * 1000, i * 1000 + 1000)], [1] * 1000)
        job.checkpoint()
        clock.seconds += 100
        kept = job.coordinator.checkpoints()
        assert kept == list(range(max(1, i - 1), i + 2))
        there = files(job)
        for n in kept:
            assert job.coordinator.manifest(n).files().keys() <= there
    reachable = {f for n in kept for f in job.coordinator.manifest(n).files()}
    unreachable = {n for n in there if n.startswith("shared/")} - reachable
    assert len(unreachable) <= 30 and len(there) < 60
    assert job.coordinator.last_sweep_error is None
    for _ in range(3):  # a restart knows of them nothing but their age
        clock.seconds += 4000
        job = Job(tmp_path / "cp", tmp_path / f"work-{clock.seconds}", clock=clock).restore()
        job.checkpoint()
        job.checkpoint()
    assert {n for n in files(job) if n.startswith("shared/")} == set(job.coordinator.manifest(36).files())


def test_young_files_and_those_of_attempts_stay(tmp_path: Path) -> None:
    clock = FakeClock(time.time())
    job = Job(tmp_path / "cp", tmp_path / "work", clock=clock, grace=50, retired_grace=0)
    job.add(["a"], [1])
    job.checkpoint()
    for name, age in (("old", 60), ("young", 0), ("protected", 60)):
        job.storage.put(f"shared/{name}.arrow", b"x")
        os.utime(tmp_path / f"cp/shared/{name}.arrow", (clock.seconds - age, clock.seconds - age))
    attempt = job.coordinator.begin()
    attempt.protected.add("shared/protected.arrow")
    assert job.coordinator.sweep() == []  # first seen
    assert job.coordinator.sweep() == ["shared/old.arrow"]
    clock.seconds += 51
    assert job.coordinator.sweep() == []  # written after an attempt began that is in flight
    job.coordinator.abort(attempt)
    assert set(job.coordinator.sweep()) == {"shared/young.arrow"}
    assert set(job.coordinator.sweep()) == {"shared/protected.arrow"}


def test_what_the_process_before_left_goes_soon(tmp_path: Path) -> None:
    """A job that is started again each minute does not keep the files of all of these minutes: whoever wrote them is gone."""
    clock = FakeClock(time.time())
    Job(tmp_path / "cp", tmp_path / "work", clock=clock).checkpoint()
    clock.seconds += 100
    job = Job(tmp_path / "cp", tmp_path / "work2", clock=clock).restore()
    clock.seconds += 100
    for name, written in (("before", clock.seconds - 150), ("since", clock.seconds - 70)):
        job.storage.put(f"shared/{name}.arrow", b"x")
        os.utime(tmp_path / f"cp/shared/{name}.arrow", (written, written))
    assert job.coordinator.sweep() == []  # first seen
    assert job.coordinator.sweep() == ["shared/before.arrow"]
    clock.seconds += 3600
    assert job.coordinator.sweep() == ["shared/since.arrow"]


def test_numbers_are_not_used_again(tmp_path: Path) -> None:
    job = Job(tmp_path / "cp", tmp_path / "work")
    job.checkpoint()
    job.coordinator.abort(job.coordinator.begin())
    assert job.checkpoint().checkpoint_id == 3
    assert CheckpointCoordinator(job.storage, "job").begin().checkpoint_id == 4


def test_another_job_and_a_newer_format_are_refused(tmp_path: Path) -> None:
    job = Job(tmp_path / "cp", tmp_path / "work")
    job.checkpoint()
    with pytest.raises(CheckpointError, match="of job 'job', this is 'other'") as e:
        Job(tmp_path / "cp", tmp_path / "work2", job_id="other")
    assert "directory of its own" in str(e.value)
    job.checkpoint()
    path = tmp_path / "cp/chk-2/manifest.json"
    path.write_text(path.read_text().replace('"format_version": 5', '"format_version": 6'))
    with pytest.raises(CheckpointError, match="format version 6") as e:
        Job(tmp_path / "cp", tmp_path / "work2").restore()
    assert "newer" in str(e.value.hint)


def test_a_manifest_that_cannot_be_read_stops_sweeping(tmp_path: Path) -> None:
    clock = FakeClock(time.time() + 10**6)
    job = Job(tmp_path / "cp", tmp_path / "work", clock=clock)
    job.add(["a"], [1])
    job.checkpoint()
    job.checkpoint()
    (tmp_path / "cp/chk-2/manifest.json").write_text("{}")
    job.storage.put("shared/unknown.arrow", b"")
    job = Job(tmp_path / "cp", tmp_path / "work2", clock=clock).restore()
    for _ in range(2):
        job.checkpoint()
        assert job.storage.stat("shared/unknown.arrow")
        assert job.coordinator.checkpoints() == [1, 3] or job.coordinator.checkpoints() == [3, 4]
    job.checkpoint()
    job.checkpoint()
    assert job.storage.stat("shared/unknown.arrow") is None and job.storage.stat("chk-2/manifest.json") is None


class Flaky(CheckpointStorage):
    """Says that writing the manifest failed after it was written."""

    def put(self, name: str, data: bytes) -> None:
        super().put(name, data)
        raise CheckpointError("timed out")


def test_a_manifest_that_failed_does_not_exist(tmp_path: Path) -> None:
    job = Job(tmp_path / "cp", tmp_path / "work", wrap=lambda s: Flaky(s.url))
    job.add(["a"], [1])
    with pytest.raises(CheckpointError, match="timed out"):
        job.checkpoint()
    assert Job(tmp_path / "cp", tmp_path / "work2").coordinator.latest() is None


def test_remote_files_are_downloaded_once(tmp_path: Path) -> None:
    job = Job("memory://once", tmp_path / "work")
    job.add(["a"], [1])
    (name,) = job.checkpoint().files()
    cache = tmp_path / "cache"
    again = Job("memory://once", tmp_path / "work2", cache=cache).restore()
    assert again.totals() == {"a": 1}
    assert [f"shared/{p.name}" for p in cache.iterdir()] == [name]
    assert not list((tmp_path / "work2/restore-0").iterdir())
    job.storage.delete(list(files(job)))
