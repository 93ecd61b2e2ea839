"""Runs the attempts of a job, one after the other in this process, until one ends well or no more is to be made.

    Supervisor(strategy, progress, clock, stop, …).run(attempt)

An attempt has closed all that it had when it raises. Between two of them the job holds its lock, shows why and until
when it waits, and heeds who stops it. A strategy without an end has one all the same where the job fails in the same way
`ENOUGH` times, gets no further, and nothing outside of it says that this may pass: a wrong record does not loop for ever. What fails before the first attempt runs is not tried again: then the statement,
an option or a right is wrong, and somebody is there to be told.
"""

from __future__ import annotations

import time as walltime
from collections.abc import Callable
from datetime import UTC, datetime
from threading import Event

from sqlstream import faults
from sqlstream.checkpoint.history import History
from sqlstream.checkpoint.lock import LockLost
from sqlstream.clock import Clock
from sqlstream.errors import SqlStreamError
from sqlstream.runtime.directory import JobDirectory
from sqlstream.runtime.failures import Repetition, from_outside, passes
from sqlstream.runtime.process import trim
from sqlstream.runtime.progress import Progress
from sqlstream.runtime.restarts import RestartStrategy
from sqlstream.runtime.run import canceled
from sqlstream.secrets import redacted

FILE = "failures.jsonl"
ENOUGH = 10  # by the default strategy a little more than a minute: what is being written or copied is whole by then


class Restarted(Exception):
    """Somebody wants another attempt: nothing has failed."""


class Supervisor:
    """`stop` is set when the job is to end. `record` writes a state, with its message, where others look for it.
    `history`: where failures are kept; None for a job that is not durable."""

    def __init__(
        self,
        strategy: RestartStrategy,
        progress: Progress,
        clock: Clock,
        stop: Event,
        say: Callable[[str], None],
        record: Callable[[str, str], None],
        history: History | None = None,
    ) -> None:
        self._strategy, self._progress, self._clock, self._stop = strategy, progress, clock, stop
        self._say, self._record, self._history = say, record, history
        self._ran = False
        self._repetition = Repetition()

    def running(self) -> None:
        """An attempt has begun to work: from now on failures are tried again."""
        self._ran = True

    def run(self, attempt: Callable[[], None]) -> None:
        """Returns when an attempt has, or when the job was stopped between two. Raises what ended the last one."""
        while True:
            try:
                return attempt()
            except Restarted:
                self._tell("RESTARTING", "")
                self._say(f"attempt {self._progress.attempt} has ended, since another one was asked for")
                delay, why = None, ""
            except Exception as e:
                if canceled(e):
                    raise
                delay = self._decided(e)
                if delay is None:
                    raise
                why = first_line(e)
            if delay is not None and not self._waited(delay, why):
                return
            self._progress.attempt += 1
            trim()
            faults.point("between-attempts")

    def _decided(self, error: Exception) -> float | None:
        """Seconds until the next attempt; None: there is none. Written down either way."""
        p, text = self._progress, first_line(error)
        passing = passes(error)
        delay, ended = None, str(self._strategy)
        if self._ran and passing and not self._stop.is_set():
            delay = self._strategy.failed(self._clock.monotonic())
            times = self._repetition.failed(type(error).__name__, text, p.checkpoint)
            if times >= ENOUGH and not self._strategy.bounded and not from_outside(error):
                delay, ended = None, f"{times} failed in the same way and got no further, so another would, too"
        p.failure, p.failure_time = text, walltime.time()
        if self._history is not None and self._ran:
            self._history.append(
                {
                    "timestamp": round(p.failure_time * 1000),
                    "attempt": p.attempt,
                    "error": type(error).__name__,
                    "message": text,
                    "transient": passing,
                    "checkpoint": p.checkpoint,
                    "delay": None if delay is None else round(delay, 3),
                }
            )
        if delay is not None:
            hint = f" (hint: {error.hint})" if isinstance(error, SqlStreamError) and error.hint else ""
            self._say(f"warning: attempt {p.attempt} failed: {text}; the next one begins in {delay:.1f} s{hint}")
        elif p.attempt > 1 and passing and not self._stop.is_set():
            self._say(f"warning: attempt {p.attempt} was the last one: {ended}")
        return delay

    def _waited(self, delay: float, why: str) -> bool:
        """Waits; False when the job was stopped meanwhile."""
        p = self._progress
        p.backoff_until = walltime.time() + delay
        until = datetime.fromtimestamp(p.backoff_until, UTC).isoformat(timespec="seconds")
        self._tell("RESTARTING", f"{why}; attempt {p.attempt + 1} at {until}")
        stopped = self._clock.wait(self._stop, delay)
        p.backoff_until = None
        if stopped:
            self._tell("CANCELED", "")
        return not stopped

    def _tell(self, state: str, message: str) -> None:
        self._progress.state = state
        try:
            self._record(state, message)
        except LockLost:  # what is there now is not the job's record
            return
        except SqlStreamError as e:  # a full disk, for instance: that may be why
            if e.message != self._progress.failure:  # which was told
                self._say(f"warning: {e.message}")


def failures(directory: JobDirectory) -> History:
    """The failures of a job, for who has its lock."""
    return History(directory.path / FILE, lock=directory.locked())


def first_line(error: BaseException) -> str:
    """What an error says, in one line."""
    return redacted(next(iter(str(error).splitlines()), "")) or type(error).__name__
