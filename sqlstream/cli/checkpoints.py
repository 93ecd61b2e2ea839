"""`sqlstream checkpoints JOB`: what is known of a job's checkpoints."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sqlstream.cli import of_jobs
from sqlstream.cli.terminal import Terminal

if TYPE_CHECKING:
    from sqlstream.checkpoint.statistics import CheckpointRecord, CheckpointStatistics

_DESCRIPTION = """\
Lists the last checkpoints of a job: when each was triggered, how long it took (in all, and while the job stood still for it),
how much was uploaded of how much, and why one failed. With --id, one of them by operator and task. With --now, a running job
takes one first.
"""

_EPILOG = """\
examples:
  sqlstream checkpoints counts
  sqlstream checkpoints counts --id 12
  sqlstream checkpoints counts --now
  sqlstream checkpoints counts -n 1000 --output json

exit status:
  0 done; 1 there is no such job, or the checkpoint that was to be taken failed
"""

LINES = 10


def register(commands: Any) -> None:
    """Adds the subcommand to argparse's subparsers."""
    parser = of_jobs.command(commands, "checkpoints", "list a job's checkpoints", _DESCRIPTION, _EPILOG, run)
    parser.add_argument(
        "-n", "--lines", metavar="N", type=of_jobs.count, default=LINES, help=f"how many; default {LINES}"
    )
    parser.add_argument("--id", metavar="ID", type=of_jobs.count, help="one of them, by operator and task")
    parser.add_argument("--now", action="store_true", help="let the job take one first")
    of_jobs.add_output(parser)


def run(terminal: Terminal, args: argparse.Namespace) -> int:
    """`sqlstream checkpoints`."""
    from sqlstream.checkpoint.statistics import read
    from sqlstream.errors import OptionError
    from sqlstream.runtime.client import ask
    from sqlstream.runtime.jobs import find_job

    place = find_job(args.job)
    if args.now:
        with of_jobs.waiting(terminal, lambda: f"taking a checkpoint of {place.name}"):
            ask(place, "checkpoint", wait=True)
    known = read(place.directory)
    found = [r for r in known.history if args.id in (None, r.id)][-args.lines :] if args.lines else []
    if args.id is not None and not found:
        raise OptionError(f"job {place.name} has no record of checkpoint {args.id}", hint="older ones are forgotten")
    if of_jobs.output_of(args) != "table":
        of_jobs.write_data(terminal, args, [asdict(r) for r in found])
    elif args.id is not None:
        _details(terminal, found[-1])
    else:
        _list(terminal, known, found)
    return 0


def _list(terminal: Terminal, known: CheckpointStatistics, found: list[CheckpointRecord]) -> None:
    c = known.counts
    terminal.say(f"{c.completed:,} completed, {c.failed:,} failed, {c.restored:,} times gone on from one")
    head = ("id", "status", "triggered", "took", "stood still", "uploaded", "of", "attempt", "")
    of_jobs.table(terminal, head, [_row(r) for r in found], frozenset({0, 3, 4, 5, 6, 7}))


def _row(r: CheckpointRecord) -> tuple[str, ...]:
    from sqlstream.runtime.observer import iso

    notes = [r.failure_message or "", "" if r.failure_message or not r.discarded else "deleted since"]
    if r.is_savepoint:
        notes.append(f"savepoint {r.external_path or ''}".rstrip())
    return (
        str(r.id),
        r.status,
        iso(r.trigger_timestamp / 1000),
        _ms(r.end_to_end_duration),
        _ms(r.sync_duration),
        of_jobs.size(r.checkpointed_size),
        of_jobs.size(r.state_size),
        str(r.attempt),
        "; ".join(n for n in notes if n),
    )


def _details(terminal: Terminal, r: CheckpointRecord) -> None:
    row = _row(r)
    names = ("id", "status", "triggered", "took", "stood still", "uploaded", "of", "attempt", "note")
    terminal.text("".join(f"{n.ljust(11)}  {of_jobs.printable(v)}\n" for n, v in zip(names, row, strict=True) if v))
    rows = [
        (node, o.name, str(s.index), _ms(s.sync_duration), _ms(s.async_duration), of_jobs.size(s.checkpointed_size),
         of_jobs.size(s.state_size), str(s.files))
        for node, o in r.tasks.items()
        for s in o.subtasks
    ]  # fmt: skip
    if rows:
        terminal.text("\n")
        head = ("operator", "name", "task", "sync", "async", "uploaded", "of", "files")
        of_jobs.table(terminal, head, rows, frozenset({2, 3, 4, 5, 6, 7}))


def _ms(milliseconds: int | None) -> str:
    if milliseconds is None:
        return ""
    return f"{milliseconds} ms" if milliseconds < 10_000 else of_jobs.span(milliseconds / 1000)
