"""Runs a script: a session, its results written, its jobs watched, its errors told, its signals heeded."""

from __future__ import annotations

import sys
import time
import traceback
from dataclasses import dataclass

from sqlstream.cli.arguments import Settings
from sqlstream.cli.interrupt import run_interruptible
from sqlstream.cli.output import output
from sqlstream.cli.progress import ProgressLine
from sqlstream.cli.terminal import Terminal
from sqlstream.errors import Canceled, InternalError, OptionError, SqlStreamError
from sqlstream.results import Result
from sqlstream.session import Session


@dataclass(frozen=True)
class Script:
    """SQL text; `name` as errors show it, `directory` where its Python functions are."""

    text: str
    name: str | None = None
    directory: str | None = None


def run_script(script: Script, settings: Settings) -> int:
    """Runs all statements and gives the exit status. BrokenPipeError is the caller's."""
    terminal = Terminal()
    if script.directory is not None and script.directory not in sys.path:
        sys.path.append(script.directory)
    try:
        session = Session(options=settings.options, fresh=settings.fresh, on_message=terminal.say)
    except OptionError as e:
        terminal.error(f"-D: {e}")
        return 2
    runner = _Runner(script, settings, terminal, session)
    return run_interruptible(runner.run, runner.cancel)


class _Runner:
    def __init__(self, script: Script, settings: Settings, terminal: Terminal, session: Session) -> None:
        self.script = script
        self.settings = settings
        self.terminal = terminal
        self.session = session

    def run(self) -> int:
        try:
            with self.terminal.guarding_stdout(), ProgressLine(self.session, self.terminal):
                self._statements()
            return 0
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
        for result in self.session.execute(self.script.text, self.script.name, self.settings.variables):
            if result.schema is not None:
                self._rows(result)
            elif result.kind == "INSERT":
                self._inserted(result)
            elif self.settings.verbose or self.terminal.interactive:
                self.terminal.say(result.message)
            self._warn(result)
            if self.session.canceled:
                return

    def _rows(self, result: Result) -> None:
        started = time.monotonic()
        writer = output(result, self.settings.output, self.terminal, self.session.option("table.local-time-zone"))
        try:
            writer.begin()
            for batch, kinds in result.batches():
                writer.rows(batch, kinds)
                if self.session.canceled:
                    break
            writer.end()
        finally:
            result.close()
            writer.close()
        if result.kind == "SELECT" and (self.settings.verbose or self.terminal.interactive):
            self.terminal.say(f"{counted(writer.count, 'row')} in {time.monotonic() - started:.2f} s")

    def _warn(self, result: Result) -> None:
        """Rows that a job left out are never left unsaid."""
        p = result.progress
        if p is not None and p.late_rows:
            self.terminal.say(f"warning: dropped as too late for their windows: {counted(p.late_rows, 'row')}")
        if p is not None and p.skipped_records:
            self.terminal.say(f"warning: skipped as malformed: {counted(p.skipped_records, 'record')}")

    def _inserted(self, result: Result) -> None:
        self.terminal.say(result.message)
        if not self.session.canceled or result.progress is None or result.progress.state == "FINISHED":
            return
        if result.progress.checkpoint is not None:
            self.terminal.say(
                f"stopped at checkpoint {result.progress.checkpoint}; the same command resumes there (--fresh: anew)"
            )
        else:
            self.terminal.say("stopped; the job has no pipeline.name, so the same command starts it anew")


def counted(n: int, noun: str) -> str:
    return f"{n:,} {noun}" + ("" if n == 1 else "s")
