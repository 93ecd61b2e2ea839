"""Compares files of a checkpoint with their hashes while the job that goes on from it works already.

Hashing takes as long as the state is large; going on does not. So the first epochs run beside it, and what cannot be
taken back (a checkpoint, and with it published output) waits for the verdict: decision 036.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Sequence

from sqlstream import faults
from sqlstream.checkpoint.manifest import FileEntry
from sqlstream.errors import CheckpointError
from sqlstream.threads import Threads, condition

_NICE = 10  # of the thread that hashes: the first results have precedence


class Damaged(CheckpointError):
    """A file of a checkpoint is not what it was: the checkpoint before may be whole."""


class Verification:
    """`verify` raises a CheckpointError for a file that is not as it should be; it is called for `files`, one after the
    other, from the start on. Any thread may wait."""

    def __init__(self, verify: Callable[[FileEntry], None] | None = None, files: Sequence[FileEntry] = ()) -> None:
        self._left = len(files)
        self._error: Exception | None = None
        self._stopped = False
        self._ended = condition()
        if verify is None or not files:
            return
        threads = Threads(1, "verify")
        for file in files:
            threads.submit(self._one, verify, file)
        threads.end()

    def wait(self) -> None:
        """Until all files were compared. CheckpointError (`Damaged` where that is the reason) for the first that is not
        as it should be; also when it was stopped before."""
        with self._ended:
            self._ended.wait_for(lambda: self._error is not None or not self._left)
            if self._error is not None:
                raise self._error

    def stop(self) -> None:
        """Nobody waits for it any more."""
        with self._ended:
            self._stopped = True
            if self._left and self._error is None:
                self._error = CheckpointError("the job was stopped before the files of its checkpoint were verified")
            self._ended.notify_all()

    def _one(self, verify: Callable[[FileEntry], None], file: FileEntry) -> None:
        error: Exception | None = None
        if not self._stopped and self._error is None:
            with contextlib.suppress(OSError, AttributeError):  # a thread's own, on Linux
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
            faults.point("before-verifying")
            try:
                verify(file)
            except CheckpointError as e:  # unless trying again may help
                error = e if e.transient else Damaged(e.message, hint=e.hint)
            except Exception as e:
                error = e
        with self._ended:
            self._left -= 1
            self._error = self._error or error
            self._ended.notify_all()
