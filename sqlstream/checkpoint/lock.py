"""One process a job: a lock on the job's directory that the system releases when its holder dies.

The lock is `flock` on `<directory>/lock`; the text in the file (process, host, start) is for the message only. A
forked child keeps the lock for as long as it lives, as it should: it may still be writing.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

from sqlstream.checkpoint.storage import failing_as
from sqlstream.errors import JobLocked


class JobLock:
    """Held from `acquire` (or `with`) until `release`, or until the process ends, however it does."""

    def __init__(self, directory: Path, job: str) -> None:
        self.path, self.job = directory / "lock", job
        self._handle: int | None = None

    def acquire(self) -> JobLock:
        """JobLocked, naming the holder, when another process (or another lock of this one) has it."""
        with failing_as("make the job's directory", str(self.path.parent)):
            self.path.parent.mkdir(parents=True, exist_ok=True)
        with failing_as("open the job's lock", str(self.path)):
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as e:
            os.close(handle)
            if not isinstance(e, BlockingIOError):
                with failing_as("lock", str(self.path)):
                    raise
            raise JobLocked(
                f"job {self.job} is running already: {self._holder()}",
                hint="stop it first, or give this one another pipeline.name",
            ) from None
        text = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        with failing_as("write the job's lock", str(self.path)):
            os.ftruncate(handle, 0)
            os.write(handle, json.dumps(text).encode())
        self._handle = handle
        return self

    def release(self) -> None:
        if self._handle is not None:
            with contextlib.suppress(OSError):
                os.ftruncate(self._handle, 0)
            os.close(self._handle)
            self._handle = None

    def _holder(self) -> str:
        try:
            h = json.loads(self.path.read_text())
            return f"process {h['pid']} on {h['host']} since {h['since']}"
        except (OSError, ValueError, KeyError, TypeError):
            return "by another process"

    def __enter__(self) -> JobLock:
        return self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
