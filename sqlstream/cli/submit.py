"""`sqlstream submit FILE.sql`: a script's jobs run by themselves, in a process of their own."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlstream.cli import arguments, of_jobs, run
from sqlstream.cli.terminal import Terminal

if TYPE_CHECKING:
    from sqlstream.cli.script import Script
    from sqlstream.runtime.batch_job import BatchJob
    from sqlstream.runtime.job import Job
    from sqlstream.session import Session

_DESCRIPTION = """\
Runs a script as `sqlstream run` does, but in a process of its own that goes on when this terminal is closed. It returns when
the first job truly runs, with its name, process and log; or with the error, when there was one before. Each job has a name:
that of SET 'pipeline.name', of --name, or else the file's. Its messages and a line every 10 s that says how it is go to
log/job.log in its directory (`sqlstream logs`); options log.format, log.interval, log.max-size and log.max-files say how.
"""

_EPILOG = """\
examples:
  sqlstream submit job.sql
  sqlstream submit job.sql --name orders-eu --var input=data/eu -D log.format=json
  sqlstream submit job.sql && sqlstream logs job -f

exit status:
  0 the job runs, or all was done at once; 1 an error in the SQL or when the job was started; 2 wrong usage;
  130 after Ctrl-C, which ends the waiting and not the job
"""


def register(commands: Any) -> None:
    """Adds the subcommand to argparse's subparsers."""
    parser = of_jobs.command(
        commands, "submit", "run a script in the background", _DESCRIPTION, _EPILOG, submit, job=False
    )
    parser.add_argument("file", metavar="FILE.sql", help="the script; - reads standard input")
    parser.add_argument(
        "--name", metavar="NAME", help="the job's name; a SET 'pipeline.name' in the script wins over it"
    )
    arguments.add_execution(parser)


def submit(terminal: Terminal, args: argparse.Namespace) -> int:
    """`sqlstream submit`."""
    script = run.read_script(args.file)
    if isinstance(script, int):
        return script
    settings = run.with_configuration(arguments.settings(args))
    if isinstance(settings, int):
        return settings
    name = args.name or settings.options.get("pipeline.name") or ("" if args.file == "-" else Path(args.file).stem)
    if not name.strip() or args.name == "":
        what = "--name is empty" if args.name == "" else "a script from standard input has no name"
        terminal.error(f"{what}\nhint: give the job one with --name")
        return 2
    settings = replace(settings, options={**settings.options, "pipeline.name": name}, progress=0.0)
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        continue  # one of the three was closed: the pipe must not get its number
    os.close(descriptor)
    ours, theirs = os.pipe()
    if child := os.fork():
        os.close(theirs)
        os.waitpid(child, 0)
        return _await(terminal, ours)
    os.close(ours)
    os.setsid()
    if os.fork():
        os._exit(0)
    return _Detached(theirs).run(script, settings)  # all that this process still does


def _await(terminal: Terminal, pipe: int) -> int:
    """What the new process says once its job runs, or has ended."""
    from sqlstream.errors import RunError

    said = b""
    with of_jobs.waiting(terminal, lambda: "starting"), open(pipe, "rb") as f:
        said = f.read()
    try:
        told = json.loads(said)
    except ValueError:
        terminal.error("the job's process was killed before its job ran")
        return 1
    if "status" in told:
        return int(told["status"])
    with contextlib.suppress(RunError, OSError):  # it runs, whether somebody reads this or not
        terminal.text(f"job {told['job']} runs: process {told['pid']}, log {told['log']}\n")
    return 0


class _Detached:
    """The new process: it says through `pipe`, once, what became of it."""

    def __init__(self, pipe: int) -> None:
        self._pipe: int | None = pipe

    def run(self, script: Script, settings: arguments.Settings) -> int:
        """Runs the script to its end; the exit status."""
        from sqlstream.cli.job_log import JobLog, Reporter, Watched, log_file
        from sqlstream.cli.script import run_script
        from sqlstream.errors import RunError
        from sqlstream.runtime.observer import Observer, Origin

        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        log = JobLog()
        with Reporter(log) as reporter:

            def begins(session: Session, job: Job | BatchJob) -> None:
                if job.directory is None:
                    raise RunError("a job that runs by itself needs a name", hint="SET 'pipeline.name' = '…'")
                options = session.settings
                path = log_file(job.directory.path.resolve())
                job.log = str(path)
                origin = Origin(
                    job.directory.job,
                    file=job.file,
                    parallelism=options.parallelism,
                    log=job.log,
                    window=options.window,
                )
                told = {"job": origin.job, "pid": os.getpid(), "log": job.log}
                observer = Observer(origin, job.progress, session.environment.clock)
                reporter.watch(Watched(observer, path, options, lambda: self._tell(told)))

            status = run_script(script, settings, log, begins)
        log.end()
        self._tell({"status": status})
        return status

    def _tell(self, what: dict[str, Any]) -> None:
        """Once: the terminal that waits reads until the pipe is closed."""
        pipe, self._pipe = self._pipe, None
        if pipe is not None:
            os.write(pipe, json.dumps(what).encode())
            os.close(pipe)
