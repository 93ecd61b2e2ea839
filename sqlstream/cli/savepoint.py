"""`sqlstream savepoint JOB [DIR]`: a savepoint of a job, while it runs on or after it ended."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from sqlstream.cli import arguments, of_jobs
from sqlstream.cli.terminal import Terminal

if TYPE_CHECKING:
    from sqlstream.runtime.jobs import JobView

_DESCRIPTION = """\
Takes a savepoint of a job: all that is needed to go on from there, in a directory of its own, which may be moved and which
only you delete. A running job takes it with a checkpoint and runs on; of a job that does not run its last checkpoint becomes
one. Its path is written to standard output; -D execution.state-recovery.path=PATH begins a job from it.
"""

_EPILOG = """\
examples:
  sqlstream savepoint counts /backup
  sqlstream savepoint counts                 # where execution.checkpointing.savepoint-dir says
  sqlstream run new.sql -D execution.state-recovery.path="$(sqlstream savepoint counts /backup)"

exit status:
  0 it is complete; 1 it failed, and the job runs on; 130 after Ctrl-C, which ends the waiting and not the savepoint
"""


def register(commands: Any) -> None:
    """Adds the subcommand to argparse's subparsers."""
    parser = of_jobs.command(commands, "savepoint", "take a savepoint of a job", _DESCRIPTION, _EPILOG, run)
    parser.add_argument("directory", metavar="DIR", nargs="?", default="", help="where to; a directory is made in it")
    of_jobs.add_options(
        parser, "of a job that does not run: the options that say where its checkpoints are, if that is elsewhere"
    )


def run(terminal: Terminal, args: argparse.Namespace) -> int:
    """`sqlstream savepoint`."""
    from sqlstream.runtime.client import ask
    from sqlstream.runtime.jobs import find_job, look

    directory = of_jobs.absolute(args.directory)
    view = look(find_job(args.job))
    with of_jobs.waiting(terminal, lambda: f"taking a savepoint of {view.place.name}"):
        if view.running:
            path = ask(view.place, "savepoint", wait=True, savepoint=directory)["savepoint"]
        else:
            path = _of_last_checkpoint(view, directory, arguments.configured(arguments.given_options(args)))
    terminal.text(f"{path}\n")
    return 0


def _of_last_checkpoint(view: JobView, directory: str, given: dict[str, str]) -> str:
    from sqlstream.runtime.savepoints import directory_of, savepoint_of
    from sqlstream.session import Session

    session = Session(options=given)
    job = directory_of(view, session.settings.checkpoint_dir, session.environment.stores)
    return savepoint_of(job, directory or None, session.settings).path
