"""What the commands about jobs share: the argument JOB, errors, waiting, and small tables."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from sqlstream.cli import arguments
from sqlstream.cli.terminal import Terminal

JOB_HELP = "a job's name, or the path of its directory"
_SECONDS = 0.5


def command(
    commands: Any, name: str, help_: str, description: str, epilog: str, run: Callable[..., int], job: bool = True
) -> argparse.ArgumentParser:
    """Adds a subcommand; `run` is called with the terminal and the arguments, and gives the exit status."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=help_,
        description=description,
        epilog=epilog,
    )
    if job:
        parser.add_argument("job", metavar="JOB", help=JOB_HELP)
    parser.set_defaults(command=lambda args: guarded(run, args))
    return parser


def add_options(parser: argparse.ArgumentParser, told: str) -> None:
    """Adds `-D KEY=VALUE`; `told`: its line of help."""
    parser.add_argument(
        "-D",
        dest="options",
        metavar="KEY=VALUE",
        type=arguments.assignment,
        action="append",
        default=argparse.SUPPRESS,
        help=told,
    )


def add_output(parser: argparse.ArgumentParser) -> None:
    """How what is found is written."""
    parser.add_argument(
        "--output",
        choices=arguments.OUTPUTS,
        default=argparse.SUPPRESS,
        help="table, for people (default); csv with a header; json (or jsonl), an object a line; markdown; vertical",
    )


def output_of(args: argparse.Namespace) -> str:
    """What `add_output` was given."""
    return str(getattr(args, "output", "table"))


def guarded(run: Callable[[Terminal, argparse.Namespace], int], args: argparse.Namespace) -> int:
    """The command's exit status; 1 with a message for what is the user's to know, 130 after Ctrl-C, which ends the
    waiting and nothing else."""
    from sqlstream.errors import SqlStreamError

    terminal = Terminal()
    try:
        return run(terminal, args)
    except BrokenPipeError:
        raise
    except SqlStreamError as e:
        terminal.error(str(e))
        return 1
    except OSError as e:
        where = f"{e.filename}: " if e.filename else ""
        terminal.error(f"{where}{e.strerror or e}")
        return 1
    except KeyboardInterrupt:
        terminal.progress("")
        terminal.say("no longer waiting; what was asked of the job goes on")
        return 130


def count(text: str) -> int:
    """A whole number from 0 on, for argparse."""
    if not (text.isdecimal() and text.isascii() and len(text) < 16):
        raise argparse.ArgumentTypeError(f"expected a whole number, not '{text}'")
    return int(text)


def absolute(directory: str) -> str:
    """A directory as the job's process is to know it, which works elsewhere; "" and URLs stay."""
    return directory if not directory or "://" in directory else os.path.abspath(directory)


@contextlib.contextmanager
def waiting(terminal: Terminal, text: Callable[[], str]) -> Iterator[None]:
    """While it lasts, a terminal shows what is waited for, and for how long."""
    over = threading.Event()
    began = time.monotonic()

    def draw() -> None:
        while not over.wait(_SECONDS):
            terminal.progress(f"{text()}, {time.monotonic() - began:.0f} s")

    thread = threading.Thread(target=draw, name="waiting", daemon=True)
    if terminal.interactive:
        thread.start()
    try:
        yield
    finally:
        over.set()
        if thread.is_alive():
            thread.join()
        terminal.progress("")


def write_data(terminal: Terminal, args: argparse.Namespace, values: list[dict[str, Any]]) -> None:
    """What is found, in the form that `add_output` was given, which is not "table"."""
    from sqlstream.cli.records import FORMS

    terminal.text(FORMS[output_of(args)](values))


def table(terminal: Terminal, head: tuple[str, ...], rows: Sequence[tuple[str, ...]], right: frozenset[int]) -> None:
    """Columns with two blanks between; those of `right` end under each other."""
    cells = [head, *(tuple(printable(c) for c in row) for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    lines = [
        "  ".join(c.rjust(w) if i in right else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True)))
        for row in cells
    ]
    terminal.text("".join(line.rstrip() + "\n" for line in lines))


_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """What would move the cursor or turn the writing direction is shown as an escape."""
    return _CONTROL.sub(lambda m: repr(m.group())[1:-1], text)


def span(seconds: float | None) -> str:
    """A time for people: 12 s, 3 min, 5 h, 12 d."""
    if seconds is None:
        return ""
    size = abs(seconds)
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if size >= 2 * length:
            return f"{seconds / length:,.0f} {unit}"
    return f"{seconds:,.0f} s" if size >= 10 else f"{seconds:.1f} s"


def size(number: int | None) -> str:
    """Bytes for people: 512 bytes, 1.5 MB."""
    if number is None:
        return ""
    for unit, length in (("GB", 1 << 30), ("MB", 1 << 20), ("kB", 1 << 10)):
        if number >= length:
            return f"{number / length:,.1f} {unit}"
    return f"{number} bytes"


def counted(n: int, noun: str) -> str:
    """ "1,000 rows", "1 row"."""
    return f"{n:,} {noun}" + ("" if n == 1 else "s")
