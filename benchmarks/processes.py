"""Runs one measurement in a process of its own and watches what it and its children use.

A runner reads its job, one JSON object, from stdin and prints its result, one JSON object, as the last line of
stdout. Memory is the peak of the resident memory of the whole process tree, polled from /proc; pages that processes
share count once for each of them. Private memory leaves out the pages of mapped files, which the system may take back.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_POLL_SECONDS = 0.05
_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Finished:
    """`result` is the runner's JSON, None when it failed; then `error` is the end of what it wrote."""

    result: dict[str, Any] | None
    error: str
    wall_seconds: float
    cpu_seconds: float
    peak_bytes: int
    peak_private_bytes: int = 0


def run(command: list[str], job: dict[str, Any], *, cwd: Path, env: dict[str, str], timeout: float) -> Finished:
    """Starts `command`, hands it `job` and waits. After `timeout` seconds its whole process group is ended.

    Python may keep its compiled modules, as it does for an installed package.
    """
    env = {name: value for name, value in env.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        started = time.perf_counter()
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=out, stderr=err, cwd=cwd, env=env, text=True, start_new_session=True
        )
        watch = _Watch(process.pid)
        watch.start()
        try:
            process.communicate(json.dumps(job), timeout=timeout)
            late = False
        except subprocess.TimeoutExpired:
            late = True
        finally:
            wall = time.perf_counter() - started
            watch.stop()
            _end_group(process)
        out.seek(0)
        err.seek(0)
        lines, errors = out.read().splitlines(), err.read()
    used = (wall, watch.cpu_seconds, watch.peak_bytes, watch.peak_private_bytes)
    if late:
        return Finished(None, f"no result after {timeout:g} s", *used)
    if process.returncode == 0 and lines and lines[-1].startswith("{"):
        return Finished(json.loads(lines[-1]), "", *used)
    error = errors.strip() or "\n".join(lines[-5:])
    return Finished(None, f"exit {process.returncode}: {error[-2000:]}", *used)


def processor_seconds(pid: int) -> float:
    """What a running process has had of the processors."""
    return _processor_seconds(_stat(pid))


def _stat(pid: int) -> list[str]:
    """Fields of /proc/<pid>/stat from the third on."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _processor_seconds(stat: list[str]) -> float:
    return (int(stat[11]) + int(stat[12])) / _TICKS


def _end_group(process: subprocess.Popen[str]) -> None:
    """Ends what the runner may have left behind (it leads a session of its own)."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


class _Watch(threading.Thread):
    """Samples the process tree under `pid` until stopped."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.peak_bytes = self.peak_private_bytes = 0
        self._pid = pid
        self._cpu: dict[int, float] = {}
        self._done = threading.Event()

    @property
    def cpu_seconds(self) -> float:
        return sum(self._cpu.values())

    def run(self) -> None:
        while not self._done.wait(_POLL_SECONDS):
            self._sample()

    def stop(self) -> None:
        self._done.set()
        self.join()

    def _sample(self) -> None:
        used = private = 0
        for pid in _tree(self._pid):
            try:
                stat = _stat(pid)
                pages = Path(f"/proc/{pid}/statm").read_text().split()
            except (FileNotFoundError, ProcessLookupError):  # it ended just now
                continue
            self._cpu[pid] = _processor_seconds(stat)
            used += int(pages[1]) * _PAGE
            private += (int(pages[1]) - int(pages[2])) * _PAGE
        self.peak_bytes = max(self.peak_bytes, used)
        self.peak_private_bytes = max(self.peak_private_bytes, private)


def _tree(root: int) -> list[int]:
    found, todo = [], [root]
    while todo:
        pid = todo.pop()
        found.append(pid)
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            try:
                todo += [int(c) for c in children.read_text().split()]
            except (FileNotFoundError, ProcessLookupError):
                continue
    return found
