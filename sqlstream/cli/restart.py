"""`sqlstream restart JOB`: a new attempt, in the same process."""

from __future__ import annotations

import argparse
import time
from typing import Any

from sqlstream.cli import of_jobs
from sqlstream.cli.terminal import Terminal

_DESCRIPTION = """\
Ends what a running job does and lets it begin again from its last checkpoint, in the same process and with the same
statement: connections and files are opened anew. Waits until it runs. For another statement or version stop the job, and
start it again.
"""

_EPILOG = """\
examples:
  sqlstream restart counts

exit status:
  0 it runs again; 1 it does not run, or failed on its way; 130 after Ctrl-C
"""

_STEP = 0.1


def register(commands: Any) -> None:
    """Adds the subcommand to argparse's subparsers."""
    of_jobs.command(commands, "restart", "let a job begin again in its process", _DESCRIPTION, _EPILOG, run)


def run(terminal: Terminal, args: argparse.Namespace) -> int:
    """`sqlstream restart`."""
    from sqlstream.runtime.client import ask, current, not_running
    from sqlstream.runtime.jobs import find_job

    place = find_job(args.job)
    before = ask(place, "restart")["attempt"]
    with of_jobs.waiting(terminal, lambda: f"restarting {place.name}"):
        view = current(place)
        while view.running and (view.status.attempt <= before or view.status.state != "RUNNING"):
            time.sleep(_STEP)
            view = current(place)
    if not view.running:
        raise not_running(view)
    s = view.status
    at = "" if s.checkpoint is None else f" from checkpoint {s.checkpoint}"
    terminal.say(f"job {place.name}: attempt {s.attempt} runs{at}")
    return 0
