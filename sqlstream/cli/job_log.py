"""The log of a submitted job, `log/job.log` in its directory: its messages, and now and then a line that says how it is.

Until the job runs its messages go to the terminal that started it, too; they are in the log all the same. What else is
written to standard output and error (connector 'print', libraries) goes to `log/job.out`; what was written before the job had
its log is kept for it. Both are rotated. A log that somebody else has moved away is begun anew.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, TextIO

from sqlstream.cli.of_jobs import counted, printable, size, span
from sqlstream.cli.terminal import Terminal
from sqlstream.options import SessionOptions
from sqlstream.runtime.observer import Observer, iso
from sqlstream.runtime.status import Status
from sqlstream.secrets import redacted

STEP, SOON = 0.5, 0.05  # seconds between two looks: at a job that runs, at one that is about to
_MOST_EARLY = 1000  # messages before the job's directory is known


def log_file(directory: Path) -> Path:
    """The log of the job of a directory."""
    return directory / "log" / "job.log"


class JobLog(Terminal):
    """A terminal's place for a job that runs by itself, in a process of its own: standard output and error are its. `attach`
    gives it the log and takes the terminal away."""

    read = False

    def __init__(self) -> None:
        super().__init__()
        self.interactive = False
        self._streams = _Streams()
        self.err = self._streams.terminal
        self._early: list[tuple[str, str, dict[str, Any]]] = []
        self._files: _Files | None = None
        self._writing = threading.Lock()

    def attach(self, path: Path, options: SessionOptions) -> None:
        """From now on what is said goes to this log, and nowhere else; what was said before is in it, too. OSError: it
        cannot be written."""
        path.parent.mkdir(exist_ok=True)
        with self._writing:
            if self._files is not None:
                self._files.close()
            self._files = _Files(path, options)
            self._files.take(self._streams)
            for entry in self._early:
                self._files.add(*entry)
            self._early = []

    def hush(self) -> None:
        """From now on nobody hears what is written: whoever waits for the terminal's end of it must not wait for the job."""
        with self._writing, open(os.devnull, "wb") as nothing:
            self._streams.lead_to(nothing.fileno())

    def end(self) -> None:
        """The process ends: what was written and has found no log is the terminal's."""
        with self._writing:
            self._streams.end()

    @property
    def attached(self) -> bool:
        """Whether it has a log."""
        return self._files is not None

    def report(self, status: Status) -> None:
        """A line that says how the job is."""
        left_out = ("message", "owner", "socket", "metrics")
        self._add("status", line(status), {k: v for k, v in status.value().items() if k not in left_out})

    def tend(self) -> None:
        """Now and then: looks after files that others write to."""
        with self._writing:
            if self._files is not None:
                self._files.tend(self._streams)

    def _say(self, prefix: str, text: str) -> None:
        if self._files is None:
            super()._say(prefix, text)
        self._add("error" if prefix else "info", redacted(text), {})

    def _add(self, level: str, text: str, fields: dict[str, Any]) -> None:
        with self._writing:
            if self._files is not None:
                self._files.add(level, text, fields)
            elif len(self._early) < _MOST_EARLY:
                self._early.append((level, text, fields))


class _Files:
    """The two files of one job."""

    def __init__(self, path: Path, options: SessionOptions) -> None:
        self._json = options.log_format == "json"
        self._log = _Rotating(path, options.log_size, options.log_files)
        self._out = _Rotating(path.with_suffix(".out"), options.log_size, options.log_files)

    def add(self, level: str, text: str, fields: dict[str, Any]) -> None:
        """An entry of the log: a line, or several where the text has them."""
        now = time.time()
        if self._json:
            entry = {"time": iso(now), "level": level, "message": text, **fields}
            self._log.line(json.dumps(entry))
            return
        stamp = iso(now).replace("T", " ")[:19] + "Z"
        for number, part in enumerate(text.split("\n")):
            head = f"{stamp}  {'error: ' if level == 'error' and not number else ''}"
            self._log.line(head + ("  " if number else "") + printable(part))

    def take(self, streams: _Streams) -> None:
        """Standard output and error go to `job.out`."""
        self._out.give(streams)

    def tend(self, streams: _Streams) -> None:
        """Rotates what others write to when it has become too large."""
        if self._out.rotated():
            self._out.give(streams)

    def close(self) -> None:
        """Nothing more is written here."""
        self._log.close()
        self._out.close()


class _Streams:
    """The process's standard output and error, which others write to: kept in a file without a name until there is a place
    for them. `terminal`: the standard error that the process began with, until then."""

    def __init__(self) -> None:
        _flush()
        with tempfile.TemporaryFile() as kept:
            self._kept = os.dup(kept.fileno())
        self._copied = 0  # bytes of it
        self._out = os.dup(1)
        self.terminal: TextIO = os.fdopen(os.dup(2), "w", encoding="utf-8", errors="backslashreplace")
        self._point(self._kept)

    def lead_to(self, descriptor: int) -> None:
        """From now on this is where they lead, and what was kept is there first. The terminal is let go."""
        _flush()
        self._copy(descriptor)
        self._point(descriptor)
        if self._kept >= 0:
            self._copy(descriptor)  # what a thread wrote meanwhile
            os.close(self._kept)
            os.close(self._out)
            self._kept = -1
            self.terminal.close()

    def end(self) -> None:
        """What is still kept is the terminal's."""
        _flush()
        self._copy(self._out)

    def _copy(self, descriptor: int) -> None:
        with contextlib.suppress(OSError):  # nobody reads, or a full disk: it loses lines, and nothing else
            while self._kept >= 0 and (data := os.pread(self._kept, 1 << 16, self._copied)):
                self._copied += os.write(descriptor, data)

    @staticmethod
    def _point(descriptor: int) -> None:
        for standard in (1, 2):
            os.dup2(descriptor, standard)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()


class _Rotating(RotatingFileHandler):
    """Lines in a file of limited size. A full disk loses lines, and nothing else."""

    def __init__(self, path: Path, most: int, kept: int) -> None:
        super().__init__(path, "a", maxBytes=most, backupCount=kept, encoding="utf-8", errors="backslashreplace")

    def line(self, text: str) -> None:
        """Adds one."""
        self._reopen_if_moved()
        self.handle(logging.LogRecord("", 0, "", 0, text, None, None))

    def give(self, streams: _Streams) -> None:
        """Lets these lead to the file."""
        with contextlib.suppress(OSError, ValueError):
            streams.lead_to(self._handle())

    def rotated(self) -> bool:
        """Whether another file has the name now than the one that was given: it was too large, or was moved away."""
        with contextlib.suppress(OSError, ValueError):
            if self._reopen_if_moved():
                return True
            if os.fstat(self._handle()).st_size > self.maxBytes:
                self.doRollover()
                return True
        return False

    def doRollover(self) -> None:
        if self.backupCount:
            super().doRollover()
            return
        with contextlib.suppress(OSError, ValueError):  # the base class would go on with the file as it is
            os.ftruncate(self._handle(), 0)

    def handleError(self, record: logging.LogRecord) -> None:
        return

    def _handle(self) -> int:
        if self.stream is None:
            raise ValueError("it is closed")
        return self.stream.fileno()

    def _reopen_if_moved(self) -> bool:
        try:
            there = os.stat(self.baseFilename)
            here = os.fstat(self._handle())
        except FileNotFoundError:
            there = None
        except (OSError, ValueError):
            return False
        if there is not None and (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino):
            return False
        place = Path(self.baseFilename).parent
        try:  # the job's directory is never made again: where it is moved away, the log goes with it
            place.mkdir(exist_ok=True)
            opened = self._open()
        except OSError:
            return False
        before, self.stream = self.stream, opened
        if before is not None:
            before.close()
        return True


@dataclass(frozen=True)
class Watched:
    """A job that is about to run. `log`: where its log is to be; `running`: called when it runs."""

    observer: Observer
    log: Path
    options: SessionOptions
    running: Callable[[], None]


class Reporter:
    """While entered, a thread tells the log how the job is. It gives the job its log when it runs, and not before: until
    then another process may have the job, and its log."""

    def __init__(self, log: JobLog) -> None:
        self._log = log
        self._over = threading.Event()
        self._watched: Watched | None = None
        self._thread = threading.Thread(target=self._run, name="reporter", daemon=True)

    def __enter__(self) -> Reporter:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        self._thread.join()
        job = self._watched
        if job is not None and not self._log.attached and job.observer.look().state == "FINISHED":
            self._attach(job)  # it had ended before anybody saw it run

    def watch(self, job: Watched) -> None:
        """Turns to another job."""
        self._watched = job

    def _attach(self, job: Watched) -> None:
        try:
            self._log.attach(job.log, job.options)
        except OSError as e:
            self._log.say(f"warning: the job has no log: {job.log}: {e.strerror}")
            self._log.hush()

    def _run(self) -> None:
        job: Watched | None = None  # the one that runs
        due = 0.0
        while not self._over.wait(STEP if job is self._watched and job is not None else SOON):
            watched = self._watched
            if watched is None:
                continue
            status = watched.observer.look()
            if watched is not job and status.state == "RUNNING":
                job, due = watched, time.monotonic()
                self._attach(job)
                job.running()
            if job is not watched:
                continue
            every = job.options.log_interval / 1e6
            if every and time.monotonic() >= due + every:
                due += every
                self._log.report(status)
            self._log.tend()


def line(s: Status) -> str:
    """How a job is, in a line of a log."""
    parts = [f"{s.state}  {span(s.uptime)}", f"{s.rows_in:,} rows in ({s.rows_in_rate:,.0f}/s)"]
    parts.append(f"{s.rows_out:,} out ({s.rows_out_rate:,.0f}/s)")
    if s.watermark is not None:
        parts.append(f"watermark {s.watermark}" + (f" (held by {s.held_by})" if s.held_by else ""))
        parts.append(f"lag {span(s.lag)}")
    parts.append(f"state {s.state_rows:,} rows in memory" + (f", {size(s.state_bytes)}" if s.state_bytes else ""))
    if s.checkpoint is not None:
        parts.append(
            f"checkpoint {s.checkpoint}" + ("" if s.checkpoint_age is None else f", {span(s.checkpoint_age)} ago")
        )
    if s.failed_checkpoints:
        parts.append(f"{counted(s.failed_checkpoints, 'checkpoint')} failed")
    parts += [f"{n:,} {what}" for n, what in ((s.late_rows, "late"), (s.bad_rows, "bad")) if n]
    if s.attempt > 1:
        parts.append(f"attempt {s.attempt}")
    if s.backoff is not None and s.state == "RESTARTING":
        parts.append(f"the next attempt in {span(s.backoff)}")
    return "  ".join(parts)
