"""One process a job: a lock on the job's directory that the system releases when its holder dies.

The lock is `flock` on `<directory>/lock`; the text in the file says who has it (process, host, start, and a word that
only this holder knows), and is worth nothing while nobody has it. A forked child keeps the lock for as long as it lives,
as it should: it may still be writing.

Others ask who holds it (`holder`) by a shared lock, for a moment. So who wants the lock and does not get it looks whether
a shared one is to be had: if so, only somebody who asks is in the way, and it tries again.

The system's lock is on a file, not on a name: when the directory is moved, unmounted or deleted, another process can get
the lock of a new file of that name. So whoever writes for the job asks before (`check`) whether the name still leads to
what is held.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import random
import socket
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

from sqlstream.checkpoint.storage import failing_as
from sqlstream.errors import CheckpointError, JobLocked, RunError
from sqlstream.own_files import read_text

LOCK = "lock"


@dataclass(frozen=True)
class Holder:
    """Who has a job's lock. `owner`: what distinguishes it from all who had it before; "" where nothing can be read, as in
    the moment in which it is given back."""

    pid: int
    host: str
    since: str
    owner: str

    @property
    def here(self) -> bool:
        """Whether it runs on this machine, by its name."""
        return self.host == socket.gethostname()

    def text(self) -> str:
        """For people."""
        return f"process {self.pid} on {self.host} since {self.since}" if self.pid else "by another process"


NOBODY_KNOWN = Holder(0, "", "", "")


class LockLost(RunError):
    """The lock's name does not lead to the file that is held. What was moved may come back."""

    transient = True


class JobLock:
    """Held from `acquire` (or `with`) until `release`, or until the process ends, however it does.

    `owner`: a word for who holds it now; another each time. `number`: how many files were locked for that; what was known of
    the directory before may not be so behind another one.
    """

    def __init__(self, directory: Path, job: str) -> None:
        self.path, self.job = directory / LOCK, job
        self.owner, self.number = "", 0
        self._since = ""
        self._handle: int | None = None

    def acquire(self) -> JobLock:
        """JobLocked, naming the holder, when another process (or another lock of this one) has it."""
        with failing_as("make the job's directory", str(self.path.parent)):
            self.path.parent.mkdir(parents=True, exist_ok=True)
        self.owner, self._since = uuid.uuid4().hex, datetime.now(UTC).isoformat(timespec="seconds")
        self._handle = self._taken()
        return self

    def _taken(self) -> int:
        """The file, locked, and with its text."""
        with failing_as("open the job's lock", str(self.path)):
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o644)
        try:
            with failing_as("lock", str(self.path)):
                taken = _take(handle)
            if not taken:
                raise JobLocked(
                    f"job {self.job} is running already: {_written(self.path).text()}",
                    hint="stop it first, or give this one another pipeline.name",
                )
            text = {"pid": os.getpid(), "host": socket.gethostname(), "since": self._since, "owner": self.owner}
            with failing_as("write the job's lock", str(self.path)):
                os.ftruncate(handle, 0)
                os.write(handle, json.dumps(text).encode())
            self.number += 1
            return handle
        except BaseException:
            os.close(handle)
            raise

    @property
    def held(self) -> bool:
        """Whether it is held, and its name leads to the file that is."""
        handle = self._handle
        if handle is None:
            return False
        try:
            return os.path.samestat(os.stat(self.path, follow_symlinks=False), os.fstat(handle))
        except OSError:
            return False

    def check(self) -> None:
        """LockLost unless it is `held`: another process may have the job, and nothing is to be written for it."""
        if not self.held:
            raise self.lost()

    def lost(self) -> LockLost:
        """That it is not held any more, for people."""
        return LockLost(
            f"the directory of job {self.job} is not what it was: {self.path} is gone, or another file",
            hint="was it moved, unmounted or deleted? The job goes on when it is back, unless another process has it",
        )

    def again(self) -> None:
        """The lock for another attempt: the same one, or that of the file that has its name now. JobLocked when another
        process has that, LockLost when there is no directory."""
        if not self.held:
            try:
                before, self._handle = self._handle, self._taken()
            except CheckpointError as e:
                if isinstance(e.__cause__, FileNotFoundError):
                    raise self.lost() from None
                raise
            if before is not None:
                os.close(before)

    def release(self) -> None:
        """Lets another process have the job. Does nothing when it is not held."""
        if self._handle is not None:
            with contextlib.suppress(OSError):
                os.ftruncate(self._handle, 0)
            os.close(self._handle)
            self._handle = None

    def __enter__(self) -> JobLock:
        return self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def holder(directory: Path) -> Holder | None:
    """Who runs the job of a directory, None when nobody does; whatever is written there. OSError: it cannot be asked."""
    path = directory / LOCK
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return None
    except BlockingIOError:
        return _written(path)
    finally:
        os.close(handle)


def _take(handle: int) -> bool:
    """Takes the lock; False when somebody has it."""
    while True:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        fcntl.flock(handle, fcntl.LOCK_UN)
        time.sleep(random.uniform(0, 0.005))  # not in step with another who does the same


def _written(path: Path) -> Holder:
    try:
        h = json.loads(read_text(path, 4096))
        return Holder(int(h["pid"]), str(h["host"])[:100], str(h["since"])[:40], str(h.get("owner", ""))[:40])
    except (OSError, ValueError, KeyError, TypeError, RecursionError, AttributeError):
        return NOBODY_KNOWN
