"""Jobs that run beside the program: `connection.submit(sql)` gives a handle for each.

A job has a session of its own, with the catalog and options of then, and a thread. It belongs to the connection: `close`
of that, and the end of the interpreter, stop it; a durable one takes a last checkpoint, and goes on from it when its
statement is submitted again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqlstream.dbapi.names import FetchTimeout, mapped, not_supported
from sqlstream.dbapi.parameters import Parameters, bind_parameters
from sqlstream.errors import Canceled, SqlStreamError
from sqlstream.runtime.progress import Progress
from sqlstream.session import Session
from sqlstream.sql import statements as st

if TYPE_CHECKING:
    from sqlstream.runtime.batch_job import BatchJob
    from sqlstream.runtime.job import Job as RunningJob
    from sqlstream.savepoint.record import Savepoint

_STEP = 0.1  # seconds of one wait: Ctrl-C gets through between two
ENDED = ("FINISHED", "CANCELED", "FAILED")


class Job:
    """An INSERT, or a statement set, that runs. All methods may be called from any thread."""

    def __init__(self, name: str, run: Callable[[Callable[[RunningJob | BatchJob], None]], None]) -> None:
        self._name = name
        self._job: RunningJob | BatchJob | None = None
        self._begun = threading.Event()  # it runs, or has failed before
        self._done = threading.Event()
        self._error: BaseException | None = None
        self._stopped = False
        self._thread = threading.Thread(target=self._body, args=(run,), name=f"job {name}", daemon=True)
        self._thread.start()
        while not self._begun.wait(_STEP):
            continue
        if self._job is None and self._error is not None:
            raise self._error

    def _body(self, run: Callable[[Callable[[RunningJob | BatchJob], None]], None]) -> None:
        def begins(job: RunningJob | BatchJob) -> None:
            self._job = job
            self._begun.set()
            if self._stopped:
                job.stop()

        try:
            with mapped():
                run(begins)
        except BaseException as e:
            self._error = e
        self._done.set()
        self._begun.set()

    # ---- what it does

    @property
    def name(self) -> str:
        """The name of a durable job (pipeline.name), else 'insert'."""
        return self._name if self._job is None else self._job.name

    @property
    def status(self) -> str:
        """CREATED, RUNNING, RESTARTING; in the end FINISHED, CANCELED or FAILED."""
        if not self._done.is_set():
            state = self.progress.state
            return "RUNNING" if state in ENDED else state
        if self._error is not None:
            return "CANCELED" if self._was_canceled else "FAILED"
        return self.progress.state if self._job is not None else "FINISHED"

    @property
    def progress(self) -> Progress:
        """What it has done so far (`sqlstream.runtime.progress.Progress`): a copy of now."""
        return Progress() if self._job is None else replace(self._job.progress)

    def metrics(self) -> dict[str, Any]:
        """The figures of `progress` by name: rows_in, rows_out, watermark, checkpoint, attempt, …"""
        return dict(vars(self.progress))

    @property
    def done(self) -> bool:
        """Whether it has ended."""
        return self._done.is_set()

    @property
    def error(self) -> BaseException | None:
        """What made it fail; None where nothing has."""
        return self._error

    # ---- what can be done about it

    def wait(self, timeout: float | None = None) -> str:
        """Waits for its end: the status. Raises what made it fail; FetchTimeout when it still runs after `timeout` seconds.
        KeyboardInterrupt ends the waiting, and not the job."""
        until = None if timeout is None else time.monotonic() + timeout
        while not self._done.wait(_STEP if until is None else max(min(_STEP, until - time.monotonic()), 0)):
            if until is not None and time.monotonic() >= until:
                raise FetchTimeout(f"job {self.name} still runs after {timeout:g} s")
        if self._error is not None and not self._was_canceled:
            raise self._error
        return self.status

    def stop(self, savepoint: str | None = None, drain: bool = False, timeout: float | None = None) -> str | None:
        """Stops it, and waits for its end; a durable one takes a last checkpoint.

        `savepoint`: it ends with one in this directory ("": where 'execution.checkpointing.savepoint-dir' says), whose path
        is given back; when that fails the error is raised, and the job goes on. `drain`: before it the inputs count as
        ended: windows close, for good.
        """
        made: Future[Savepoint] | None = None
        with mapped():
            self._stopped = savepoint is None
            if self._job is not None and not self.done:
                made = self._job.stop(savepoint, drain)
        path = None if made is None else self._of(made, timeout).path
        self.wait(timeout)
        return path

    def savepoint(self, directory: str | None = None, timeout: float | None = None) -> str:
        """Takes a savepoint while it goes on: its path. `directory`: None is where the option says."""
        with mapped():
            made = self._running().savepoint(directory)
        return self._of(made, timeout).path

    def ask_to_stop(self) -> None:
        """Stops it, without waiting."""
        self._stopped = True
        if self._job is not None and not self.done:
            self._job.stop()

    def await_end(self) -> None:
        """Waits for its end, whatever that is."""
        self._done.wait()

    def cancel(self) -> None:
        """Ends it without a checkpoint: the last one is where it goes on from."""
        self._stopped = True
        if self._job is not None and not self.done:
            self._job.cancel()

    @property
    def _was_canceled(self) -> bool:
        return self._error is not None and isinstance(self._error.__cause__, Canceled)

    def _running(self) -> RunningJob | BatchJob:
        assert self._job is not None
        return self._job

    def _of(self, made: Future[Savepoint], timeout: float | None) -> Savepoint:
        until = None if timeout is None else time.monotonic() + timeout
        while not made.done():
            if until is not None and time.monotonic() >= until:
                raise FetchTimeout(f"job {self.name} has no savepoint after {timeout:g} s")
            time.sleep(_STEP)
        with mapped():
            return made.result()

    def __repr__(self) -> str:
        p = self.progress
        return f"<Job {self.name} {self.status}: {p.rows_in:,} rows in, {p.rows_out:,} out>"


def submitted(
    session: Session,
    sql: str,
    parameters: Parameters | None,
    binding: Callable[[Session], AbstractContextManager[None]],
) -> Job:
    """Starts the INSERT, or the statement set, of `sql`. Errors of the statement are raised here. `binding`: what holds while
    it is bound."""
    with mapped():
        sql = bind_parameters(sql, parameters, session.settings.dialect)
        try:
            statement = session.parse(sql)
        except SqlStreamError as e:
            raise e.located(sql) from None
    if not isinstance(statement, (st.Insert, st.StatementSet)):
        raise not_supported("submit takes an INSERT, or a statement set", "execute runs any other statement")
    begun: list[Callable[[RunningJob | BatchJob], None]] = []
    beside = session.beside(lambda job: begun[0](job))

    def run(begins: Callable[[RunningJob | BatchJob], None]) -> None:
        begun.append(begins)
        try:
            beside.statement(statement)
        except SqlStreamError as e:
            raise e.located(sql) from None

    with binding(beside):
        job = Job("insert", run)
    session.environment.jobs += 1  # the next one of the same pipeline.name is <name>-2
    return job
