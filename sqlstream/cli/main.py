"""The command `sqlstream`: arguments to a subcommand, its outcome to an exit status.

    0    done                        1    an error in the SQL or in the run
    2    wrong usage: arguments, options of -D, of the environment or of sqlstream.toml, a script that cannot be read
    130  ended by Ctrl-C, 143 by SIGTERM, after the job was stopped with a last checkpoint
    141  standard output was closed by its reader (`| head`)

Subcommands are modules with `register`; each is a line in `COMMANDS`. Heavy imports come after the arguments
are understood, so that `--version` and usage errors answer at once.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import sys
from collections.abc import Sequence

from sqlstream import __version__
from sqlstream.cli import (
    arguments,
    cancel,
    catalog,
    checkpoints,
    completion,
    config,
    doctor,
    explain,
    fmt,
    init,
    jobs,
    logs,
    restart,
    run,
    samples,
    savepoint,
    shell,
    state,
    status,
    stop,
    submit,
    validate,
    version,
    warmup,
)
from sqlstream.cli.parser import Parser
from sqlstream.distribution import clash

COMMANDS = (
    shell, init, run, validate, explain, fmt, submit, jobs, status, stop, cancel, savepoint, checkpoints, restart, state, logs,
    catalog, config, doctor, samples, warmup, completion, version,
)  # fmt: skip

_EPILOG = """\
examples:
  sqlstream
  sqlstream -c "SELECT 1"
  sqlstream init demo && cd demo && sqlstream validate queries
  sqlstream samples && sqlstream run queries/nexmark/q5.sql
  sqlstream run --help
  sqlstream submit job.sql && sqlstream jobs
  sqlstream warmup
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command line and gives its exit status; argparse itself exits by SystemExit(0 or 2). Without `argv` it is the process's own,
    which ends then."""
    try:
        parser = program()
        args = parser.parse_args(argv)
        if (other := clash()) is not None:
            print(f"sqlstream: warning: {other}", file=sys.stderr)
        if (args.outer_sql or args.outer_files) and args.command is not None:
            parser.error(f"{'-c' if args.outer_sql else '-f'} and a command do not go together")
        if args.outer_sql or args.outer_files:
            return run.run(args)
        if args.command is None:
            return shell.run(args)
        return int(args.command(args))
    except KeyboardInterrupt:  # before anything ran, or after all of it
        return 130
    except BrokenPipeError:
        leave_stdout()
        return 141
    finally:
        if argv is None:
            gc.freeze()  # Python would look for garbage among all that was imported: a tenth of the time of a short command


def leave_stdout() -> None:
    """After a broken pipe: gives standard output another end, so that Python's flush at exit does not fail."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())


def program() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = Parser(
        prog="sqlstream",
        description="Streaming SQL on one machine: Flink-style statements over files, streams and generators.",
        epilog=_EPILOG,
    )
    parser.add_argument("--version", action="version", version=f"sqlstream {__version__}")
    run.add_scripts(parser)
    arguments.add_execution(parser, arguments.BEFORE_COMMAND)
    parser.set_defaults(command=None)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for module in COMMANDS:
        module.register(commands)
    return parser
