"""Arguments that several commands share."""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass

from sqlstream.runtime.allowed import Allowed

OUTPUTS = ("table", "csv", "json", "jsonl", "markdown", "vertical")


def assignment(text: str) -> tuple[str, str]:
    """`key=value` as a pair, for argparse; the value may hold further `=` and may be empty."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise argparse.ArgumentTypeError(f"expected name=value, not '{text}'")
    return key.strip(), value


def seconds_of(text: str, name: str = "SECONDS") -> float:
    """A duration as options have it, a bare number in seconds. OptionError."""
    from sqlstream.options import Option

    if re.fullmatch(r"\d+\.?\d*|\.\d+", text.strip()):
        return float(text)
    return float(Option(name, "duration").convert(text, "argument")) / 1e6


def duration(text: str) -> float:
    """Seconds, for argparse, of a duration as options have it."""
    from sqlstream.errors import OptionError
    from sqlstream.options import Option

    try:
        return float(Option("--progress", "duration").convert(text, "argument")) / 1e6
    except OptionError as e:
        raise argparse.ArgumentTypeError(e.message) from None


def add_execution(parser: argparse.ArgumentParser, where: str = "") -> None:
    """How statements are run and their results shown; `settings` reads it.

    `where` keeps what stood before the subcommand's name apart: argparse would let the subcommand's replace it. For
    the same reason there are no defaults here.
    """
    parser.add_argument(
        "-D",
        dest=where + "options",
        metavar="KEY=VALUE",
        type=assignment,
        action="append",
        default=argparse.SUPPRESS,
        help="a session option, as in SET 'KEY' = 'VALUE'; a SET in the script wins over it",
    )
    parser.add_argument(
        "--var",
        dest=where + "variables",
        metavar="NAME=VALUE",
        type=assignment,
        action="append",
        default=argparse.SUPPRESS,
        help="the value of ${NAME} in the script",
    )
    parser.add_argument(
        "--output",
        choices=OUTPUTS,
        default=argparse.SUPPRESS,
        help="how rows are written: table (default), csv with a header, json (or jsonl) with an object a line, markdown, "
        "vertical with a value a line",
    )
    parser.add_argument(
        "--progress",
        metavar="DURATION",
        type=duration,
        default=argparse.SUPPRESS,
        help="how often a running job tells of itself where standard error is no terminal, such as '30 s'; 0: never "
        "(default: every 10 s in its first minute, then every minute)",
    )
    for flag, name, text in (
        ("--start-empty", "OPERATOR", "a changed job goes on though this operator has lost what it knew; may be repeated"),
        ("--keep-output", "TABLE", "a changed job goes on though its query for this table is another one: what is written "
                                   "stays, and what follows is by the new query; may be repeated"),
    ):  # fmt: skip
        parser.add_argument(flag, metavar=name, action="append", default=argparse.SUPPRESS, help=text)
    parser.add_argument(
        "-q", "--quiet", action="store_true", default=argparse.SUPPRESS,
        help="say nothing on standard error but warnings and errors",
    )  # fmt: skip
    parser.add_argument(
        "-v", "--verbose", action="store_true", default=argparse.SUPPRESS,
        help="say on standard error what each statement did",
    )  # fmt: skip
    flags = (
        ("--check", "run no job: print what would become of each, what is kept, rebuilt, dropped or refused"),
        ("--fresh", "start durable jobs anew instead of resuming; files that are published stay"),
        (
            "--no-pager",
            "show all rows and whole values also on a terminal, where long results are cut in the middle; the shell shows none by $PAGER",
        ),
        ("--debug", "show Python's traceback of an error"),
    )
    for flag, text in flags:
        parser.add_argument(flag, action="store_true", default=argparse.SUPPRESS, help=text)


BEFORE_COMMAND = "outer_"


@dataclass(frozen=True)
class Settings:
    """The arguments of `add_execution`."""

    options: dict[str, str]
    variables: dict[str, str]
    output: str = "table"
    progress: float | None = None  # seconds
    fresh: bool = False
    verbose: bool = False
    debug: bool = False
    check: bool = False
    quiet: bool = False
    allowed: Allowed = Allowed()
    pager: bool = True  # a terminal gets as much as it holds


def given_options(args: argparse.Namespace) -> dict[str, str]:
    """Those of -D, before and after the subcommand's name; of a repeated key the last one counts."""
    return dict([*getattr(args, BEFORE_COMMAND + "options", []), *getattr(args, "options", [])])


def configured(given: dict[str, str]) -> dict[str, str]:
    """The options of -D over those of files and environment. OptionError for what is none, or not a value of one."""
    import os
    from pathlib import Path

    from sqlstream.configuration import collected, values

    return values(collected(Path.cwd(), os.environ, given))


def settings(args: argparse.Namespace) -> Settings:
    """What was given, before and after the subcommand's name; of a repeated key the last one counts."""

    def pairs(name: str) -> dict[str, str]:
        return dict([*getattr(args, BEFORE_COMMAND + name, []), *getattr(args, name, [])])

    return Settings(
        given_options(args),
        pairs("variables"),
        getattr(args, "output", "table"),
        getattr(args, "progress", None),
        getattr(args, "fresh", False),
        getattr(args, "verbose", False),
        getattr(args, "debug", False),
        getattr(args, "check", False),
        getattr(args, "quiet", False),
        Allowed(frozenset(getattr(args, "start_empty", [])), frozenset(getattr(args, "keep_output", []))),
        not getattr(args, "no_pager", False),
    )
