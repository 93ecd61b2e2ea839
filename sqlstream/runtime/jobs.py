"""Jobs seen from outside: what their directories say, checked against who holds their locks."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path

from sqlstream.checkpoint.lock import LOCK, Holder, holder
from sqlstream.errors import OptionError, SqlStreamError, did_you_mean
from sqlstream.own_files import from_json, read_text
from sqlstream.runtime.directory import STATE_FILE, JobState, safe_name
from sqlstream.runtime.registry import entries
from sqlstream.runtime.status import Status, read_status

LOST = "LOST"  # the process ended without a word: killed, or its machine went down
UNKNOWN = "UNKNOWN"  # nothing that can be read
LOCAL = ".sqlstream"
_ACTIVE = ("CREATED", "RUNNING", "RESTARTING")
_ENDING = {"CANCELED": "CANCELLING", "FAILED": "FAILING"}  # Flink's names


@dataclass(frozen=True)
class JobPlace:
    """A job's name, and its directory as an absolute path."""

    name: str
    directory: Path


@dataclass(frozen=True)
class JobView:
    """How a job is. `holder`: the process that runs it, None when none does. `status.state` is true: LOST where the last word
    is that it runs, and it does not. `silent`: why nothing newer is known of it, where its process was asked."""

    place: JobPlace
    status: Status
    holder: Holder | None
    silent: str = ""
    checkpoints: str = ""  # where the last run's are, as its record says; relative to the directory when they are in it

    @property
    def checkpoints_elsewhere(self) -> bool:
        """Whether they are in an object store."""
        return "://" in self.checkpoints

    @property
    def running(self) -> bool:
        """Whether a process has it."""
        return self.holder is not None


def look(place: JobPlace) -> JobView:
    """A job by its files. Nothing in them is believed that the lock does not bear out. RunError: it cannot be asked."""
    found = _held(place.directory)
    status = read_status(place.directory)
    record = _record(place.directory)
    if status is None or (found is None and record is not None and record.state not in _ACTIVE):
        # job.json outlives a status that could not be written: it is synced, and says how a run ended
        state = UNKNOWN if record is None else record.state
        message = None if record is None or not record.message else record.message
        status = replace(status or Status(place.name, state), state=state, message=message or _message(status))
    if found is not None and found.owner and status.owner != found.owner:
        status = Status(place.name, "CREATED", found.owner, found.pid, found.host)  # its first word is not written yet
    elif found is None and status.state in _ACTIVE:
        status = replace(status, state=LOST, message=_lost(status))
    return replace(seen(place, status, found), checkpoints="" if record is None else record.checkpoints)


def seen(place: JobPlace, status: Status, found: Holder | None) -> JobView:
    """A view of what a job says; while a process has it, it has not ended yet."""
    state = status.state if found is None else _ENDING.get(status.state, status.state)
    return JobView(place, replace(status, job=place.name, state=state), found)


def _message(status: Status | None) -> str | None:
    return None if status is None else status.message


def _lost(status: Status) -> str:
    if not status.pid:
        return "no process runs it, and the last one did not say that it ended"
    last = f"process {status.pid} on {status.host} did, until {status.updated}"
    return f"no process runs it: {last}; it was killed, or its machine was, or this is a copy"


def _held(directory: Path) -> Holder | None:
    try:
        return holder(directory)
    except OSError as e:
        raise OptionError(f"the lock of the job cannot be asked: {directory / LOCK}: {e.strerror}") from None


def _record(directory: Path) -> JobState | None:
    try:
        state: JobState = from_json(JobState, json.loads(read_text(directory / STATE_FILE)))
        return state
    except (OSError, ValueError, RecursionError):
        return None


def is_job(directory: Path) -> bool:
    """Whether a job has run in a directory."""
    return any((directory / name).is_file() for name in (STATE_FILE, LOCK))


def jobs(root: Path | None = None) -> list[JobPlace]:
    """All jobs of the user that are known: those that were started, wherever, and those in `.sqlstream` below `root`."""
    found = {Path(e.directory): JobPlace(Path(e.directory).name, Path(e.directory)) for e in entries()}
    here = (root or Path.cwd()) / LOCAL
    if here.is_dir():
        for directory in here.iterdir():
            place = _real(directory)
            found.setdefault(place, JobPlace(place.name, place))
    return sorted((p for p in found.values() if is_job(p.directory)), key=lambda p: (p.name, str(p.directory)))


def find_job(text: str, root: Path | None = None) -> JobPlace:
    """The job that somebody names: by its name, or by the path of its directory. OptionError: none, or several."""
    if not text.strip() or "\0" in text:
        raise OptionError(f"{text!r} is no job's name")
    if os.sep in text or text in (".", ".."):
        try:
            return _at((root or Path.cwd()) / text, text)
        except OptionError:
            if not any(p.name == safe_name(text) for p in jobs(root)):
                raise
    known = jobs(root)
    same = [p for p in known if p.name in (text, safe_name(text))]
    if len(same) > 1:
        here = _real((root or Path.cwd()) / LOCAL)
        places = "\n".join(f"  {p.directory}" + (" (here)" if p.directory.parent == here else "") for p in same)
        raise OptionError(
            f"there are {len(same)} jobs named '{text}':\n{places}", hint="give the path of the one you mean"
        )
    if same:
        return same[0]
    raise OptionError(f"no job '{text}'", hint=did_you_mean(text, [p.name for p in known], "jobs"))


def _at(path: Path, text: str) -> JobPlace:
    """The job of a directory, or the only one in `.sqlstream` below it."""
    if is_job(path):
        return JobPlace(_real(path).name, _real(path))
    below = [p for p in jobs(path) if p.directory.parent == _real(path / LOCAL)]
    if len(below) == 1:
        return below[0]
    if below:
        raise OptionError(
            f"{text} has several jobs: {', '.join(p.name for p in below)}", hint=f"name one: {below[0].directory}"
        )
    raise OptionError(f"there is no job in {text}", hint="a job's directory has a file job.json")


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))


def views(root: Path | None = None) -> list[JobView]:
    """All jobs, as they are. One whose lock cannot be asked is shown with the reason."""
    found = []
    for place in jobs(root):
        try:
            found.append(look(place))
        except SqlStreamError as e:
            found.append(JobView(place, Status(place.name, UNKNOWN, message=e.message), None))
    return found
