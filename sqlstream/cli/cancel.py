"""`sqlstream cancel JOB`: the job ends at once, without a checkpoint."""

from __future__ import annotations

import argparse
from typing import Any

from sqlstream.cli import of_jobs
from sqlstream.cli.stop import end
from sqlstream.cli.terminal import Terminal

_DESCRIPTION = """\
Ends a running job at once, without a last checkpoint: what it did since the one before is done again when it is started
again. `sqlstream stop` is the gentler way.
"""

_EPILOG = """\
examples:
  sqlstream cancel counts

exit status:
  0 it has ended; 1 it does not run, or does not answer; 130 after Ctrl-C
"""


def register(commands: Any) -> None:
    """Adds the subcommand to argparse's subparsers."""
    of_jobs.command(commands, "cancel", "end a job without a checkpoint", _DESCRIPTION, _EPILOG, run)


def run(terminal: Terminal, args: argparse.Namespace) -> int:
    """`sqlstream cancel`."""
    return end(terminal, args.job, "cancel", "canceling")
