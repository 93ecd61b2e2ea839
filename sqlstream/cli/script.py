"""Runs a script: a session, its results written, its jobs watched, its errors told, its signals heeded."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import zip_longest
from typing import TYPE_CHECKING

from sqlstream.cli.arguments import Settings
from sqlstream.cli.interrupt import run_interruptible
from sqlstream.cli.messages import Messages
from sqlstream.cli.of_jobs import counted
from sqlstream.cli.output import output, written
from sqlstream.cli.progress import ProgressLine
from sqlstream.cli.terminal import Terminal
from sqlstream.errors import Canceled, InternalError, NotSupported, OptionError, SqlStreamError
from sqlstream.results import Result
from sqlstream.session import Session

if TYPE_CHECKING:
    from sqlstream.runtime.batch_job import BatchJob
    from sqlstream.runtime.job import Job


@dataclass(frozen=True)
class Script:
    """SQL text; `name` as errors show it, `directory` where its Python functions are."""

    text: str
    name: str | None = None
    directory: str | None = None


def run_script(
    script: Script,
    settings: Settings,
    terminal: Terminal | None = None,
    on_job: Callable[[Session, Job | BatchJob], None] | None = None,
) -> int:
    """`run_scripts` of one."""
    return run_scripts((script,), settings, terminal, on_job)


def run_scripts(
    scripts: Sequence[Script],
    settings: Settings,
    terminal: Terminal | None = None,
    on_job: Callable[[Session, Job | BatchJob], None] | None = None,
) -> int:
    """Runs all statements of all scripts in one session and gives the exit status. `settings`: with all options, those of
    files too. BrokenPipeError is the caller's. `on_job` is told of each job."""
    terminal = terminal or Messages(settings.quiet, settings.options.get("log.format", "").strip().lower() == "json")
    if not settings.pager:
        terminal.most_rows = None
    for script in scripts:
        if script.directory is not None and script.directory not in sys.path:
            sys.path.append(script.directory)
    try:
        session = Session(
            options=settings.options,
            fresh=settings.fresh,
            on_message=terminal.say,
            allowed=settings.allowed,
            checks=settings.check,
        )
        if on_job is not None:
            session.environment.on_job = partial(on_job, session)
    except OptionError as e:
        terminal.error(str(e))
        return 2
    except SqlStreamError as e:  # in the catalog that is kept
        terminal.error(str(e))
        return 1
    runner = _Runner(scripts, settings, terminal, session)
    return run_interruptible(runner.run, runner.cancel)


class _Runner:
    def __init__(self, scripts: Sequence[Script], settings: Settings, terminal: Terminal, session: Session) -> None:
        self.scripts = scripts
        self.settings = settings
        self.terminal = terminal
        self.session = session

    def run(self) -> int:
        try:
            with self.terminal.guarding_stdout(), ProgressLine(self.session, self.terminal, self.settings.progress):
                self._statements()
            return 1 if self.session.environment.refused else 0
        except Canceled:
            return 0  # the signal decides
        except (BrokenPipeError, SystemExit):
            raise
        except InternalError as e:
            return self._internal(e)
        except (SqlStreamError, OSError) as e:
            if self.settings.debug:
                self.terminal.say(traceback.format_exc().rstrip())
            self.terminal.error(str(e))
            return 1
        except BaseException as e:
            return self._internal(e)

    def _internal(self, e: BaseException) -> int:
        if self.settings.debug:
            self.terminal.say(traceback.format_exc().rstrip())
        text = str(e) if isinstance(e, InternalError) else f"{type(e).__name__}: {e}"
        more = "" if self.settings.debug else "; run with --debug for the traceback"
        self.terminal.error(f"internal error: {text}{more}")
        return 1

    def cancel(self) -> None:
        """From a signal: the statement that runs ends, no other one begins."""
        self.session.cancel()

    def _statements(self) -> None:
        for script, following in zip_longest(self.scripts, self.scripts[1:]):
            then = None if following is None else following.name or "the next text"
            if not self._script(script, then):
                return

    def _script(self, script: Script, then: str | None) -> bool:
        """Whether what follows is to run, too."""
        for result in self.session.execute(script.text, script.name, self.settings.variables, then):
            if result.schema is not None:
                self._rows(result)
            elif result.kind == "CHECK":
                print(result.message, flush=True)
            elif result.kind == "INSERT":
                self._inserted(result)
            elif self.settings.verbose or self.terminal.interactive:
                self.terminal.say(result.message)
            self._warn(result)
            if self.session.canceled or (result.kind == "INSERT" and _stopped(result)):
                return False
        return True

    def _rows(self, result: Result) -> None:
        if result.kind == "SELECT" and not self.terminal.read:
            raise NotSupported(
                "nobody reads the rows of a query in a job that runs by itself", hint="INSERT INTO a table SELECT …"
            )
        writer = output(result, self.settings.output, self.terminal, self.session.settings.time_zone)
        done = written(result, writer, lambda: self.session.canceled)
        if result.kind == "SELECT" and (self.settings.verbose or self.terminal.interactive):
            self.terminal.say(str(done))

    def _warn(self, result: Result) -> None:
        """Rows that a job left out are never left unsaid."""
        p = result.progress
        if p is not None and p.late_rows:
            self.terminal.say(f"warning: dropped as too late for their windows: {counted(p.late_rows, 'row')}")
        if p is not None and p.skipped_records:
            self.terminal.say(f"warning: skipped as malformed: {counted(p.skipped_records, 'record')}")

    def _inserted(self, result: Result) -> None:
        self.terminal.say(result.message)
        if not _stopped(result) or result.progress is None:
            return
        if result.progress.drained:
            self.terminal.say(
                f"drained at checkpoint {result.progress.checkpoint}: nothing goes on from there (--fresh: anew)"
            )
        elif result.progress.checkpoint is not None:
            self.terminal.say(
                f"stopped at checkpoint {result.progress.checkpoint}; the same command resumes there (--fresh: anew)"
            )
        else:
            self.terminal.say("stopped; the job has no pipeline.name, so the same command starts it anew")


def _stopped(result: Result) -> bool:
    """Whether somebody ended its job: by a signal, or from another terminal."""
    p = result.progress
    return p is not None and (p.state == "CANCELED" or p.saved)
