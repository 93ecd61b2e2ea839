"""A durable job's directory: the lock, which run is current, and what became of it.

    <dir>/lock             held by the process that runs the job
    <dir>/job.json         the current run and its state
    <dir>/manifest.json    the manifest of the checkpoint whose output is being published, or was last, once more:
                           should the store lose it, nobody knows how far the published output goes
    <dir>/checkpoints.jsonl, failures.jsonl    what became of its checkpoints and attempts (`checkpoint/history.py`)
    <dir>/work/            state files of the process that runs it; what a killed one left goes at the next start
    <dir>/copies/          copies of state files whose checkpoints are elsewhere, if wanted (`local_copies.py`)
    <dir>/runs/<run>/      the run's checkpoints (under execution.checkpointing.dir where that is set)

`--fresh` begins a new run; the old run's checkpoints stay until the new one has its first. Nothing in job.json says
where anything is: that follows from the options and the run's name, so a copied directory writes into itself, and a
job.json that somebody else wrote leads nowhere.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path

from sqlstream.checkpoint.local_copies import COPIES
from sqlstream.checkpoint.lock import JobLock
from sqlstream.checkpoint.storage import CheckpointStorage
from sqlstream.errors import CheckpointError, OptionError, RunError
from sqlstream.own_files import LARGE, OwnDirectory, from_json, read_text, replace_text
from sqlstream.secrets import shown_value
from sqlstream.stores import ENVIRONMENT, Stores

STATE_FILE = "job.json"
MANIFEST_FILE = "manifest.json"
RUNS = "runs"
STATES = ("RUNNING", "RESTARTING", "FINISHED", "CANCELED", "FAILED")
_RUN = re.compile(r"[0-9a-f]{8}")


@dataclass(frozen=True)
class JobState:
    """`state`: RUNNING, RESTARTING (it failed, and `message` says why and when the next attempt begins), FINISHED, CANCELED
    (stopped by the user) or FAILED, Flink's names.

    `checkpoints`: where they are, for people. `published`: the last checkpoint whose output is known to be published.
    """

    job: str
    run: str
    state: str = "RUNNING"
    checkpoints: str = ""
    message: str = ""
    published: int = 0

    def __post_init__(self) -> None:
        if not _RUN.fullmatch(self.run) or self.state not in STATES or self.published < 0:
            raise ValueError(f"run {self.run!r}, state {self.state!r}, published {self.published}")


class JobDirectory:
    """`checkpoints`: the URL or path under which the runs' checkpoints are; `path` itself when they are local. `root`:
    what relative paths of the job's options are relative to."""

    def __init__(self, job: str, path: Path, checkpoints: str, stores: Stores = ENVIRONMENT, root: str = ".") -> None:
        self.root = root
        self.job = job
        self.path = path
        self.checkpoints = checkpoints.rstrip("/")
        self.stores = stores
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as e:
            raise RunError(
                f"the job's directory cannot be made: {path}: {e.strerror}",
                hint="choose another with 'execution.checkpointing.dir', or run where you may write",
            ) from None
        self._own = OwnDirectory(str(path))
        self._local = self.checkpoints == str(path.resolve())
        self._lock = JobLock(path, job)

    def resolved(self, place: str) -> str:
        """A directory that a user names, in full: a URL as it is, a path from `root`, where the job's statement stands."""
        return resolved(place, self.root)

    def deletes(self, place: str) -> bool:
        """Whether a directory (as `resolved` gives it) is one that the engine clears away, or in one."""
        own = [str(self.path.resolve() / name) for name in ("work", COPIES)]
        return any(f"{place}/".startswith(f"{p}/") for p in (*own, f"{self.checkpoints}/{RUNS}"))

    def locked(self) -> JobLock:
        """A context for all that a run does. JobLocked, when it is entered, names the process that has the lock."""
        return self._lock

    def work(self) -> Path:
        """A new, empty directory for the process's state files. Under the lock; LockLost when that is no longer held.

        On the disk of the checkpoints, not on /tmp: a state file becomes one of a checkpoint without a copy, and a
        process that is killed leaves no litter.
        """
        place = self.path / "work"
        self._lock.check()
        try:
            self._own.remove_tree("work")
            place.mkdir()
        except OSError as e:
            raise RunError(f"the job's work directory cannot be made: {place}: {e.strerror}") from None
        return place

    def forget_work(self) -> None:
        """The work directory goes; not that of another process, which has the job's directory since."""
        with contextlib.suppress(OSError):
            if self._lock.held:
                self._own.remove_tree("work")

    def forget_copies(self) -> None:
        """The local copies of state files go."""
        with contextlib.suppress(OSError):
            self._own.remove_tree(COPIES)

    def read(self, broken: bool = False, gone: bool = False) -> JobState | None:
        """The state that the last run left; None when there was none, or (`broken`) when it cannot be read.

        CheckpointError when it is gone while its checkpoints are there, unless the caller sees to that (`gone`): to begin
        anew would write all output again.
        """
        file = self.path / STATE_FILE
        try:
            state: JobState = from_json(JobState, json.loads(read_text(file)))
            if state.job != self.job:
                raise ValueError(f"it is that of job {state.job!r}")
            return state
        except FileNotFoundError:
            if broken or gone or not self._has_checkpoints():
                return None
            raise CheckpointError(
                f"the job's state is gone, but it has checkpoints: there is no {file}, and there are files in "
                f"{shown_value('', self.checkpoints)}/{RUNS}",
                hint=f"restore {STATE_FILE} from a backup; --fresh starts anew, and writes all rows again",
            ) from None
        except OSError as e:  # a right may be given, a disk may come back
            if broken:
                return None
            raise CheckpointError(f"the job's state cannot be read: {file}: {e.strerror}") from e
        except (ValueError, RecursionError) as e:
            if broken:
                return None
            raise CheckpointError(
                f"the job's state cannot be read: {file}: {e}", hint="run with --fresh to start anew"
            ) from None

    def _has_checkpoints(self) -> bool:
        return (self.path / MANIFEST_FILE).exists() or bool(self._runs().files())

    def write(self, state: JobState) -> None:
        """Writes the record, safe against a crash of the machine. LockLost when it would be another process's."""
        file = self.path / STATE_FILE
        self._lock.check()
        try:
            replace_text(file, json.dumps(asdict(state), indent=2) + "\n")
        except OSError as e:
            full = "free space on that disk" if e.errno in (errno.ENOSPC, errno.EDQUOT) else None
            raise RunError(f"the job's state cannot be written: {file}: {e.strerror}", hint=full) from e

    def keep_manifest(self, text: str) -> None:
        """Before a checkpoint's output is published. Not synced: it is the second copy. LockLost: nothing is to be
        published by this process."""
        file = self.path / MANIFEST_FILE
        self._lock.check()
        try:
            replace_text(file, text, sync=False)
        except OSError as e:
            full = "free space on that disk" if e.errno in (errno.ENOSPC, errno.EDQUOT) else None
            raise RunError(f"the checkpoint's manifest cannot be written: {file}: {e.strerror}", hint=full) from e

    def kept_manifest(self) -> str | None:
        """The copy; None when there is none that can be read."""
        try:
            return read_text(self.path / MANIFEST_FILE, LARGE)
        except (OSError, ValueError):
            return None

    def forget_manifest(self) -> None:
        """The copy goes."""
        with contextlib.suppress(OSError):
            self._own.remove(MANIFEST_FILE)

    def forget_runs(self, state: JobState) -> None:
        """The checkpoints of runs before this one, when it has its own. Errors are left to the next time."""
        with contextlib.suppress(RunError, OSError):
            if self._local:
                for name in os.listdir(self.path / RUNS):
                    if _RUN.fullmatch(name) and name != state.run:
                        self._own.remove_tree(f"{RUNS}/{name}")
                return
            runs = self._runs()
            names = [f.name for f in runs.files()]
            runs.delete([n for n in names if _RUN.fullmatch(n.partition("/")[0]) and n.partition("/")[0] != state.run])

    def new_run(self) -> JobState:
        """The record of a run that begins."""
        run = uuid.uuid4().hex[:8]
        return JobState(self.job, run, "RUNNING", self.shown(run))

    def place(self, state: JobState) -> str:
        """Where the run's checkpoints are, with the password that no file has."""
        if self._local:
            self._own.place(f"{RUNS}/{state.run}/shared")  # not by a link to elsewhere
        return f"{self.checkpoints}/{RUNS}/{state.run}"

    def shown(self, run: str) -> str:
        """Where a run's checkpoints are, as the record says it: relative to the directory when they are in it."""
        return f"{RUNS}/{run}" if self._local else shown_value("", f"{self.checkpoints}/{RUNS}/{run}")

    def _runs(self) -> CheckpointStorage:
        return CheckpointStorage(f"{self.checkpoints}/{RUNS}", self.stores)


def resolved(place: str, root: str) -> str:
    """A directory that a user names, in full: a URL as it is, a path from `root`."""
    if "://" in place and not place.startswith("file://"):
        return place.rstrip("/")
    return str((Path(root) / place.removeprefix("file://")).resolve())


def locate(name: str | None, checkpoint_dir: str | None, ordinal: int, root: str = ".") -> tuple[str, Path, str] | None:
    """(job, directory, checkpoint URL) of a durable job; None when neither a name nor a directory is set.

    `ordinal`: which job of its script this is; the second and later ones get it as a suffix.
    """
    if name is None and checkpoint_dir is None:
        return None
    if name is not None and not name.strip():
        raise OptionError("option 'pipeline.name' is empty", hint="RESET 'pipeline.name' makes the job nameless")
    if checkpoint_dir is not None and not checkpoint_dir.strip():
        raise OptionError("option 'execution.checkpointing.dir' is empty", hint="name a directory, or leave it out")
    suffix = "" if ordinal == 0 else f"-{ordinal + 1}"
    if name is not None:
        job = safe_name(name) + suffix
    else:
        assert checkpoint_dir is not None
        job = "job-" + hashlib.sha256(checkpoint_dir.encode()).hexdigest()[:8] + suffix
    local = Path(root) / ".sqlstream" / job
    if checkpoint_dir is None:
        return job, local, str(local.resolve())
    if "://" in checkpoint_dir and not checkpoint_dir.startswith("file://"):
        return job, local, f"{checkpoint_dir.rstrip('/')}/{job}"
    place = Path(checkpoint_dir.removeprefix("file://"))
    place = place if place.is_absolute() else Path(root) / place
    return job, place / job, str((place / job).resolve())


def safe_name(name: str) -> str:
    """A name that may be a file's: what is not a letter, digit, `-`, `_` or `.` becomes `_` and a hash is added."""
    plain = "".join(c if c.isalnum() and c.isascii() or c in "-_" else "_" for c in name)[:60]
    return plain if plain == name else f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"
