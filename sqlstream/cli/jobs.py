"""`sqlstream jobs`: all jobs of this user, wherever they are."""

from __future__ import annotations

import argparse
from typing import Any

from sqlstream.cli import of_jobs
from sqlstream.cli.terminal import Terminal

_DESCRIPTION = """\
Lists the durable jobs of this user that were started on this machine, and those in .sqlstream of the working directory:
name, state, for how long it runs, rows, rate, how far the watermark is behind the clock, the last checkpoint, and where it
is. A job is RUNNING while a process has its lock; one whose process was killed is LOST, and goes on when it is started again.
"no answer": the process is there, but was halted, or is too busy to say anything.
"""

_EPILOG = """\
examples:
  sqlstream jobs
  sqlstream jobs --running
  sqlstream jobs --output json
"""


def register(commands: Any) -> None:
    """Adds the subcommand to argparse's subparsers."""
    parser = of_jobs.command(commands, "jobs", "list all jobs", _DESCRIPTION, _EPILOG, run, job=False)
    parser.add_argument("--running", action="store_true", help="only those that a process has")
    of_jobs.add_output(parser)


_HEAD = ("name", "state", "since", "rows in", "rows/s", "lag", "checkpoint", "directory")


def run(terminal: Terminal, args: argparse.Namespace) -> int:
    """`sqlstream jobs`."""
    from sqlstream.runtime.client import currents
    from sqlstream.runtime.jobs import JobView

    found = [v for v in currents() if v.running or not args.running]
    if of_jobs.output_of(args) != "table":
        of_jobs.write_data(terminal, args, [value(v) for v in found])
        return 0
    if not found:
        terminal.say("no jobs" if not args.running else "no job runs")
        return 0

    def row(v: JobView) -> tuple[str, ...]:
        s = v.status
        checkpoint = "" if s.checkpoint is None else str(s.checkpoint)
        if v.running and s.checkpoint_age is not None:
            checkpoint += f" ({of_jobs.span(s.checkpoint_age)} ago)"
        return (
            v.place.name,
            f"{s.state}, no answer" if v.silent else s.state,
            of_jobs.span(s.uptime) if v.running else "",
            f"{s.rows_in:,}",
            f"{s.rows_in_rate:,.0f}" if v.running else "",
            of_jobs.span(s.lag) if v.running else "",
            checkpoint,
            str(v.place.directory),
        )

    of_jobs.table(terminal, _HEAD, [row(v) for v in found], frozenset({2, 3, 4, 5}))
    return 0


def value(view: Any) -> dict[str, Any]:
    """A job as JSON: its status, whether it runs and answers, where it is."""
    known = {"running": view.running, "answers": view.running and not view.silent}
    return {**view.status.value(), **known, "directory": str(view.place.directory)}
