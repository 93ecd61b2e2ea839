"""`sqlstream catalog [NAME]`: the tables, views and functions that are kept."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from sqlstream.cli import of_jobs, run, validate
from sqlstream.cli.terminal import Terminal

if TYPE_CHECKING:
    from sqlstream.session import Session

_DESCRIPTION = """\
Lists the tables, views and functions of the catalog that is kept in the directory that option table.catalog-store.file.path names, and
of the scripts that --with names, without running them. With NAME: the columns of one table or view. A name means what it does in
default_database; [catalog.][database.]name is one of another database.
"""

_EPILOG = """\
examples:
  sqlstream catalog
  sqlstream catalog readings
  sqlstream catalog --columns --output csv
  sqlstream catalog --with tables.sql -D table.catalog-store.file.path=catalog

exit status:
  0 done; 1 there is no such table or view, or the catalog cannot be read; 2 wrong usage
"""


def register(commands: Any) -> None:
    """Adds the subcommand to argparse's subparsers."""
    parser = of_jobs.command(
        commands, "catalog", "list tables and their columns", _DESCRIPTION, _EPILOG, catalog, job=False
    )
    parser.add_argument("name", metavar="NAME", nargs="?", help="a table or view: its columns are listed")
    parser.add_argument("--columns", action="store_true", help="the columns of all tables and views")
    validate.add_before(parser)
    of_jobs.add_output(parser)


def catalog(terminal: Terminal, args: argparse.Namespace) -> int:
    """`sqlstream catalog`."""
    from sqlstream.cli import arguments

    settings = run.with_configuration(arguments.settings(args))
    before = run.read_scripts(args.before)
    if isinstance(settings, int) or isinstance(before, int):
        return 2
    session = validate.session_of(settings)
    for script in before:
        validate.find_functions(script)
        for _ in session.execute(script.text, script.name, settings.variables):
            continue
    if args.name is None and not args.columns:
        found = _objects(session)
    else:
        names = session.catalog.names() if args.name is None else [args.name]
        found = [row for name in names for row in _columns(session, name)]
    if of_jobs.output_of(args) != "table":
        of_jobs.write_data(terminal, args, found)
    elif found:
        head = tuple(found[0])
        of_jobs.table(
            terminal, head, [tuple("" if v is None else str(v) for v in r.values()) for r in found], frozenset()
        )
    elif session.settings.catalog_path is None and not before:
        terminal.say("no catalog is kept: option table.catalog-store.file.path is not set")
    else:
        terminal.say("there are no tables, views or functions")
    return 0


def _objects(session: Session) -> list[dict[str, Any]]:
    """A row for each; `of`: a table's connector, or a function's Python name."""
    from sqlstream.catalog.databases import CATALOG
    from sqlstream.catalog.objects import Table

    rows: list[tuple[str, str, str, int | None, str | None]] = []
    for identity in session.catalog.names():
        found = session.catalog.find(identity)
        assert found is not None
        of = found.option_map.get("connector") if isinstance(found, Table) else None
        kind = "table" if isinstance(found, Table) else "view"
        rows.append((*found.path, kind, len(session.columns_of(found)), of))
    for f in session.catalog.all_functions():
        rows.append((f.database, f.local_name, "function", None, f.path))
    head = ("catalog", "database", "name", "kind", "columns", "of")
    return [dict(zip(head, (CATALOG, *row), strict=True)) for row in rows]


def _columns(session: Session, name: str) -> list[dict[str, Any]]:
    from sqlstream import show

    parts = tuple(name.split("."))
    described = show.describe(session.environment, parts)
    return [{"table": parts[-1], **row} for batch, _ in described.batches() for row in batch.to_pylist()]
