"""`sqlstream run FILE.sql`: a script from its first statement to its last."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

from sqlstream.cli import arguments

_DESCRIPTION = """\
Runs the statements of a script in order. A SELECT writes its rows to standard output and ends at its LIMIT, or with
its input. An INSERT or CREATE TABLE ... AS SELECT is a job, as is a statement set; it runs until its inputs end, and
an unbounded one must be the last statement. Ctrl-C stops a job cleanly; one that has a pipeline.name resumes when it
is run again. Paths in the script start from the working directory. Python functions are looked up beside the script.
"""

_EPILOG = """\
examples:
  sqlstream run queries/nexmark/q5.sql
  sqlstream run queries/getting-started/top_n.sql --output json
  sqlstream run job.sql --var input=data/orders.json -D pipeline.name=orders
  sqlstream run job.sql -D pipeline.name=orders --fresh
  sqlstream run job.sql -D execution.runtime-mode=streaming -D execution.checkpointing.interval='30 s'
  echo "SELECT 1;" | sqlstream run -

exit status:
  0 done; 1 an error in the SQL or the run; 2 wrong usage, such as an unknown option or a script that is not there;
  130 after Ctrl-C; 141 when the reader of standard output went away
"""


def register(commands: Any) -> None:
    """Adds the subcommand to argparse's subparsers."""
    parser = commands.add_parser(
        "run",
        help="run the statements of a file",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", metavar="FILE.sql", help="the script; - reads standard input")
    arguments.add_execution(parser)
    parser.set_defaults(command=run_file)


def run_file(args: argparse.Namespace) -> int:
    """`sqlstream run`."""
    from sqlstream.cli.script import Script, run_script

    name: str = args.file
    try:
        if name == "-":
            return run_script(Script(sys.stdin.buffer.read().decode("utf-8-sig"), "<stdin>"), arguments.settings(args))
        with open(name, encoding="utf-8-sig") as f:
            text = f.read()
    except OSError as e:
        return _unreadable(name, e.strerror or str(e))
    except UnicodeDecodeError as e:
        return _unreadable(name, f"it is not UTF-8 (byte {e.start})")
    return run_script(Script(text, name, os.path.dirname(os.path.abspath(name))), arguments.settings(args))


def inline(args: argparse.Namespace) -> int:
    """`sqlstream -c SQL`."""
    from sqlstream.cli.script import Script, run_script

    return run_script(Script(args.sql), arguments.settings(args))


def _unreadable(name: str, reason: str) -> int:
    from sqlstream.cli.terminal import Terminal

    Terminal().error(f"{name}: the script cannot be read: {reason}")
    return 2
