"""Asks the process that runs a job (`control.py`), from another one."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlstream.checkpoint.lock import Holder
from sqlstream.errors import RunError
from sqlstream.runtime.control_socket import places, trusted
from sqlstream.runtime.jobs import JobPlace, JobView, look, seen, views
from sqlstream.runtime.status import Status

VERSION = 1
ANSWER_SECONDS = 10.0  # within which a process answers what it can answer at once
STALE_SECONDS = 5.0  # after which what stands in a status, which is written every second, is not how the job is
SHORT_SECONDS = 1.0  # for an answer, where many are asked
LONGEST = 1 << 20  # bytes of an answer
STEP = 0.1


def ask(
    place: JobPlace, request: str, *, wait: bool = False, seconds: float = ANSWER_SECONDS, **fields: Any
) -> dict[str, Any]:
    """The answer of the process that runs the job. RunError: nobody runs it, it does not answer, or it refuses.

    `wait`: for as long as it takes, while the process is there and answers others within `seconds`; a KeyboardInterrupt
    meanwhile leaves the job alone.
    """
    view = look(place)
    if view.holder is None:
        raise not_running(view)
    with contextlib.closing(_connect(view, view.holder, seconds)) as connection:
        line = {"version": VERSION, "request": request, "owner": view.holder.owner, **fields}
        try:
            connection.sendall(json.dumps(line).encode() + b"\n")
            answer = _read(connection, view, view.holder, wait)
        except OSError as e:
            raise _silent(view, e.strerror or str(e)) from None
    if not answer.get("ok"):
        hint = answer.get("hint")
        raise RunError(f"job {place.name}: {answer.get('error')}", hint=hint if isinstance(hint, str) else None)
    return answer


def current(place: JobPlace, seconds: float = ANSWER_SECONDS) -> JobView:
    """How a job is now: asked of its process, else by its files, and `silent` where these say nothing new."""
    view = look(place)
    if view.holder is None:
        return view
    try:
        return seen(place, Status.of(ask(place, "status", seconds=seconds)["status"]), view.holder)
    except (RunError, ValueError) as e:
        view, why = look(place), str(getattr(e, "message", e))
    if view.holder is None or not _stale(view.status):
        return view
    message = f"{why}; what is shown is of {view.status.updated}"
    return replace(view, silent=why, status=replace(view.status, message=message))


def currents(root: Path | None = None) -> list[JobView]:
    """All jobs as they are now: those are asked whose files say nothing new, as on a disk that is full, and those that have said last that
    they begin: whoever has begun one wants to see that it runs."""
    return [
        current(v.place, SHORT_SECONDS) if v.running and (_stale(v.status) or v.status.state == "CREATED") else v
        for v in views(root)
    ]


def _stale(status: Status) -> bool:
    try:
        age = time.time() - datetime.fromisoformat(status.updated).timestamp()
    except ValueError:  # it has said nothing yet
        return False
    return abs(age) > STALE_SECONDS


def until_ended(place: JobPlace, holder: Holder, each: Callable[[JobView], None] | None = None) -> JobView:
    """Waits until the process no longer has the job. `each` is told how it is, meanwhile."""
    while True:
        view = look(place)
        if view.holder is None or view.holder.owner not in ("", holder.owner):
            return view
        if each is not None:
            each(view)
        time.sleep(STEP)


def not_running(view: JobView) -> RunError:
    """That nobody runs a job, and how it ended."""
    state = view.status.state
    return RunError(
        f"job {view.place.name} is not running ({state})" + (f": {view.status.message}" if state == "LOST" else ""),
        hint=None if state == "FINISHED" else "the command that started it makes it go on",
    )


def _connect(view: JobView, holder: Holder, seconds: float) -> socket.socket:
    """To whatever listens for the job. That it is the right one, it says itself: requests name the lock's owner."""
    named = [Path(view.status.socket)] if view.status.socket else []
    reason = "nothing listens"
    for path in dict.fromkeys([*named, *places(view.place.directory)]):
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(seconds)
            connection.connect(str(path))
            if trusted(connection):
                return connection
            reason = f"another user listens at {path}"
        except OSError as e:
            if not isinstance(e, FileNotFoundError):
                reason = f"{path}: {e.strerror or e}"
        connection.close()
    raise _silent(view, reason)


def _answers(view: JobView, holder: Holder, seconds: float) -> bool:
    """Whether the process does: one that takes its time does, one that is halted does not."""
    with contextlib.suppress(OSError, RunError), contextlib.closing(_connect(view, holder, seconds)) as connection:
        connection.sendall(json.dumps({"version": VERSION, "request": "status"}).encode() + b"\n")
        return bool(connection.recv(1))
    return False


def _read(connection: socket.socket, view: JobView, holder: Holder, wait: bool) -> dict[str, Any]:
    """One line. While it waits, the answer may take any time."""
    received = bytearray()
    seconds = connection.gettimeout() or ANSWER_SECONDS
    while b"\n" not in received:
        try:
            data = connection.recv(1 << 16)
        except TimeoutError:
            if wait and _answers(view, holder, seconds):
                continue
            raise TimeoutError(0, f"no answer within {seconds:.0f} s") from None
        received += data
        if not data or len(received) > LONGEST:
            break
    try:
        answer = json.loads(bytes(received).partition(b"\n")[0])
    except (ValueError, RecursionError):
        answer = None
    if isinstance(answer, dict):
        return answer
    raise RunError(
        f"the process of job {view.place.name} ended before it answered"
        if not received
        else "its answer makes no sense"
    )


def _silent(view: JobView, reason: str) -> RunError:
    assert view.holder is not None
    h = view.holder
    if h.pid and not h.here:
        return RunError(f"job {view.place.name} is run by {h.text()}", hint=f"give this command on {h.host}")
    return RunError(
        f"job {view.place.name} is run by {h.text()}, which does not answer: {reason}",
        hint=f"kill -TERM {h.pid} stops it, with a last checkpoint; kill -CONT {h.pid} wakes it, if it is halted"
        if h.pid
        else None,
    )
