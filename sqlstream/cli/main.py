"""The command `sqlstream`: arguments to a subcommand, its outcome to an exit status.

    0    done                        1    an error in the SQL or in the run
    2    wrong usage: arguments, options of -D, a script that cannot be read
    130  ended by Ctrl-C, 143 by SIGTERM, after the job was stopped with a last checkpoint
    141  standard output was closed by its reader (`| head`)

Subcommands are modules with `register`; each is a line in `COMMANDS`. Heavy imports come after the arguments
are understood, so that `--version` and usage errors answer at once.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Sequence

from sqlstream import __version__
from sqlstream.cli import arguments, run, warmup

COMMANDS = (run, warmup)

_EPILOG = """\
examples:
  sqlstream -c "SELECT 1"
  sqlstream run queries/nexmark/q5.sql
  sqlstream run --help
  sqlstream warmup
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command line and gives its exit status; argparse itself exits by SystemExit(0 or 2)."""
    try:
        parser = _parser()
        args = parser.parse_args(argv)
        if args.sql is not None and args.command is not None:
            parser.error("-c and a command do not go together")
        if args.sql is not None:
            return run.inline(args)
        if args.command is None:
            parser.print_usage(sys.stderr)
            print("sqlstream: error: a command is missing; sqlstream --help lists them", file=sys.stderr)
            return 2
        return int(args.command(args))
    except KeyboardInterrupt:  # before anything ran, or after all of it
        return 130
    except BrokenPipeError:
        leave_stdout()
        return 141


def leave_stdout() -> None:
    """After a broken pipe: gives standard output another end, so that Python's flush at exit does not fail."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sqlstream",
        description="Streaming SQL on one machine: Flink-style statements over files, streams and generators.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"sqlstream {__version__}")
    parser.add_argument("-c", dest="sql", metavar="SQL", help="run the statements of this text")
    arguments.add_execution(parser, arguments.BEFORE_COMMAND)
    parser.set_defaults(command=None)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for module in COMMANDS:
        module.register(commands)
    return parser
