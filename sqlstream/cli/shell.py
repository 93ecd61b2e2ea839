"""`sqlstream shell`, and `sqlstream` alone: statements as somebody types them."""

from __future__ import annotations

import argparse
from typing import Any

from sqlstream.cli import arguments
from sqlstream.cli.run import with_configuration

_DESCRIPTION = """\
Reads statements and runs them: on a terminal with editing, completion and history, and views of streams that move; anything
else on standard input is run as it comes. An INSERT becomes a job of its own, which goes on when the shell is left. \\? lists
its commands.
"""

_EPILOG = """\
examples:
  sqlstream
  sqlstream shell sales                 the catalog is kept in directory sales
  sqlstream shell -i tables.sql         runs a file first
  sqlstream shell -D sql-client.execution.result-mode=tableau
  echo '.tables' | sqlstream shell sales

files:
  $XDG_CONFIG_HOME/sqlstream/rc.sql     what every shell runs first (~/.config)
  $XDG_STATE_HOME/sqlstream/history     what was entered before, without secrets (~/.local/state)

exit status:
  0 left; 1 what was not typed on a terminal has failed; 2 wrong usage; 130 after Ctrl-C where there is no terminal
"""


def register(commands: Any) -> None:
    """Adds the subcommand to argparse's subparsers."""
    parser = commands.add_parser(
        "shell",
        help="statements as you type them",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )
    parser.add_argument("database", metavar="DATABASE", nargs="?", help="the directory where the catalog is kept")
    parser.add_argument("-i", dest="init", metavar="FILE", action="append", default=[], help="a file to run first")
    parser.add_argument("--no-rc", action="store_true", help="do not run the user's rc.sql")
    arguments.add_execution(parser)
    parser.set_defaults(command=run)


def run(args: argparse.Namespace) -> int:
    """`sqlstream shell`, and `sqlstream` without a command."""
    from sqlstream.shell.main import run_shell

    settings = with_configuration(arguments.settings(args))
    if isinstance(settings, int):
        return settings
    return run_shell(
        settings,
        getattr(args, "database", None),
        getattr(args, "init", []),
        not getattr(args, "no_rc", False),
    )
