"""A job of a test: one script, run on a thread here (`Running`), or in a process of its own (`Process`), which is killed."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

from sqlstream.connectors.registry import CONNECTORS, connector_class
from sqlstream.contracts import Connector, Pending, known
from sqlstream.errors import RunError
from sqlstream.metrics.figures import JobFigures, OperatorFigures
from sqlstream.runtime.batch_job import BatchJob
from sqlstream.runtime.job import Job
from sqlstream.runtime.monitor import Monitor
from sqlstream.runtime.progress import Progress
from sqlstream.session import Session

PATIENCE = 30.0  # seconds that a job may take for what is expected of it
STEP = 0.01
# What a process begins with: it is forked of one that has these, since loading them takes longer than most tests.
LOADED = (
    "sqlstream.testing.jobs",
    "sqlstream.pipeline",
    "sqlstream.operators.kernels",
    "sqlstream.connectors.filesystem",
)


def named(connector: type[Connector]) -> None:
    """SQL of this process knows the connector, whether or not it is installed."""
    if connector_class(connector.name) is None:
        CONNECTORS[connector.name] = connector


class Running:
    """A script that runs until it is stopped. `slow`: seconds that it takes for an epoch at least.

    `unread`: what its sources had left, each time that they said it, at most.
    """

    def __init__(
        self, script: str, directory: Path, options: Mapping[str, str], connector: type[Connector], slow: float = 0.0
    ) -> None:
        named(connector)
        self.said: list[str] = []
        self.error: BaseException | None = None
        self.unread = Pending()
        self._script, self._slow = script, slow
        self._begun, self._done = threading.Event(), threading.Event()
        self._job: Job | BatchJob | None = None
        self._stopping = False
        self._session = Session(
            options=dict(options),
            working_directory=str(directory),
            on_progress=self._epoch,
            on_message=self.said.append,
            on_job=self._begins,
        )
        self._thread = threading.Thread(target=self._run, name="job of a test", daemon=True)
        self._thread.start()

    # ---- on its thread

    def _run(self) -> None:
        try:
            for _ in self._session.execute(self._script):
                continue
        except BaseException as e:  # whoever waits gets it
            self.error = e
        finally:
            self._done.set()
            self._begun.set()

    def _begins(self, job: Job | BatchJob) -> None:
        self._job = job
        if self._stopping:
            job.stop()
        self._begun.set()

    def _epoch(self, progress: Progress) -> None:
        if self._slow:
            left = known([s.pending() for w in self._workers for s in w.scans.values()])
            self.unread = Pending(_most(self.unread.records, left.records), _most(self.unread.bytes, left.bytes))
            time.sleep(self._slow)

    @property
    def _workers(self) -> list[Any]:
        return self._job._workers if isinstance(self._job, Job) else []

    # ---- on the test's

    @property
    def progress(self) -> Progress:
        """How far it is."""
        return Progress() if self._job is None else self._job.progress

    def figures(self) -> JobFigures:
        """Its metrics, as they are now."""
        assert isinstance(self._job, Job), "it does not run as a stream"
        for w in self._workers:  # the next epoch asks anew what is left
            w._asked = float("-inf")
        return Monitor(self._job).figures()

    def of_table(self, table: str) -> list[OperatorFigures]:
        """The metrics of what reads it, or writes to it, in each task."""
        return [o for o in self.figures().operators if o.name.endswith(f": {table}")]

    def until(self, true: Callable[[], object], seconds: float = PATIENCE) -> None:
        """Waits for it. Raises what makes the job fail meanwhile; RunError where it does not come."""
        end = time.monotonic() + seconds
        while not true():
            if self._done.is_set() and not true():
                raise self.error or RunError("the job has ended before")
            if time.monotonic() > end:
                raise RunError(f"what is waited for has not come in {seconds:.0f} s; the job has said: {self.said}")
            time.sleep(STEP)

    def failure(self, seconds: float = PATIENCE) -> BaseException:
        """What makes it fail. RunError where nothing does."""
        if not self._done.wait(seconds) or self.error is None:
            raise RunError(f"the job has not failed in {seconds:.0f} s; it has said: {self.said}")
        return self.error

    def stop(self) -> None:
        """It ends in good order; raises what has made it fail."""
        self._stopping = True
        if self._job is not None and not self._done.is_set():
            self._job.stop()
        if not self._done.wait(PATIENCE):
            raise RunError(f"the job has not ended in {PATIENCE:.0f} s")
        self._thread.join()
        if self.error is not None:
            raise self.error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.stop()
            return
        self._stopping = True
        if self._job is not None:
            self._job.stop()
        self._done.wait(PATIENCE)


def _most(a: int | None, b: int | None) -> int | None:
    return max((n for n in (a, b) if n is not None), default=None)


class Process:
    """The same in a process of its own."""

    def __init__(self, script: str, directory: Path, options: Mapping[str, str], connector: type[Connector]) -> None:
        how = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
        context: Any = multiprocessing.get_context(how)
        if how == "forkserver":
            context.set_forkserver_preload(list(LOADED))
        self._log = directory / "process.log"
        self._process = context.Process(
            target=_run, args=(script, str(directory), dict(options), connector, str(self._log)), daemon=True
        )
        self._process.start()

    def until(self, true: Callable[[], object], seconds: float = PATIENCE) -> None:
        """Waits for it. RunError, with what the process has said, where it does not come."""
        end = time.monotonic() + seconds
        while not true():
            if not self._process.is_alive() and not true() or time.monotonic() > end:
                said = self._log.read_text() if self._log.exists() else ""
                raise RunError(f"what is waited for has not come in {seconds:.0f} s; the process has said: {said}")
            time.sleep(STEP)

    def kill(self) -> None:
        """SIGKILL; it returns when the process is gone."""
        self._process.kill()
        self._process.join()


def _run(script: str, directory: str, options: dict[str, str], connector: type[Connector], log: str) -> None:
    named(connector)
    with open(log, "a", buffering=1) as file:
        os.dup2(file.fileno(), 2)

        def say(text: str) -> None:
            print(text, file=file)

        try:
            for _ in Session(options=options, working_directory=directory, on_message=say).execute(script):
                continue
        except BaseException as e:
            say(f"{type(e).__name__}: {e}")
            raise
