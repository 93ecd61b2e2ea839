"""`sqlstream run FILE.sql…`, `sqlstream -c SQL`: scripts from their first statement to their last."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqlstream.cli import arguments

if TYPE_CHECKING:
    from sqlstream.cli.script import Script

_DESCRIPTION = """\
Runs the statements of scripts in order, in one session: what one file creates the next one knows. A SELECT writes its rows to standard output and ends at its LIMIT, or with
its input. An INSERT or CREATE TABLE ... AS SELECT is a job, as is a statement set; it runs until its inputs end, and
an unbounded one must be the last statement. Ctrl-C stops a job cleanly; one that has a pipeline.name resumes when it
is run again. Paths in the script start from the working directory. Python functions are looked up beside the script.

${name} in a script is the value that --var gives; a name without one is an error. Within quotes the value's own quotes are
doubled, so that it stays one string; elsewhere it is put in as it is. Comments are left alone. Without $ before it, { } is
nothing special; to have the characters ${ in a string write '$' || '{'.
Options come from sqlstream.toml, the environment and -D; `sqlstream config` shows them.
"""

_EPILOG = """\
examples (`sqlstream samples` writes the scripts of the first two):
  sqlstream run queries/nexmark/q5.sql
  sqlstream run queries/getting-started/top_n.sql --output json
  sqlstream run job.sql --var input=data/orders.json -D pipeline.name=orders
  sqlstream run job.sql -D pipeline.name=orders --fresh
  sqlstream run job.sql -D execution.runtime-mode=streaming -D execution.checkpointing.interval='30 s'
  sqlstream run tables.sql queries.sql -q
  sqlstream run -c "SELECT 1" --output csv
  echo "SELECT 1;" | sqlstream run -

exit status:
  0 done; 1 an error in the SQL or the run; 2 wrong usage, such as an unknown option or a script that is not there;
  130 after Ctrl-C; 141 when the reader of standard output went away
"""


def register(commands: Any) -> None:
    """Adds the subcommand to argparse's subparsers."""
    parser = commands.add_parser(
        "run",
        help="run the statements of files",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )
    parser.add_argument(
        "files", metavar="FILE.sql", nargs="*", help="a script; - reads standard input, as no file does"
    )
    parser.add_argument("-c", dest="sql", metavar="SQL", action="append", default=[], help="run this text instead")
    arguments.add_execution(parser)
    parser.set_defaults(command=run)


def add_scripts(parser: argparse.ArgumentParser) -> None:
    """What the command takes without a subcommand."""
    parser.add_argument(
        "-c", dest="outer_sql", metavar="SQL", action="append", default=[], help="run the statements of this text"
    )
    parser.add_argument(
        "-f", dest="outer_files", metavar="FILE.sql", action="append", default=[], help="the same as: run FILE.sql"
    )


def run(args: argparse.Namespace) -> int:
    """`sqlstream run`, `sqlstream -c`, `sqlstream -f`."""
    from sqlstream.cli.terminal import Terminal

    sql = args.outer_sql or getattr(args, "sql", [])
    files = args.outer_files or getattr(args, "files", [])
    if sql and files:
        Terminal().error("-c and a file do not go together")
        return 2
    settings = with_configuration(arguments.settings(args))
    if isinstance(settings, int):
        return settings
    if sql:
        scripts: list[Script] | int = read_texts(sql)
    elif files:
        scripts = read_scripts(files)
    else:
        scripts = [] if sys.stdin is None or sys.stdin.isatty() else read_scripts(["-"])
        if scripts == [] or (isinstance(scripts, list) and not scripts[0].text.strip()):
            Terminal().error("a script is missing: run FILE.sql, run -c SQL, or statements on standard input")
            return 2
    if isinstance(scripts, int):
        return scripts
    from sqlstream.cli.script import run_scripts

    return run_scripts(scripts, settings)


def with_configuration(settings: arguments.Settings) -> arguments.Settings | int:
    """The settings with the options of files and environment below theirs; the exit status when it was said what is wrong
    there."""
    from sqlstream.cli.terminal import Terminal
    from sqlstream.errors import OptionError

    try:
        return replace(settings, options=arguments.configured(settings.options))
    except OptionError as e:
        Terminal().error(str(e))
        return 2


def read_scripts(names: list[str]) -> list[Script] | int:
    """The scripts of files, or of standard input (`-`); the exit status, when it was said which one cannot be read."""
    found = []
    for name in names:
        script = read_script(name)
        if isinstance(script, int):
            return script
        found.append(script)
    return found


def read_texts(texts: list[str]) -> list[Script] | int:
    """The scripts of `-c`; the exit status, when it was said which one is no text."""
    from sqlstream.cli.script import Script

    for text in texts:
        try:
            text.encode()
        except UnicodeEncodeError as e:  # what the system could not decode came as a surrogate
            return _unreadable("-c", f"it is not UTF-8 (byte {len(text[: e.start].encode())})")
    return [Script(text) for text in texts]


def read_script(name: str) -> Script | int:
    """The script of a file, or of standard input (`-`); the exit status, when the reason was said why it cannot be read."""
    from sqlstream.cli.script import Script

    try:
        if name == "-":
            return Script(sys.stdin.buffer.read().decode("utf-8-sig"), "<stdin>")
        with open(name, encoding="utf-8-sig") as f:
            text = f.read()
    except OSError as e:
        return _unreadable(name, e.strerror or str(e))
    except UnicodeDecodeError as e:
        return _unreadable(name, f"it is not UTF-8 (byte {e.start})")
    return Script(text, name, os.path.dirname(os.path.abspath(name)))


def _unreadable(name: str, reason: str) -> int:
    from sqlstream.cli.terminal import Terminal

    Terminal().error(f"{name}: the script cannot be read: {reason}")
    return 2
