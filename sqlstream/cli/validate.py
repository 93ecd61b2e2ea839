"""`sqlstream validate PATH…`: all mistakes of scripts, and nothing is run."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from sqlstream.cli import arguments, of_jobs, run, sources
from sqlstream.cli.terminal import Terminal

if TYPE_CHECKING:
    from sqlstream.cli.script import Script
    from sqlstream.errors import SqlStreamError
    from sqlstream.session import Session

_DESCRIPTION = """\
Parses, binds and plans every statement and runs none: it says all that is wrong, not the first thing only, each with its place,
the reason and a hint. What a script creates is known to what follows in it, and is in no catalog afterwards. Each script is by
itself, with the catalog that is kept (option table.catalog-store.file.path), if there is one, and what --with names. Of a statement
that needs something whose CREATE is wrong, it is only counted that it was not checked. Nothing is written, no table is opened and no
job is asked; what CREATE FUNCTION names is imported.
"""

_EPILOG = """\
examples:
  sqlstream validate job.sql
  sqlstream validate queries/ --with tables.sql
  sqlstream validate . --output json
  sqlstream validate -c "SELECT 1 + 'a'"
  git show :job.sql | sqlstream validate -

exit status:
  0 nothing is wrong; 1 something is; 2 wrong usage, such as a script that cannot be read

--output json writes an object a line for each mistake: file, line, column, severity, kind, message, hint.
"""


def register(commands: Any) -> None:
    """Adds the subcommand to argparse's subparsers."""
    parser = of_jobs.command(
        commands, "validate", "check scripts without running them", _DESCRIPTION, _EPILOG, check, job=False
    )
    sources.add_paths(parser)
    add_session(parser)
    parser.add_argument(
        "--output",
        choices=("text", "json"),
        default="text",
        help="text, for people (default); or json, an object a line",
    )
    parser.add_argument(
        "-q", "--quiet", action="store_true", default=argparse.SUPPRESS, help="no closing line when nothing is wrong"
    )


def add_session(parser: argparse.ArgumentParser) -> None:
    """What says in which session scripts are looked at; `session_of` reads it."""
    parser.add_argument("-c", dest="sql", metavar="SQL", action="append", default=[], help="this text instead of files")
    add_before(parser)


def add_before(parser: argparse.ArgumentParser) -> None:
    """What is known to the session, beside the catalog that is kept."""
    parser.add_argument(
        "--with",
        dest="before",
        metavar="FILE.sql",
        action="append",
        default=[],
        help="a script whose tables, views and functions are known; may be repeated",
    )
    of_jobs.add_options(parser, "a session option, as in SET 'KEY' = 'VALUE'")
    parser.add_argument(
        "--var",
        dest="variables",
        metavar="NAME=VALUE",
        type=arguments.assignment,
        action="append",
        default=argparse.SUPPRESS,
        help="the value of ${NAME} in the scripts",
    )


def given(terminal: Terminal, args: argparse.Namespace) -> tuple[arguments.Settings, list[Script], list[Script]] | int:
    """Settings, scripts, and those of --with; the exit status, when it was said what is wrong."""
    settings = run.with_configuration(arguments.settings(args))
    if isinstance(settings, int):
        return settings
    scripts = sources.scripts(terminal, args, settings.options)
    before = run.read_scripts(args.before)
    if isinstance(scripts, int) or isinstance(before, int):
        return 2
    return settings, scripts, before


def check(terminal: Terminal, args: argparse.Namespace) -> int:
    """`sqlstream validate`."""
    from sqlstream.cli.records import as_json
    from sqlstream.validation import Checked, validate

    read = given(terminal, args)
    if isinstance(read, int):
        return read
    settings, scripts, before = read
    total = Checked()
    wrong = 0
    for script in scripts:
        session = session_of(settings, script)
        for other in before:
            find_functions(other)
            validate(session, other.text, other.name, settings.variables)
        find_functions(script)
        found = validate(session, script.text, script.name, settings.variables)
        total.statements += found.statements
        total.unchecked += found.unchecked
        total.errors += found.errors
        wrong += bool(found.errors)
        if args.output == "json":
            terminal.text(as_json([_value(e, script) for e in found.errors]))
        else:
            terminal.text("".join(f"error: {e}\n" for e in found.errors))
    count = of_jobs.counted
    if total.errors or not settings.quiet:
        found_text = f"{count(len(total.errors), 'error')} in {wrong} of " if total.errors else ""
        unchecked = (
            f", {total.unchecked:,} of them not checked for what is wrong before them" if total.unchecked else ""
        )
        done = "" if total.errors else ": nothing is wrong"
        terminal.say(
            f"{found_text}{count(len(scripts), 'script')}, {count(total.statements, 'statement')}{unchecked}{done}"
        )
    return 1 if total.errors else 0


def session_of(settings: arguments.Settings, script: Script | None = None) -> Session:
    """A session in which nothing runs. Where the script is the catalog that is kept, that is not there yet."""
    from sqlstream.session import Session

    options = dict(settings.options)
    if script is not None and script.name and sources.is_catalog(script.name, options.get(sources.CATALOG)):
        del options[sources.CATALOG]
    return Session(options=options, dry=True)


def find_functions(script: Script) -> None:
    """Python functions are looked up beside the script, too."""
    if script.directory is not None and script.directory not in sys.path:
        sys.path.append(script.directory)


def _value(e: SqlStreamError, script: Script) -> dict[str, Any]:
    from sqlstream.secrets import redacted

    place = e.position
    return {
        "file": script.name,
        "line": None if place is None else place.line,
        "column": None if place is None else place.column,
        "severity": "error",
        "kind": type(e).__name__,
        "message": redacted(e.message),
        "hint": e.hint,
    }
