"""A job's savepoints: asked for from any thread, taken with a checkpoint of the job's, written beside it.

A request waits for a checkpoint that begins after it. When that is complete, and its output is published, its files are
held against the sweep, and the savepoint is written from them in the background while the job goes on. A stop WITH SAVEPOINT
is the same, but that no epoch follows until it is written: should that fail, the job goes on as if nothing had been asked.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlstream.checkpoint.coordinator import CheckpointCoordinator
from sqlstream.checkpoint.manifest import Manifest
from sqlstream.checkpoint.storage import CheckpointStorage
from sqlstream.errors import CheckpointError, OptionError, RunError, SqlStreamError
from sqlstream.options import SessionOptions
from sqlstream.runtime.directory import JobDirectory
from sqlstream.runtime.jobs import JobView
from sqlstream.runtime.run import Run
from sqlstream.savepoint.reader import SavedRows
from sqlstream.savepoint.record import MANUAL, METADATA, PERIODIC, STOP, Savepoint
from sqlstream.savepoint.writer import delete_savepoint, named, write_savepoint
from sqlstream.secrets import shown_value
from sqlstream.stores import ENVIRONMENT, Stores
from sqlstream.threads import Threads

DIRECTORY = "execution.checkpointing.savepoint-dir"


@dataclass(eq=False)
class Request:
    """Somebody wants a savepoint in `directory`, or (None) a checkpoint. `number`: the checkpoint that it will be made of,
    once it has begun."""

    directory: str | None
    origin: str
    drain: bool = False
    number: int | None = None
    future: Future[Any] = field(default_factory=Future)


class Savepoints:
    """Those of one job. `now`: seconds of the clock that periodic ones go by; `say` is told what becomes of those."""

    def __init__(
        self, job: JobDirectory, options: SessionOptions, now: Callable[[], float], say: Callable[[str], object]
    ) -> None:
        self._job, self._options, self._now, self._say = job, options, now, say
        self._lock = threading.Lock()
        self._requests: list[Request] = []  # that are not written yet
        self._ending: Request | None = None
        self._background: Threads | None = None
        self._canceled = threading.Event()
        self._last = now()
        self._refused: str | None = None  # why nothing more is taken
        if options.savepoint_interval:
            self._directory(None)  # said now, and not when the first one is due

    # ---- from any thread

    def ask(self, directory: str | None = None, origin: str = MANUAL, drain: bool = False) -> Future[Savepoint]:
        """A savepoint in `directory` (None or "": where the option says). OptionError when nobody says where."""
        request = Request(self._directory(directory), origin, drain)
        with self._lock:
            if self._refused is not None:
                raise RunError(self._refused)
            if origin == STOP and self._stopping() is not None:
                raise RunError(f"job {self._job.job} is being stopped with a savepoint already")
            self._requests.append(request)
        return request.future

    def ask_checkpoint(self) -> Future[int]:
        """The number of a checkpoint that is taken now, when it is complete and its output published."""
        request = Request(None, MANUAL)
        with self._lock:
            if self._refused is not None:
                raise RunError(self._refused)
            self._requests.append(request)
        return request.future

    def _directory(self, given: str | None) -> str:
        return savepoint_directory(given, self._options, self._job)

    def cancel(self) -> None:
        """The job is to end at once: what is being written is given up."""
        self._canceled.set()

    def _check(self) -> None:
        if self._canceled.is_set():
            raise RunError(f"job {self._job.job} was canceled")

    # ---- for the job's loop

    @property
    def waiting(self) -> bool:
        """Whether a checkpoint is wanted for one. Here periodic ones come up, too."""
        interval = self._options.savepoint_interval
        if interval and (self._now() - self._last) * 1e6 >= interval and not self._requests:
            self._last = self._now()
            with self._lock:
                self._requests.append(Request(self._directory(None), PERIODIC))
        with self._lock:
            return any(self._waits(r) for r in self._requests)

    @property
    def stopping(self) -> Request | None:
        """The request after which the job is to end; from now on a checkpoint may begin for it."""
        with self._lock:
            self._ending = self._stopping()
            return self._ending

    def _waits(self, request: Request) -> bool:
        """Whether the checkpoint that begins now is for it: that of a stop ends an epoch that reads nothing."""
        return request.number is None and (request.origin != STOP or request is self._ending)

    def _stopping(self) -> Request | None:
        return next((r for r in self._requests if r.origin == STOP), None)

    def begun(self, number: int) -> None:
        """A checkpoint begins: who has asked so far gets what it has."""
        with self._lock:
            for r in self._requests:
                if self._waits(r):
                    r.number = number

    def completed(self, run: Run, manifest: Manifest) -> None:
        """A checkpoint is complete, and its output is published."""
        for r in self._of(manifest.checkpoint_id):
            if r.directory is None:
                self._settle(r, manifest.checkpoint_id)
                continue
            if manifest.metrics.get("finished"):
                self._settle(r, error=RunError(f"job {self._job.job} has finished, and keeps no state"))
                continue
            release = run.coordinator.hold(manifest.files())
            if self._background is None:
                self._background = Threads(1, "savepoint")
            self._background.submit(self._write, r, r.directory, run, manifest, release)

    def failed(self, number: int, error: BaseException) -> None:
        """A checkpoint failed, and with it the savepoints that were to be made of it."""
        for r in self._of(number):
            self._settle(r, error=error)

    def interrupt(self, why: str) -> None:
        """An attempt of the job has ended: what is being written is waited for. Those fail whose checkpoint will not be
        complete; who still waits for one to begin gets it of the next attempt."""
        if self._background is not None:
            self._background.close()
            self._background = None
        for r in list(self._requests):
            if r.number is not None:
                self._settle(r, error=RunError(why))

    def close(self, why: str) -> None:
        """The job has ended: nothing else is taken."""
        with self._lock:
            self._refused = why
        self.interrupt(why)
        for r in list(self._requests):
            self._settle(r, error=RunError(why))

    # ---- the background

    def _write(
        self, request: Request, directory: str, run: Run, manifest: Manifest, release: Callable[[], None]
    ) -> None:
        try:
            work = run.directory.path / "work" / "savepoint"
            made = write_savepoint(
                run.storage, manifest, directory, request.origin, work, run.directory.stores, self._check
            )
        except BaseException as e:
            self._settle(request, error=e)
        else:
            self._settle(request, made)
            if request.origin == PERIODIC:
                self._forget_old(directory, made)
        finally:
            release()

    def _forget_old(self, directory: str, newest: Savepoint) -> None:
        """Of this run's periodic savepoints those go that are more than wanted, the oldest first."""
        try:
            found = periodic(directory, newest, self._job)
            for old in found[: max(0, len(found) - self._options.savepoint_retained)]:
                delete_savepoint(old.path, old.record, self._job.stores)
        except SqlStreamError as e:
            self._say(f"warning: old periodic savepoints were not deleted: {e.message}")

    # ---- both

    def _of(self, number: int) -> list[Request]:
        with self._lock:
            return [r for r in self._requests if r.number == number]

    def _settle(
        self, request: Request, made: Savepoint | int | None = None, error: BaseException | None = None
    ) -> None:
        with self._lock:
            if request not in self._requests:
                return
            self._requests.remove(request)
        if made is not None:
            if isinstance(made, Savepoint):
                self._say(f"savepoint {made.path} of checkpoint {made.checkpoint_id}")
            request.future.set_result(made)
            return
        assert error is not None
        if request.directory is not None:
            self._say(f"warning: the savepoint in {request.directory} failed: {getattr(error, 'message', error)}")
        request.future.set_exception(error)


def savepoint_directory(given: str | None, options: SessionOptions, job: JobDirectory) -> str:
    """Where a savepoint goes, in full. OptionError when neither who asks nor the options say it."""
    named = given or options.savepoint_dir
    if not named:
        raise OptionError(
            "where is the savepoint to be written?",
            hint=f"name a directory, or SET '{DIRECTORY}' = '…' when the job is started",
        )
    place = job.resolved(named)
    if job.deletes(place):
        raise OptionError(
            f"a savepoint in {shown_value('', place)} would be deleted with the job's checkpoints",
            hint="name a directory of its own, such as 'savepoints'",
        )
    return place


def periodic(directory: str, newest: Savepoint, job: JobDirectory) -> list[Savepoint]:
    """The complete periodic savepoints of one run in a directory, oldest first."""
    parent = CheckpointStorage(directory, job.stores)
    ours = f"savepoint-{named(newest.record.job_name)}-{newest.record.run_id}-"
    found = []
    for f in parent.files():
        folder, _, name = f.name.partition("/")
        if folder.startswith(ours) and name == METADATA:
            place = f"{directory.rstrip('/')}/{folder}"
            record = SavedRows(place, Path("."), job.stores).record
            if record.origin == PERIODIC:
                found.append(Savepoint(place, record))
    return sorted(found, key=lambda s: (s.record.checkpoint_id, s.record.created))


def directory_of(
    view: JobView, checkpoint_dir: str | None, stores: Stores = ENVIRONMENT, root: str = "."
) -> JobDirectory:
    """The directory of a job that is seen from outside. `checkpoint_dir`: the option, which says where its checkpoints are
    when they are not there. OptionError when they are not, and it says nothing."""
    place = view.place
    if checkpoint_dir is None and view.checkpoints_elsewhere:
        raise OptionError(
            f"the checkpoints of job {place.name} are elsewhere: {view.checkpoints}",
            hint="say where by execution.checkpointing.dir, as when the job is started",
        )
    remote = checkpoint_dir is not None and "://" in checkpoint_dir and not checkpoint_dir.startswith("file://")
    url = f"{checkpoint_dir}".rstrip("/") + f"/{place.name}" if remote else str(place.directory.resolve())
    return JobDirectory(place.name, place.directory, url, stores, root)


def savepoint_of(job: JobDirectory, given: str | None, options: SessionOptions) -> Savepoint:
    """A savepoint of the last checkpoint of a job that does not run; under its lock.

    CheckpointError when there is none to be made of, JobLocked when the job runs.
    """
    with job.locked():
        state = job.read()
        if state is None:
            raise CheckpointError(f"job {job.job} has never run here: {job.path} has no checkpoint")
        directory = savepoint_directory(given, options, job)
        storage = CheckpointStorage(job.place(state), job.stores)
        found = CheckpointCoordinator(storage, f"{state.job}/{state.run}").latest()
        if found is None:
            raise CheckpointError(f"job {job.job} has no checkpoint that a savepoint could be made of")
        manifest = found.manifest
        if manifest.metrics.get("finished"):
            raise CheckpointError(
                f"job {job.job} has finished, and keeps no state that a savepoint could be made of",
                hint="a job that goes on later is stopped, before its input ends",
            )
        if any(manifest.sinks.values()) and state.published < manifest.checkpoint_id:
            raise CheckpointError(
                f"the output of checkpoint {manifest.checkpoint_id} of job {job.job} may not be published yet: it ended in "
                "the middle of that",
                hint="run the job once more: it publishes that first; then stop it with a savepoint",
            )
        work = job.work() / "savepoint"
        try:
            return write_savepoint(storage, manifest, directory, MANUAL, work, job.stores)
        finally:
            job.forget_work()
