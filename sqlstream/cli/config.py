"""`sqlstream config [PATTERN]`: the options of a session as they would be, and where each comes from."""

from __future__ import annotations

import argparse
from typing import Any

from sqlstream.cli import arguments, of_jobs
from sqlstream.cli.terminal import Terminal

_DESCRIPTION = """\
Shows the options that are set, each with its value and where that comes from. What stands lower here wins:

  default
  the user's file     ~/.config/sqlstream/sqlstream.toml ($XDG_CONFIG_HOME in the place of ~/.config)
  the project's file  sqlstream.toml of the working directory, or the nearest one above it, up to the home directory
  the environment     SQLSTREAM_ and the key in upper case, with _ for . and -; one without a value counts as not set
  -D KEY=VALUE
  SET in a script

A file has keys as they are ("parallelism.default" = 2) or as tables ([execution.checkpointing] interval = "30 s"). Paths in it
start from its directory. SQLSTREAM_CONFIG names one file to read in the place of both. PATTERN is a part of keys, or a pattern
with * in it; all options that it fits are shown, also those that are not set. Secrets are hidden.
"""

_EPILOG = """\
examples:
  sqlstream config
  sqlstream config checkpointing
  sqlstream config 'state.backend.*' --output json
  sqlstream config --all -D parallelism.default=4

exit status:
  0 done; 1 no option fits the pattern; 2 a file, the environment or -D has what is no option, or not a value of one
"""


def register(commands: Any) -> None:
    """Adds the subcommand to argparse's subparsers."""
    parser = of_jobs.command(
        commands, "config", "show options and where they come from", _DESCRIPTION, _EPILOG, run, job=False
    )
    parser.add_argument("pattern", metavar="PATTERN", nargs="?", help="only options whose key has this in it")
    parser.add_argument("--all", action="store_true", help="also those that are not set")
    of_jobs.add_options(parser, "an option, as it would be given to another command")
    of_jobs.add_output(parser)


def run(terminal: Terminal, args: argparse.Namespace) -> int:
    """`sqlstream config`."""
    import os
    from fnmatch import fnmatchcase
    from pathlib import Path

    from sqlstream.configuration import collected, files
    from sqlstream.errors import OptionError
    from sqlstream.options import SESSION_OPTIONS, suggested
    from sqlstream.secrets import shown_value

    try:
        settings = collected(Path.cwd(), os.environ, arguments.given_options(args))
        read = files(Path.cwd(), os.environ)
    except OptionError as e:
        terminal.error(str(e))
        return 2
    pattern = args.pattern or ""
    rows = {k: (k, s.value, s.source) for k, s in settings.items()}
    if args.all or pattern:
        for o in SESSION_OPTIONS:
            if not any(k in rows for k in (o.key, *o.former)):
                rows[o.key] = (o.key, o.default_text(), "default")
    wanted = pattern.lower() if "*" in pattern else f"*{pattern.lower()}*"
    found = [rows[k] for k in sorted(rows) if fnmatchcase(k.lower(), wanted)]
    if pattern and not found:
        terminal.error(f"no option fits '{pattern}'\nhint: {suggested(pattern)}")
        return 1
    head = ("key", "value", "source")
    hidden = [(k, shown_value(k, v) if v else v, source) for k, v, source in found]
    if of_jobs.output_of(args) != "table":
        of_jobs.write_data(terminal, args, [dict(zip(head, row, strict=True)) for row in hidden])
    elif found:
        of_jobs.table(terminal, head, hidden, frozenset())
    else:
        terminal.say(
            "no option is set" + (f" (read: {', '.join(map(str, read))})" if read else "") + "; --all shows all"
        )
    return 0
