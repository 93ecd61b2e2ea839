"""Writes are whole or absent, and what goes wrong is said with the place, the reason and a hint."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from sqlstream.checkpoint.arrow_shard import ArrowShard
from sqlstream.checkpoint.coordinator import CheckpointCoordinator
from sqlstream.checkpoint.lock import JobLock
from sqlstream.checkpoint.storage import CheckpointStorage, _modified
from sqlstream.errors import CheckpointError

from .jobs import Job


@pytest.mark.parametrize("url", ["{tmp}/a/b", "file://{tmp}/a/b", "memory://storage/b"])
def test_files(tmp_path: Path, url: str) -> None:
    s = CheckpointStorage(url.format(tmp=tmp_path))
    assert s.files() == [] and s.stat("x/y") is None
    s.check_writable()
    s.put("x/y", b"one")
    s.put("x/y", b"three")
    (tmp_path / "local").write_bytes(b"abc")
    for _ in range(2):
        s.put_file("z", tmp_path / "local")
    assert [(f.name, f.size) for f in s.files()] == [("x/y", 5), ("z", 3)]
    assert [f.name for f in s.files("x")] == ["x/y"]
    assert s.read("x/y") == b"three" and s.stat("z").size == 3 and s.stat("x") is None
    assert s.stat("z").modified > 1e9
    assert s.sha256("z").startswith("ba7816bf")
    s.fetch("z", tmp_path / "down/z")
    assert (tmp_path / "down/z").read_bytes() == b"abc" and len(list((tmp_path / "down").iterdir())) == 1
    with pytest.raises(CheckpointError, match="cannot read .*nothing"):
        s.read("nothing")
    s.delete(["x/y", "z", "nothing"])
    assert s.files() == []


def test_unknown_protocol() -> None:
    with pytest.raises(CheckpointError, match="nosuch") as e:
        CheckpointStorage("nosuch://a")
    assert "install the package" in str(e.value)


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    s = CheckpointStorage(tmp_path / "cp")
    s.put("a", b"old")

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(CheckpointError, match="cannot write .*/cp/a: Input/output error"):
        s.put("a", b"new")
    monkeypatch.undo()
    assert s.read("a") == b"old" and os.listdir(tmp_path / "cp") == ["a"]


@pytest.fixture
def nobody(tmp_path: Path) -> Iterator[None]:
    """The test runs as a user without rights: root may write everywhere."""
    root = os.geteuid() == 0
    for p in (tmp_path, *tmp_path.parents):  # pytest's own, which are for its user only
        if p.name.startswith("pytest-of-") or p.parent.name.startswith(("pytest-", "popen-")):
            p.chmod(0o755)
    try:
        if root:
            os.seteuid(65534)
        yield
    finally:
        if root:
            os.seteuid(0)


def test_unwritable_directory(tmp_path: Path, nobody: None) -> None:
    if os.geteuid() != 65534:
        tmp_path.chmod(0o555)
    for d in (tmp_path, tmp_path / "deeper"):
        with pytest.raises(CheckpointError, match="cannot write .*Permission denied") as e:
            CheckpointStorage(d).check_writable()
        assert not e.value.transient and "give this user the right" in str(e.value) and str(d) in str(e.value)
        with pytest.raises(CheckpointError, match="cannot make the directory .*Permission denied"):
            ArrowShard(CheckpointStorage(d), d / "work", ())
        with pytest.raises(CheckpointError, match="Permission denied"):
            JobLock(d, "j").acquire()


@pytest.fixture
def closed(tmp_path: Path) -> Iterator[Path]:
    """A checkpoint directory that nobody may list."""
    place = tmp_path / "closed"
    CheckpointStorage(place).put("chk-1/manifest.json", b"")
    place.chmod(0o300)
    yield place
    place.chmod(0o700)


def test_unreadable_directory(closed: Path, nobody: None) -> None:
    place = closed
    with pytest.raises(CheckpointError, match="cannot list .*Permission denied"):
        CheckpointStorage(place).files()
    with pytest.raises(CheckpointError, match="cannot list .*Permission denied"):
        CheckpointCoordinator(CheckpointStorage(place), "job")


def test_full_disk(tmp_path: Path) -> None:
    """A limit on file sizes stands for a full disk: both end a write with an error from the system."""
    job = Job(tmp_path / "cp", tmp_path / "work")
    job.add(["a"], [1])
    job.checkpoint()
    job.add([os.urandom(20).hex() for _ in range(5000)], [1] * 5000)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(CheckpointError, match="File too large") as e:
            job.checkpoint()
        assert e.value.transient and e.value.hint and str(tmp_path) in e.value.message
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert Job(tmp_path / "cp", tmp_path / "work2").restore().totals() == {"a": 1}
    job.checkpoint()  # there is room again
    assert Job(tmp_path / "cp", tmp_path / "work3").restore().totals() == job.totals()


def test_full_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = Job("memory://full", tmp_path / "work")
    job.add(["a"], [1])

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as m:
        m.setattr(MemoryFileSystem, "pipe_file", full)
        with pytest.raises(CheckpointError, match="cannot write memory://full/chk-1/manifest.json: No space left") as e:
            job.checkpoint()
        assert e.value.transient and "free space" in str(e.value)
    job.checkpoint()
    assert Job("memory://full", tmp_path / "work2").restore().totals() == {"a": 1}
    job.storage.delete([f.name for f in job.storage.files()])


def test_modified_of_many_stores() -> None:
    when = datetime(2026, 1, 1, tzinfo=UTC)
    for info in ({"mtime": when.timestamp()}, {"LastModified": when}, {"updated": "2026-01-01T00:00:00+00:00"}):
        assert _modified(info) == when.timestamp()
    assert _modified({"size": 1, "updated": "?"}) is None
