"""`sqlstream version`: which versions of what."""

from __future__ import annotations

import argparse
from typing import Any

from sqlstream.cli import of_jobs
from sqlstream.cli.terminal import Terminal

_DESCRIPTION = """\
Shows the version; with --verbose that of Python, the system, where the package is, and the versions of the libraries below it, those of
extras too. `sqlstream doctor` says whether they fit together.
"""

_EPILOG = """\
examples:
  sqlstream version
  sqlstream version --verbose
  sqlstream version --verbose --output json
"""


def register(commands: Any) -> None:
    """Adds the subcommand to argparse's subparsers."""
    parser = of_jobs.command(commands, "version", "show versions", _DESCRIPTION, _EPILOG, version, job=False)
    parser.add_argument("-v", "--verbose", action="store_true", help="also of Python and of libraries")
    of_jobs.add_output(parser)


def version(terminal: Terminal, args: argparse.Namespace) -> int:
    """`sqlstream version`."""
    from sqlstream.distribution import VERSION

    rows = [("sqlstream", VERSION), *(_more() if args.verbose else [])]
    if of_jobs.output_of(args) != "table":
        of_jobs.write_data(terminal, args, [{"name": n, "version": v} for n, v in rows])
    elif args.verbose:
        width = max(len(n) for n, _ in rows)
        terminal.text("".join(f"{n.ljust(width)}  {v}\n" for n, v in rows))
    else:
        terminal.text(f"sqlstream {VERSION}\n")
    return 0


def _more() -> list[tuple[str, str]]:
    import platform
    import sys
    from pathlib import Path

    from sqlstream.cli.libraries import libraries

    found = [
        ("python", f"{platform.python_version()} ({sys.executable})"),
        ("system", platform.platform()),
        ("package", str(Path(__file__).parents[1])),
    ]
    for library in libraries():
        extra = f" (extra {library.extra})" if library.extra else ""
        found.append((library.name, f"{library.version or 'not installed'}{extra}"))
    return found
