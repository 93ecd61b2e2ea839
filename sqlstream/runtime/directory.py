"""A durable job's directory: the lock, which run is current, and what became of it.

    <dir>/lock             held by the process that runs the job
    <dir>/job.json         the current run and its state
    <dir>/manifest.json    the last checkpoint's manifest once more, should the store lose it: without the positions
                           in it nobody knows how far the published output goes
    <dir>/work/            state files of the process that runs it; what a killed one left goes at the next start
    <dir>/runs/<run>/      the run's checkpoints (under execution.checkpointing.dir where that is set)

`--fresh` begins a new run; the old run's checkpoints stay until the new one has its first.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path

from sqlstream.checkpoint.lock import JobLock
from sqlstream.checkpoint.storage import CheckpointStorage
from sqlstream.errors import CheckpointError, OptionError, RunError
from sqlstream.secrets import redacted
from sqlstream.stores import ENVIRONMENT, Stores

STATE_FILE = "job.json"
MANIFEST_FILE = "manifest.json"


@dataclass(frozen=True)
class JobState:
    """`state`: RUNNING, FINISHED, CANCELED (stopped by the user) or FAILED, Flink's names."""

    job: str
    run: str
    state: str = "RUNNING"
    checkpoints: str = ""
    message: str = ""


class JobDirectory:
    def __init__(self, job: str, path: Path, checkpoints: str, stores: Stores = ENVIRONMENT) -> None:
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
        self._lock = JobLock(path, job)

    def acquire(self) -> None:
        """JobLocked names the process that has it."""
        self._lock.acquire()

    def release(self) -> None:
        self._lock.release()

    def work(self) -> Path:
        """A new, empty directory for the process's state files. On the disk of the checkpoints, not on /tmp: a state
        file becomes one of a checkpoint without a copy, and a process that is killed leaves no litter. Under the lock."""
        place = self.path / "work"
        try:
            if place.exists():
                shutil.rmtree(place)
            place.mkdir()
        except OSError as e:
            raise RunError(f"the job's work directory cannot be made: {place}: {e.strerror}") from None
        return place

    def forget_work(self) -> None:
        shutil.rmtree(self.path / "work", ignore_errors=True)

    def read(self, broken: bool = False) -> JobState | None:
        """The state that the last run left; None when there was none, or (`broken`) when it cannot be read."""
        file = self.path / STATE_FILE
        try:
            return JobState(**json.loads(file.read_text()))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError) as e:
            if broken:
                return None
            raise CheckpointError(
                f"the job's state cannot be read: {file}: {e}", hint="run with --fresh to start anew"
            ) from None

    def write(self, state: JobState) -> None:
        file = self.path / STATE_FILE
        temporary = file.with_suffix(".tmp")
        try:
            with open(temporary, "w") as f:
                f.write(json.dumps(asdict(state), indent=2) + "\n")
                f.flush()
                os.fsync(f.fileno())
            os.replace(temporary, file)
        except OSError as e:
            raise RunError(f"the job's state cannot be written: {file}: {e.strerror}") from None

    def keep_manifest(self, text: str) -> None:
        """Before a checkpoint's output is published. Not synced: it is the second copy."""
        file = self.path / MANIFEST_FILE
        temporary = file.with_suffix(".tmp")
        try:
            temporary.write_text(text)
            os.replace(temporary, file)
        except OSError as e:
            raise RunError(f"the checkpoint's manifest cannot be written: {file}: {e.strerror}") from None

    def kept_manifest(self) -> str | None:
        try:
            return (self.path / MANIFEST_FILE).read_text()
        except (OSError, ValueError):
            return None

    def forget_runs(self, state: JobState) -> None:
        """The checkpoints of runs before this one, when it has its own. Errors are left to the next time."""
        runs = CheckpointStorage(self.place(state).rpartition("/")[0], self.stores)
        with contextlib.suppress(CheckpointError):
            old = {f.name.partition("/")[0] for f in runs.files()} - {state.run}
            for run in old:
                runs.delete([f.name for f in runs.files(run)])
                if (place := runs.local_path(run)) is not None:
                    shutil.rmtree(place, ignore_errors=True)

    def new_run(self) -> JobState:
        run = uuid.uuid4().hex[:8]
        return JobState(self.job, run, "RUNNING", redacted(f"{self.checkpoints}/runs/{run}"))

    def place(self, state: JobState) -> str:
        """Where the run's checkpoints are, with the password that the file does not have."""
        return state.checkpoints if self.moved(state) else f"{self.checkpoints}/runs/{state.run}"

    def moved(self, state: JobState) -> bool:
        """Whether the run's checkpoints are elsewhere than the options say now."""
        return redacted(f"{self.checkpoints}/runs/{state.run}") != state.checkpoints


def locate(name: str | None, checkpoint_dir: str | None, ordinal: int, root: str = ".") -> tuple[str, Path, str] | None:
    """(job, directory, checkpoint URL) of a durable job; None when neither a name nor a directory is set.

    `ordinal`: which job of its script this is; the second and later ones get it as a suffix.
    """
    if name is None and checkpoint_dir is None:
        return None
    if name is not None and not name.strip():
        raise OptionError("option 'pipeline.name' is empty", hint="RESET 'pipeline.name' makes the job nameless")
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
