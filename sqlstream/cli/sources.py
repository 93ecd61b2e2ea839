"""What the commands take that read scripts and run none of them: files, folders of files, standard input, or a text."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from sqlstream.cli import run

if TYPE_CHECKING:
    from sqlstream.cli.script import Script
    from sqlstream.cli.terminal import Terminal

ENDING = ".sql"
CATALOG = "table.catalog-store.file.path"


def add_paths(parser: argparse.ArgumentParser) -> None:
    """Adds FILE|FOLDER…; `names` reads it."""
    parser.add_argument(
        "paths", metavar="PATH", nargs="*", help="a script; a folder: all *.sql in it and below; -: standard input"
    )


def names(terminal: Terminal, paths: list[str], kept: str | None) -> list[str] | int:
    """The scripts' files, those of a folder in the order of their names; the exit status, when it was said what is wrong.

    `kept`: the directory of the catalog, whose file in a folder is not a script of somebody's.
    """
    if not paths:
        terminal.error("a script is missing\nhint: name a file, a folder, or - for standard input")
        return 2
    found: list[str] = []
    for path in paths:
        inside = [p for p in sorted(_below(path)) if not is_catalog(p, kept)] if os.path.isdir(path) else [path]
        if not inside:
            terminal.error(f"{path}: there is no *{ENDING} in this folder")
            return 2
        found += [p for p in inside if p not in found]
    return found


def is_catalog(path: str, kept: str | None) -> bool:
    """Whether a file is what the catalog is kept in."""
    from sqlstream.catalog.catalog import FILE

    return kept is not None and os.path.realpath(path) == os.path.realpath(os.path.join(kept, FILE))


def _below(folder: str) -> Iterator[str]:
    for place, folders, files in os.walk(folder):
        folders[:] = [f for f in folders if not f.startswith(".")]  # .git, .sqlstream, .venv
        yield from (
            os.path.normpath(os.path.join(place, f)) for f in files if f.endswith(ENDING) and not f.startswith(".")
        )


def scripts(terminal: Terminal, args: argparse.Namespace, options: Mapping[str, str]) -> list[Script] | int:
    """Those of `add_paths`, or of -c. `options`: of the session, of which one says where the catalog is."""
    if args.sql and args.paths:
        terminal.error("-c and a file do not go together")
        return 2
    if args.sql:
        return run.read_texts(args.sql)
    found = names(terminal, args.paths, options.get(CATALOG))
    return found if isinstance(found, int) else run.read_scripts(found)
