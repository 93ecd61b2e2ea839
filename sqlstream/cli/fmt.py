"""`sqlstream fmt PATH…`: scripts laid out anew."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Any

from sqlstream.cli import arguments, of_jobs, sources
from sqlstream.cli.terminal import Terminal

if TYPE_CHECKING:
    from sqlstream.cli.script import Script

_DESCRIPTION = """\
Lays scripts out anew, in place: clauses, items of lists and conditions on lines of their own where a statement does not fit on one,
reserved words in upper case. Tokens and comments stay the same, and so does what a statement means: each is read again, and compared.
A script from standard input, and the text of -c, go to standard output. Formatting twice changes nothing. Quotes, comments and brackets
have to be closed; what else is wrong with a script does not matter.
"""

_EPILOG = """\
examples:
  sqlstream fmt job.sql queries/
  sqlstream fmt . --check
  sqlstream fmt job.sql --diff
  sqlstream fmt -c "select a, b from t where a > 1"
  sqlstream fmt - < job.sql

exit status:
  0 done; 1 a bracket, quote or comment is not closed; with --check or --diff: something would change;
  2 wrong usage, such as a script that cannot be read
"""

WIDTH = 100


def register(commands: Any) -> None:
    """Adds the subcommand to argparse's subparsers."""
    parser = of_jobs.command(commands, "fmt", "format scripts", _DESCRIPTION, _EPILOG, fmt, job=False)
    sources.add_paths(parser)
    parser.add_argument("-c", dest="sql", metavar="SQL", action="append", default=[], help="this text instead of files")
    parser.add_argument("--check", action="store_true", help="write nothing: name the files that would change")
    parser.add_argument("--diff", action="store_true", help="write nothing: show what would change")
    parser.add_argument(
        "--width", metavar="N", type=of_jobs.count, default=WIDTH, help=f"characters of a line; default {WIDTH}"
    )


def fmt(terminal: Terminal, args: argparse.Namespace) -> int:
    """`sqlstream fmt`."""
    from sqlstream.errors import OptionError, SqlStreamError
    from sqlstream.sql.formatter import formatted

    try:
        options = arguments.configured({})
    except OptionError as e:
        terminal.error(str(e))
        return 2
    scripts = sources.scripts(terminal, args, options)
    if isinstance(scripts, int):
        return scripts
    changed = failed = 0
    for script in scripts:
        try:
            new = formatted(script.text, script.name, args.width)
        except SqlStreamError as e:
            terminal.error(str(e))
            failed += 1
            continue
        differs = new != script.text
        changed += differs
        if args.diff:
            terminal.text(_difference(script, new))
        elif args.check:
            if differs:
                terminal.text(f"{script.name or '-c'}\n")
        elif script.directory is None:
            terminal.text(new)
        elif differs:
            _write(script.name or "", new)
            terminal.say(f"formatted {script.name}")
    if args.check or args.diff or (changed and scripts[0].directory is not None):
        would = "would be " if args.check or args.diff else ""
        left = f", {of_jobs.counted(failed, 'file')} cannot be read" if failed else ""
        terminal.say(f"{changed} of {of_jobs.counted(len(scripts), 'script')} {would}formatted{left}")
    return 1 if failed or (changed and (args.check or args.diff)) else 0


def _difference(script: Script, new: str) -> str:
    import difflib

    name = script.name or "-c"
    lines = difflib.unified_diff(
        script.text.splitlines(keepends=True), new.splitlines(keepends=True), name, f"{name} (formatted)"
    )
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def _write(name: str, text: str) -> None:
    """The file, whole or not at all, with its rights; where it is a link, what that leads to."""
    from pathlib import Path

    from sqlstream.own_files import replace_text

    path = Path(os.path.realpath(name))
    mode = path.stat().st_mode & 0o7777
    replace_text(path, text)
    os.chmod(path, mode)
