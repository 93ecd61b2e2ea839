"""`sqlstream logs JOB`: what a submitted job has written to its log."""

from __future__ import annotations

import argparse
import os
import time
from io import FileIO
from pathlib import Path
from typing import Any

from sqlstream.cli import of_jobs
from sqlstream.cli.terminal import Terminal

_DESCRIPTION = """\
Shows the last lines of the log of a job that was submitted. With -f it goes on with what comes, across rotations and new
starts of the job, until Ctrl-C.
"""

_EPILOG = """\
examples:
  sqlstream logs counts
  sqlstream logs counts -n 1000 | grep error
  sqlstream logs counts -f
"""

_STEP = 0.2
LINES = 100


def register(commands: Any) -> None:
    """Adds the subcommand to argparse's subparsers."""
    parser = of_jobs.command(commands, "logs", "show a submitted job's log", _DESCRIPTION, _EPILOG, run)
    parser.add_argument("-f", "--follow", action="store_true", help="go on with what comes")
    parser.add_argument(
        "-n", "--lines", metavar="N", type=of_jobs.count, default=LINES, help=f"last lines; default {LINES}"
    )


def run(terminal: Terminal, args: argparse.Namespace) -> int:
    """`sqlstream logs`."""
    from sqlstream.cli.job_log import log_file
    from sqlstream.errors import OptionError
    from sqlstream.runtime.jobs import find_job

    place = find_job(args.job)
    path = log_file(place.directory)
    if not path.exists() and not path.with_name(f"{path.name}.1").exists():
        raise OptionError(
            f"job {place.name} has no log: there is no {path}",
            hint="a job that was started with `sqlstream run` writes to its terminal; `sqlstream submit` gives it a log",
        )
    position = show_last(terminal, path, args.lines)
    if args.follow:
        try:
            follow(terminal, path, position)
        except KeyboardInterrupt:
            return 130
    return 0


def show_last(terminal: Terminal, path: Path, count: int) -> tuple[int, int]:
    """Writes the last lines, also those that were rotated away. Gives the file and the place in it where they end."""
    parts: list[list[bytes]] = []
    end = (0, 0)
    seen: set[int] = set()  # files: one may be put aside, and get the next number, meanwhile
    wanted, number = count, 0
    while wanted > 0 or number == 0:
        file = path if number == 0 else path.with_name(f"{path.name}.{number}")
        number += 1
        try:
            with open(file, "rb") as f:
                data = f.read()
                inode = os.fstat(f.fileno()).st_ino
        except FileNotFoundError:
            if number > 1:
                break
            continue
        if inode in seen:
            continue
        seen.add(inode)
        if number == 1:
            data = data[: data.rfind(b"\n") + 1]  # a line that is being written comes later
            end = (inode, len(data))
        lines = data.splitlines(keepends=True)[-wanted:] if wanted else []
        parts.insert(0, lines)
        wanted -= len(lines)
    for lines in parts:
        terminal.write(b"".join(lines))
    return end


def follow(terminal: Terminal, path: Path, position: tuple[int, int]) -> None:
    """Writes what comes, until it is interrupted. A file that was rotated away is read to its end first."""
    file: FileIO | None = None
    inode, offset = position
    terminal.write(_rotated_meanwhile(path.with_name(f"{path.name}.1"), inode, offset))
    while True:
        if file is None:
            try:
                file = FileIO(path)
            except FileNotFoundError:
                time.sleep(_STEP)
                continue
            found = os.fstat(file.fileno()).st_ino
            file.seek(offset if found == inode else 0)
            inode = found
        if data := file.read(1 << 16):
            terminal.write(data)
            continue
        try:
            status = os.stat(path)
        except FileNotFoundError:
            status = None
        if status is None or status.st_ino != inode or status.st_size < file.tell():
            rest = file.read()
            if rest:
                terminal.write(rest)
            file.close()
            file, offset = None, 0
        time.sleep(_STEP)


def _rotated_meanwhile(before: Path, inode: int, offset: int) -> bytes:
    """What was written to the file behind `offset` before it became `before`."""
    try:
        with open(before, "rb") as f:
            if os.fstat(f.fileno()).st_ino != inode:
                return b""
            f.seek(offset)
            return f.read()
    except FileNotFoundError:
        return b""
