"""Two processes cannot run one job."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sqlstream.checkpoint.lock import JobLock, LockLost, holder
from sqlstream.errors import CheckpointError, JobLocked

HOLD = """
import sys
from pathlib import Path
from sqlstream.checkpoint.lock import JobLock
lock = JobLock(Path(sys.argv[1]), "j").acquire()
print("held", flush=True)
sys.stdin.read()
"""


def test_released_when_its_holder_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path / "job")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        with pytest.raises(JobLocked, match=rf"job j is running already: process {other.pid} on .* since 20") as e:
            JobLock(tmp_path / "job", "j").acquire()
        assert "pipeline.name" in str(e.value)
        os.kill(other.pid, signal.SIGKILL)
    with JobLock(tmp_path / "job", "j"):
        pass


def test_twice_in_one_process(tmp_path: Path) -> None:
    first = JobLock(tmp_path, "j").acquire()
    with pytest.raises(JobLocked, match=f"process {os.getpid()}"):
        JobLock(tmp_path, "j").acquire()
    first.release()
    first.release()
    with JobLock(tmp_path, "j") as lock:
        lock.path.write_text("?")
        with pytest.raises(JobLocked, match="another process"):
            JobLock(tmp_path, "j").acquire()


def test_no_directory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="cannot make the job's directory .*/file"):
        JobLock(tmp_path / "file", "j").acquire()


def test_a_directory_that_is_moved_away_takes_the_lock_with_it(tmp_path: Path) -> None:
    """Whoever held it writes nothing to what stands in its place, and has it again when it is back."""
    place, away = tmp_path / "job", tmp_path / "away"
    with JobLock(place, "j") as lock:
        assert lock.held
        lock.check()
        place.rename(away)
        assert not lock.held
        with pytest.raises(LockLost, match=r"the directory of job j is not what it was: .*/job/lock is gone"):
            lock.check()
        with pytest.raises(LockLost):
            lock.again()  # and makes no directory
        assert not place.exists()
        with JobLock(place, "j") as other:
            with pytest.raises(LockLost):
                lock.check()
            with pytest.raises(JobLocked, match=f"process {os.getpid()}"):
                lock.again()
            assert other.held
        place.rename(tmp_path / "other")
        away.rename(place)
        assert lock.held
        lock.again()
        lock.check()


def test_a_lock_that_is_deleted_is_taken_anew(tmp_path: Path) -> None:
    with JobLock(tmp_path, "j") as lock:
        before = holder(tmp_path)
        lock.path.unlink()
        assert not lock.held and holder(tmp_path) is None
        lock.again()
        assert lock.held and holder(tmp_path) == before
        with pytest.raises(JobLocked):
            JobLock(tmp_path, "j").acquire()
    assert not lock.held and holder(tmp_path) is None
