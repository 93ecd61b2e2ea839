"""`sqlstream state JOB`: what the operators of a job keep."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from sqlstream.cli import arguments, of_jobs
from sqlstream.cli.terminal import Terminal

if TYPE_CHECKING:
    from sqlstream.runtime.state_tables import Stored

_DESCRIPTION = """\
Lists the states of a job's operators as its newest complete checkpoint has them, while it runs or after: rows, bytes in memory
(as Arrow columns), bytes of the operator's files, when the oldest row was written (where rows live for a time), and by how much
each has grown since the checkpoint before, if that is kept. All rows are read for it. JOB may be the path of a savepoint.
SELECT * FROM sqlstream.state('JOB', 'OPERATOR') shows the rows.
"""

_EPILOG = """\
examples:
  sqlstream state counts
  sqlstream state counts --checkpoint 41
  sqlstream state /backup/savepoint-counts-1a2b3c4d-0123456789ab --output json
"""


def register(commands: Any) -> None:
    """Adds the subcommand to argparse's subparsers."""
    parser = of_jobs.command(commands, "state", "list the state of a job", _DESCRIPTION, _EPILOG, run)
    parser.add_argument(
        "--checkpoint", type=int, metavar="N", help="that of a checkpoint that is kept; default: the newest"
    )
    of_jobs.add_options(parser, "the options that say where the job's checkpoints are, if that is elsewhere")
    of_jobs.add_output(parser)


_HEAD = ("operator", "state", "rows", "growth", "in memory", "on disk", "oldest")


def run(terminal: Terminal, args: argparse.Namespace) -> int:
    """`sqlstream state`."""
    from sqlstream.errors import OptionError
    from sqlstream.runtime.jobs import find_job, look
    from sqlstream.runtime.state_tables import at_path, of_job
    from sqlstream.session import Session

    session = Session(options=arguments.configured(arguments.given_options(args)))
    stores = session.environment.stores
    here = at_path(args.job, stores) if "/" in args.job else None
    if here is not None and args.checkpoint is not None:
        raise OptionError(f"{args.job} is one state: --checkpoint is for jobs")
    found = [here] if here is not None else of_job(look(find_job(args.job)), None, session.settings, stores)
    if args.checkpoint is not None:
        of_job(look(find_job(args.job)), args.checkpoint, session.settings, stores)  # refuses one that is not kept
        found = [s for s in found if s.number <= args.checkpoint]
    with of_jobs.waiting(terminal, lambda: f"reading the state of {args.job}"):
        values = _values(found)
    if of_jobs.output_of(args) != "table":
        of_jobs.write_data(terminal, args, values)
        return 0
    terminal.say(found[-1].title)
    if not values:
        terminal.say("no operator keeps state")
        return 0
    of_jobs.table(terminal, _HEAD, [_row(v) for v in values], frozenset({2, 3, 4, 5}))
    return 0


def _values(found: list[Stored]) -> list[dict[str, Any]]:
    """The states of the last one, with their growth since the one before."""
    before = {(s.operator, s.state): s.rows for s in found[-2].summaries()} if len(found) > 1 else None
    return [
        {
            "operator": s.operator,
            "state": s.state,
            "rows": s.rows,
            "growth": None if before is None else s.rows - before.get((s.operator, s.state), 0),
            "memory_bytes": s.bytes,
            "disk_bytes": found[-1].disk(s.operator),
            "oldest": None if s.oldest is None else s.oldest // 1000,
            "columns": s.columns,
        }
        for s in found[-1].summaries()
    ]


def _row(value: dict[str, Any]) -> tuple[str, ...]:
    import time

    oldest = value["oldest"]
    return (
        value["operator"],
        value["state"],
        f"{value['rows']:,}",
        "" if value["growth"] is None else f"{value['growth']:+,}",
        of_jobs.size(value["memory_bytes"]),
        of_jobs.size(value["disk_bytes"]),
        "" if oldest is None else f"{of_jobs.span(time.time() - oldest / 1000)} ago",
    )
