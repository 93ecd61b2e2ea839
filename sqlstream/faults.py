"""Fault points for tests: `SQLSTREAM_FAULT=after-manifest:3` kills the process the third time it gets there.

While one is armed that ends something, a checkpoint is taken with every epoch and waited for: how often a point is
passed does not depend on the machine. `point:n[:action]`, or `point:n-m:action` for several in a row (of `raise` or
`delay`); the action is `kill` (SIGKILL, the default), `raise` (a
RunError), `delay` (for half a second, while all else goes on) or `wait` (for an hour: a test does something to the
process there). Who simulates a job is told of each point (`watched`). Unset, a point is two comparisons.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlstream.errors import InternalError, RunError

POINTS = (
    "job-recorded",  # job.json says RUNNING, nothing else was done
    "republished",  # on start: the checkpoint's output is published again, leftovers are still there
    "mid-restore",  # on start: after each file of the checkpoint that was found good
    "mid-recovery",  # on start: after each file that was brought here from a savepoint
    "after-recovery",  # on start: they are all here, and not yet a checkpoint
    "before-changed",  # on start: what a changed job needs is computed and staged, its checkpoint is not complete
    "after-changed",  # on start: it is complete, and published
    "restored",  # on start: the state is loaded
    "before-verifying",  # beside the first epochs: before each file that is compared with its hash there
    "after-prepare",  # a sink's part of a checkpoint is staged
    "before-copy",  # rows that a share takes are about to be copied, where that was not done at the barrier
    "after-delta",  # a share's changes are in files
    "before-fold",  # deltas are about to be folded into a store
    "mid-fold",  # after each part of them was written
    "before-snapshot",  # all of them were
    "after-snapshot",  # the store's files have names in the shard's directory
    "after-fold",
    "after-leave",  # rows have left memory for the store
    "after-fetch",  # rows were read that come back
    "mid-upload",  # after each state file
    "after-upload",  # the state files are uploaded
    "before-manifest",
    "after-manifest",
    "before-publish",
    "mid-publish",  # after each published committable
    "after-publish",
    "before-savepoint",  # its checkpoint is complete and published, nothing of it is written
    "mid-savepoint",  # after each file of a savepoint
    "before-metadata",  # all of them are written
    "after-metadata",  # the savepoint is complete
    "request-read",  # somebody asks something of the job; nobody has looked at it
    "before-request",  # it is to be done, and the job does not know of it
    "before-answer",  # it is done, or refused, and who asked does not know of it
    "between-attempts",  # one is over, the next one has not begun
    "before-finished",  # all is done, job.json does not say so yet
)

_given = os.environ.get("SQLSTREAM_FAULT")
_hits = 0
_lock = threading.Lock()
_watcher: Callable[[str], None] | None = None


@contextmanager
def watched(watcher: Callable[[str], None]) -> Iterator[None]:
    """Within it `watcher` is called at each point, by the thread that passes it, with the point's name."""
    global _watcher
    before, _watcher = _watcher, watcher
    try:
        yield
    finally:
        _watcher = before


def arm(text: str | None) -> None:
    """What the environment variable does, for a process that is running."""
    global _given, _hits
    if text is not None and text.split(":")[0] not in POINTS:
        raise InternalError(f"there is no fault point {text!r}")
    with _lock:
        _given, _hits = text, 0


def stepwise() -> bool:
    """Whether the job is to take a checkpoint with every epoch, and wait for it."""
    return _given is not None and not _given.endswith((":wait", ":delay"))


def point(name: str) -> None:
    """One of `POINTS`, by its name."""
    if _watcher is not None:
        _watcher(name)
    if _given is not None:
        _hit(name)


def _hit(name: str) -> None:
    global _hits
    assert _given is not None
    wanted, _, rest = _given.partition(":")
    number, _, action = rest.partition(":")
    if name != wanted:
        return
    first, _, last = number.partition("-")
    with _lock:
        _hits += 1
        if not int(first or 1) <= _hits <= int(last or first or 1):
            return
    if action == "raise":
        raise RunError(f"fault at {name}")
    if action == "delay":
        return time.sleep(0.5)
    if action == "wait":
        time.sleep(3600)
    os.kill(os.getpid(), signal.SIGKILL)


arm(_given)
