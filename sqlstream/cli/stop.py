"""`sqlstream stop JOB`: the job ends after a last checkpoint."""

from __future__ import annotations

import argparse
from typing import Any

from sqlstream.cli import of_jobs
from sqlstream.cli.terminal import Terminal

_DESCRIPTION = """\
Asks a running job to take a last checkpoint and to end, and waits until it has. The command that started it makes it go on
from there. With --savepoint it takes a savepoint first: what is needed to go on, in a directory of its own, which only you
delete; should that fail, the job runs on. Ctrl-C ends the waiting, not the stopping.
"""

_EPILOG = """\
examples:
  sqlstream stop counts
  sqlstream stop /srv/etl/.sqlstream/counts
  sqlstream stop counts --savepoint /backup
  sqlstream stop counts --savepoint /backup --drain

exit status:
  0 it has stopped; 1 it does not run, does not answer, or failed on its way; 130 after Ctrl-C
"""


def register(commands: Any) -> None:
    """Adds the subcommand to argparse's subparsers."""
    parser = of_jobs.command(commands, "stop", "stop a job after a last checkpoint", _DESCRIPTION, _EPILOG, run)
    parser.add_argument(
        "--savepoint",
        metavar="DIR",
        nargs="?",
        const="",
        help="take a savepoint in this directory first; default: where execution.checkpointing.savepoint-dir says",
    )
    parser.add_argument(
        "--drain",
        action="store_true",
        help="before the savepoint, the inputs count as ended: all windows close and all timers fire, for good",
    )


def run(terminal: Terminal, args: argparse.Namespace) -> int:
    """`sqlstream stop`."""
    from sqlstream.errors import OptionError

    if args.savepoint is None and args.drain:
        raise OptionError("a job is drained when it is stopped with a savepoint, and only then", hint="add --savepoint")
    if args.savepoint is None:
        return end(terminal, args.job, "stop", "stopping")
    return end(terminal, args.job, "stop", "stopping", savepoint=of_jobs.absolute(args.savepoint), drain=args.drain)


def end(terminal: Terminal, job: str, request: str, doing: str, **fields: Any) -> int:
    """Asks a job to end, waits, and tells how it ended. A savepoint's path goes to standard output."""
    from sqlstream.runtime.client import ask, not_running, until_ended
    from sqlstream.runtime.jobs import find_job, look

    place = find_job(job)
    view = look(place)
    if view.holder is None:
        raise not_running(view)
    with of_jobs.waiting(terminal, lambda: f"{doing} {place.name}"):
        answer = ask(place, request, wait="savepoint" in fields, **fields)
        view = until_ended(place, view.holder)
    if "savepoint" in answer:
        terminal.text(f"{answer['savepoint']}\n")
    s = view.status
    at = "" if s.checkpoint is None else f" at checkpoint {s.checkpoint}"
    terminal.say(f"job {place.name}: {s.state}{at}, {s.rows_in:,} rows in, {s.rows_out:,} out")
    if s.state in ("CANCELED", "FINISHED"):
        return 0
    terminal.error(s.failure or s.message or "it did not end well")
    return 1
