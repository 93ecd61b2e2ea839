"""`sqlstream samples [DIRECTORY]`: the sample scripts and tables of the package, as files to read and run."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from typing import Any

NAMES = ("queries", "catalog")

_EPILOG = """\
examples:
  sqlstream samples              # ./queries and ./catalog
  sqlstream samples try && cd try && sqlstream run queries/nexmark/q5.sql
"""


def register(commands: Any) -> None:
    """Adds the subcommand to argparse's subparsers."""
    parser = commands.add_parser(
        "samples",
        help="write the sample scripts into a directory",
        description="Writes the sample scripts (queries/) and tables (catalog/) that other examples name. "
        "Files that are there already stay as they are.",
        epilog=_EPILOG,
    )
    parser.add_argument("directory", metavar="DIRECTORY", nargs="?", default=".", help="where to; default: here")
    parser.set_defaults(command=write)


def write(args: argparse.Namespace) -> int:
    """Copies what is not there yet; tells how many files on standard error."""
    from sqlstream.cli.terminal import Terminal

    terminal = Terminal()
    place = Path(args.directory)
    written = left = 0
    try:
        for name in NAMES:
            for source in sorted(p for p in (root() / name).rglob("*") if p.is_file()):
                target = place / name / source.relative_to(root() / name)
                if target.exists():
                    left += 1
                    continue
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)
                written += 1
    except OSError as e:
        terminal.error(f"{e.filename or place}: the samples cannot be written: {e.strerror or e}")
        return 1
    kept = f", {left} were there already" if left else ""
    print(f"{written} files in {place / NAMES[0]} and {place / NAMES[1]}{kept}", file=sys.stderr)
    return 0


def root() -> Path:
    """Where they are: in the package, or beside it in a checkout."""
    package = Path(__file__).parents[1]
    inside = package / "samples"
    return inside if inside.is_dir() else package.parent
