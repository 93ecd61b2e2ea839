"""What happened to a job, as lines of JSON in its directory: `checkpoints.jsonl`, `failures.jsonl`.

It is for people and never needed: a line that cannot be written (a full disk, no right) is left out, and the job goes on.
A file that has its size becomes `<name>.1`, in the place of the one before, so that two of them are the most there are.
A process that was killed may leave half a line, which readers skip; the next line begins anew.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

from sqlstream.checkpoint.lock import JobLock
from sqlstream.own_files import LARGE, read_bytes

LIMIT = 4 << 20  # bytes of a file
OLD = ".1"


class History:
    """Lines of one file; one writer at a time, which has the job's `lock`. Readers need none."""

    def __init__(self, path: Path, limit: int = LIMIT, lock: JobLock | None = None) -> None:
        self.path, self.limit, self._lock = path, limit, lock

    def append(self, value: dict[str, Any]) -> None:
        """Adds a line, at the end; none to what is another process's by now."""
        if self._lock is not None and not self._lock.held:
            return
        line = json.dumps(value, ensure_ascii=False, allow_nan=False, default=str).encode("utf-8", "replace") + b"\n"
        with contextlib.suppress(OSError):
            self._rotate(len(line))
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            handle = os.open(self.path, flags, 0o666)
            try:
                size = os.fstat(handle).st_size
                torn = size > 0 and os.pread(handle, 1, size - 1) != b"\n"
                os.write(handle, b"\n" + line if torn else line)
            finally:
                os.close(handle)

    def read(self) -> list[dict[str, Any]]:
        """All lines that are whole, oldest first; [] where there are none, or they cannot be read."""
        out: list[dict[str, Any]] = []
        for path in (self.path.with_name(self.path.name + OLD), self.path):
            with contextlib.suppress(OSError, ValueError):
                for line in read_bytes(path, LARGE).split(b"\n"):
                    with contextlib.suppress(ValueError, RecursionError):
                        value = json.loads(line)
                        if isinstance(value, dict):
                            out.append(value)
        return out

    def _rotate(self, more: int) -> None:
        with contextlib.suppress(FileNotFoundError):
            if os.lstat(self.path).st_size + more > self.limit:
                os.replace(self.path, self.path.with_name(self.path.name + OLD))
