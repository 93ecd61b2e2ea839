"""Two processes cannot run one job."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sqlstream.checkpoint.lock import JobLock
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
