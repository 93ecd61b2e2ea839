"""Control groups: a run that may use so much memory and no more. Version 1 of Linux's memory controller."""

from __future__ import annotations

import contextlib
import itertools
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/sys/fs/cgroup/memory")
_NUMBERS = itertools.count(1)


@dataclass(frozen=True)
class ControlGroup:
    """`path`: its directory. Pages of files that its processes read and wrote count too, until the limit presses."""

    path: Path

    @property
    def inside(self) -> list[str]:
        """The command that runs the one given after it inside the group."""
        return ["sh", "-c", f'echo $$ > {self.path}/cgroup.procs && exec "$@"', "inside"]

    @property
    def most_used(self) -> int:
        """Bytes, at its highest."""
        return int((self.path / "memory.max_usage_in_bytes").read_text())

    @property
    def killed(self) -> bool:
        """Whether the system ended a process of it for want of memory."""
        lines = (self.path / "memory.oom_control").read_text().splitlines()
        return any(line.startswith("oom_kill ") and not line.endswith(" 0") for line in lines)


def missing() -> str | None:
    """Why there can be no groups here; None where there can."""
    if not (ROOT / "memory.limit_in_bytes").exists():
        return f"no memory controller (cgroup 1) in {ROOT}"
    return None if os.access(ROOT, os.W_OK) else f"{ROOT} cannot be written"


@contextlib.contextmanager
def limited(limit: int) -> Iterator[ControlGroup]:
    """A group that may use `limit` bytes; it goes with the context, in which all its processes must have ended."""
    group = ROOT / f"sqlstream-{os.getpid()}-{next(_NUMBERS)}"
    group.mkdir()
    try:
        (group / "memory.limit_in_bytes").write_text(str(limit))
        yield ControlGroup(group)
    finally:
        _remove(group)


def _remove(group: Path, patience: float = 10.0) -> None:
    """The last process is in it for a moment after its parent saw its end."""
    until = time.monotonic() + patience
    while True:
        try:
            return group.rmdir()
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)
