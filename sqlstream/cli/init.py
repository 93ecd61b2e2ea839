"""`sqlstream init [DIRECTORY]`: a project to begin with, that runs."""

from __future__ import annotations

import argparse
import os
import shlex
from pathlib import Path
from typing import Any

from sqlstream.cli import of_jobs
from sqlstream.cli.terminal import Terminal

_DESCRIPTION = """\
Writes a project that runs as it is: tables in a catalog that is kept, a job that writes readings of sensors as JSON files, one that reads
them as they come and writes the hottest of each minute, a query that looks at that, sqlstream.toml and a README that says how. Nothing
that is there is overwritten: where one of its files is there already, none is written.
"""

_EPILOG = """\
examples:
  sqlstream init demo && cd demo && sqlstream validate queries
  sqlstream init

exit status:
  0 done; 1 a file is there already, or cannot be written
"""

# Files of the project, by where they are in the package.
FILES = {
    "sqlstream.toml": "sqlstream.toml",
    "README.md": "README.md",
    "gitignore": ".gitignore",
    "catalog/catalog.sql": "catalog/catalog.sql",
    "queries/feed.sql": "queries/feed.sql",
    "queries/per_minute.sql": "queries/per_minute.sql",
    "queries/look.sql": "queries/look.sql",
}
STARTER = Path(__file__).parent / "starter"


def register(commands: Any) -> None:
    """Adds the subcommand to argparse's subparsers."""
    parser = of_jobs.command(commands, "init", "write a project to begin with", _DESCRIPTION, _EPILOG, init, job=False)
    parser.add_argument("directory", metavar="DIRECTORY", nargs="?", default=".", help="where to; default: here")


def init(terminal: Terminal, args: argparse.Namespace) -> int:
    """`sqlstream init`."""
    place = Path(args.directory)
    there = [str(place / name) for name in FILES.values() if os.path.lexists(place / name)]
    folders = {(place / name).parent for name in FILES.values()}
    there += sorted(str(f) for f in folders if os.path.lexists(f) and not f.is_dir())
    if there:
        terminal.error(f"{', '.join(there)}: there already; nothing was written\nhint: name a directory that is new")
        return 1
    for source, name in FILES.items():
        target = place / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with open(target, "x", encoding="utf-8") as f:
            f.write((STARTER / source).read_text("utf-8"))
    inside = "" if place == Path() else f"cd {shlex.quote(str(place))} && "
    terminal.text("".join(f"{place / name}\n" for name in FILES.values()))
    terminal.say(
        f"next: {inside}sqlstream validate queries && sqlstream submit queries/feed.sql; README.md goes on from there"
    )
    return 0
