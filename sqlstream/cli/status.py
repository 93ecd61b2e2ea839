"""`sqlstream status JOB`: how one job is."""

from __future__ import annotations

import argparse
from typing import Any

from sqlstream.cli import jobs, of_jobs
from sqlstream.cli.terminal import Terminal

_DESCRIPTION = """\
Tells how a job is: its process is asked, or, where none runs it, its files. What is shown is also in status.json in the
job's directory, which its process writes once a second.
"""

_EPILOG = """\
examples:
  sqlstream status counts
  sqlstream status /srv/etl/.sqlstream/counts --output json
  sqlstream status counts > /dev/null || echo 'counts does not run'

exit status:
  0 it runs, or has finished; 1 there is no such job; 3 it does not run: CANCELED, FAILED, or LOST (its process was killed),
  or its process does not answer and has said nothing for some seconds: it was halted, say
"""


def register(commands: Any) -> None:
    """Adds the subcommand to argparse's subparsers."""
    parser = of_jobs.command(commands, "status", "tell how a job is", _DESCRIPTION, _EPILOG, run)
    of_jobs.add_output(parser)


def run(terminal: Terminal, args: argparse.Namespace) -> int:
    """`sqlstream status`."""
    from sqlstream.runtime.client import current
    from sqlstream.runtime.jobs import find_job

    view = current(find_job(args.job))
    if of_jobs.output_of(args) != "table":
        of_jobs.write_data(terminal, args, [jobs.value(view)])
    else:
        shown = [(k, v) for k, v in _lines(view) if v]
        width = max(len(k) for k, _ in shown)
        terminal.text("".join(f"{k.ljust(width)}  {of_jobs.printable(v)}\n" for k, v in shown))
    return 0 if (view.running and not view.silent) or view.status.state == "FINISHED" else 3


def _lines(view: Any) -> list[tuple[str, str]]:
    s, running = view.status, view.running
    span = of_jobs.span
    checkpoint = "" if s.checkpoint is None else f"{s.checkpoint}"
    details = [
        f"{span(s.checkpoint_age)} ago" if running and s.checkpoint_age is not None else s.checkpoint_time or "",
        f"took {span(s.checkpoint_duration)}" if s.checkpoint_duration is not None else "",
        of_jobs.size(s.checkpoint_size),
    ]
    checkpoint += "".join(f", {d}" for d in details if d) if checkpoint else ""
    process = f"{s.pid} on {s.host}" + ("" if running else " (gone)") if s.pid else ""
    in_rate, out_rate = (f" ({r:,.0f}/s)" if running else "" for r in (s.rows_in_rate, s.rows_out_rate))
    return [
        ("job", view.place.name),
        (
            "state",
            s.state
            + (", but it does not answer" if view.silent else "")
            + (f", the next attempt in {span(s.backoff)}" if s.backoff is not None and running else ""),
        ),
        ("message", s.message or ""),
        ("process", process),
        ("since", f"{s.started} ({span(s.uptime)})" if running and s.started else ""),
        ("attempt", str(s.attempt) if s.attempt > 1 else ""),
        ("last failure", f"{s.failure_time or ''} {s.failure}".strip() if s.failure else ""),
        ("rows in", f"{s.rows_in:,}{in_rate}"),
        ("rows out", f"{s.rows_out:,}{out_rate}"),
        ("behind", _behind(s) if running else ""),
        ("reconnects", f"{s.reconnects:,}" if s.reconnects else ""),
        ("watermark", (s.watermark or "") + (f", held by {s.held_by}" if s.watermark and s.held_by else "")),
        ("lag", span(s.lag)),
        ("late rows", f"{s.late_rows:,}" if s.late_rows else ""),
        ("bad rows", f"{s.bad_rows:,}" if s.bad_rows else ""),
        (
            "keyed state",
            f"{s.state_rows:,} rows in memory, {of_jobs.size(s.state_bytes)}" if running and s.state_rows else "",
        ),
        ("checkpoint", checkpoint),
        ("failed", of_jobs.counted(s.failed_checkpoints, "checkpoint") if s.failed_checkpoints else ""),
        (f"last {s.window}", _recent(s) if running else ""),
        ("parallelism", str(s.parallelism)),
        ("file", s.file or ""),
        ("log", s.log or ""),
        ("directory", str(view.place.directory)),
        ("socket", s.socket if running else ""),
        ("metrics", (s.metrics or "") if running else ""),
        ("sqlstream", s.version),
    ]


def _behind(s: Any) -> str:
    """What is there and was not read, where that can be told."""
    records = "" if s.pending_records is None else of_jobs.counted(s.pending_records, "record")
    size = "" if s.pending_bytes is None else of_jobs.size(s.pending_bytes) or "0 bytes"
    return ", ".join(part for part in (records, size) if part)


def _recent(s: Any) -> str:
    """What went wrong in the last minutes."""
    counted = {
        "failed checkpoint": s.window_failed_checkpoints,
        "restart": s.window_restarts,
        "late row": s.window_late_rows,
        "bad row": s.window_bad_rows,
    }
    return ", ".join(of_jobs.counted(n, noun) for noun, n in counted.items() if n)
