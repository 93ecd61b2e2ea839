"""Runs the command line as a process, with pipes or on a pseudo-terminal."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]

# A stream that does not end, into a sink that keeps nothing.
UNBOUNDED = """
CREATE TABLE numbers (n INT) WITH ('connector' = 'datagen', 'rows-per-second' = '500', 'fields.n.min' = '1',
  'fields.n.max' = '5');
CREATE TABLE counted (n INT, c BIGINT) WITH ('connector' = 'blackhole');
"""
JOB = UNBOUNDED + "INSERT INTO counted SELECT n, COUNT(*) FROM numbers GROUP BY n;\n"


@dataclass
class Done:
    status: int
    out: str
    err: str


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8", **more}


def start(*arguments: str, cwd: Path, **more: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "sqlstream", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=cwd,
        env=environment(**more),
    )


def sqlstream(*arguments: str, cwd: Path, stdin: bytes = b"", **more: str) -> Done:
    process = start(*arguments, cwd=cwd, **more)
    out, err = process.communicate(stdin, timeout=120)
    return Done(process.returncode, out.decode(), err.decode())


def until(condition: object, seconds: float = 60) -> None:
    """Waits until `condition()` is true."""
    assert callable(condition)
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.05)


def stopped(process: subprocess.Popen[bytes], number: int = signal.SIGINT) -> Done:
    """Sends the signal and waits for the end."""
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    return Done(process.returncode, out.decode(), err.decode())


def on_terminal(
    *arguments: str, cwd: Path, until_seen: str = "", stdout_too: bool = True, **more: str
) -> tuple[int, str]:
    """Status and what a terminal got; Ctrl-C is sent once `until_seen` was there."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "sqlstream", *arguments],
        stdin=theirs,
        stdout=theirs if stdout_too else subprocess.DEVNULL,
        stderr=theirs,
        cwd=cwd,
        env=environment(TERM="xterm", **more),
        start_new_session=True,
    )
    os.close(theirs)
    seen, end, sent = b"", time.monotonic() + 120, False
    while time.monotonic() < end:
        ready, _, _ = select.select([ours], [], [], 0.2)
        if ready:
            try:
                data = os.read(ours, 65536)
            except OSError:  # the last one on the other side has closed it
                break
            if not data:
                break
            seen += data
        if until_seen and not sent and until_seen.encode() in seen:
            process.send_signal(signal.SIGINT)
            sent = True
    os.close(ours)
    return process.wait(timeout=60), seen.decode()
