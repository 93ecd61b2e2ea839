"""`sqlstream doctor`: whether all is well where it is installed, and here."""

from __future__ import annotations

import argparse
import os
from dataclasses import asdict
from typing import Any

from sqlstream.cli import of_jobs
from sqlstream.cli.terminal import Terminal

_DESCRIPTION = """\
Checks the installation, versions of libraries and extras, configuration and catalog, directories and disks, the cache of compiled
kernels, DuckDB and RocksDB, time zones, the terminal, and the jobs of this user. Each line is OK, WARN (it works, but …) or FAIL, with
what to do. Nothing is changed.
"""

_EPILOG = """\
examples:
  sqlstream doctor
  sqlstream doctor -q
  sqlstream doctor --output json

exit status:
  0 nothing failed; 1 something did
"""


def register(commands: Any) -> None:
    """Adds the subcommand to argparse's subparsers."""
    parser = of_jobs.command(
        commands, "doctor", "check the installation and this directory", _DESCRIPTION, _EPILOG, doctor, job=False
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="only what is not well")
    of_jobs.add_output(parser)


def doctor(terminal: Terminal, args: argparse.Namespace) -> int:
    """`sqlstream doctor`."""
    from sqlstream.cli.checkups import FAIL, OK, WARN, findings

    counts = dict.fromkeys((OK, WARN, FAIL), 0)
    colours = {OK: "32", WARN: "33", FAIL: "31;1"} if terminal.interactive and not os.environ.get("NO_COLOR") else {}
    told = []
    for f in findings():
        counts[f.state] += 1
        if args.quiet and f.state == OK:
            continue
        told.append(asdict(f))
        if of_jobs.output_of(args) != "table":
            continue
        state = f"\x1b[{colours[f.state]}m{f.state:4}\x1b[0m" if colours else f"{f.state:4}"
        advice = f"      {of_jobs.printable(f.advice)}\n" if f.advice and f.state != OK else ""
        terminal.text(f"{state}  {f.about}: {of_jobs.printable(f.text)}\n{advice}")
    if of_jobs.output_of(args) != "table":
        of_jobs.write_data(terminal, args, told)
    elif not args.quiet:
        terminal.say(", ".join(f"{n} {state}" for state, n in counts.items()))
    return 1 if counts[FAIL] else 0
