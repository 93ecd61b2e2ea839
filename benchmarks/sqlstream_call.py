"""How the commands call sqlstream: statements in a process of their own, the last one timed (`sqlstream_runner.py`)."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nexmark_sql
import processes

RUNNER = Path(__file__).resolve().parent / "sqlstream_runner.py"

Call = tuple[list[str], dict[str, Any], dict[str, str]]


def call(
    setup: Sequence[str], job: str, options: Mapping[str, str], profile: bool = False, trace: Path | None = None
) -> Call:
    """The command, what it reads, and what its environment has beside ours. `profile`: with operator timings; `trace`:
    a file for the times of epochs."""
    path = os.pathsep.join(filter(None, (str(nexmark_sql.ROOT), os.environ.get("PYTHONPATH"))))
    given = {
        "setup": list(setup),
        "job": job,
        "options": {"execution.runtime-mode": "streaming", **options},
        "module_path": str(nexmark_sql.ROOT / "queries" / "nexmark"),
        "profile": profile,
        "trace": None if trace is None else str(trace),
    }
    return [sys.executable, str(RUNNER)], given, {"PYTHONPATH": path}


def run(
    setup: Sequence[str],
    job: str,
    options: Mapping[str, str] | None = None,
    *,
    timeout: float = 900,
    inside: Sequence[str] = (),
    trace: Path | None = None,
) -> processes.Finished:
    """Runs it and waits. `inside`: a command that runs the one given after it."""
    command, given, env = call(setup, job, options or {}, trace=trace)
    return processes.run([*inside, *command], given, cwd=nexmark_sql.ROOT, env=os.environ | env, timeout=timeout)


def checkpointing(seconds: float, directory: Path) -> dict[str, str]:
    """Options of a durable job; none for 0."""
    if not seconds:
        return {}
    return {
        "execution.checkpointing.interval": f"{seconds * 1000:.0f} ms",
        "execution.checkpointing.dir": str(directory),
    }
