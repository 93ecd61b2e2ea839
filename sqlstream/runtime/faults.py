"""Fault points for tests: `SQLSTREAM_FAULT=after-manifest:3` kills the process the third time it gets there.

`point:n[:action]`; the action is `kill` (SIGKILL, the default), `raise` (a RunError) or `wait` (for an hour: a test
does something to the process there). Unset, a point is one comparison.
"""

from __future__ import annotations

import os
import signal
import threading
import time

from sqlstream.errors import InternalError, RunError

POINTS = (
    "job-recorded",  # job.json says RUNNING, nothing else was done
    "republished",  # on start: the checkpoint's output is published again, leftovers are still there
    "restored",  # on start: the state is loaded
    "after-prepare",  # a sink's part of a checkpoint is staged
    "after-upload",  # the state files are uploaded
    "before-manifest",
    "after-manifest",
    "before-publish",
    "mid-publish",  # after each published committable
    "after-publish",
    "before-finished",  # all is done, job.json does not say so yet
)

_given = os.environ.get("SQLSTREAM_FAULT")
_hits = 0
_lock = threading.Lock()


def arm(text: str | None) -> None:
    """What the environment variable does, for a process that is running."""
    global _given, _hits
    if text is not None and text.split(":")[0] not in POINTS:
        raise InternalError(f"there is no fault point {text!r}")
    _given, _hits = text, 0


def point(name: str) -> None:
    """One of `POINTS`, by its name."""
    if _given is not None:
        _hit(name)


def _hit(name: str) -> None:
    global _hits
    assert _given is not None
    wanted, _, rest = _given.partition(":")
    number, _, action = rest.partition(":")
    if name != wanted:
        return
    with _lock:
        _hits += 1
        if _hits != int(number or 1):
            return
    if action == "raise":
        raise RunError(f"fault at {name}")
    if action == "wait":
        time.sleep(3600)
    os.kill(os.getpid(), signal.SIGKILL)


arm(_given)
