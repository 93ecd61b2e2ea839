"""Arguments that several commands share."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

OUTPUTS = ("table", "csv", "json")


def assignment(text: str) -> tuple[str, str]:
    """`key=value` as a pair, for argparse; the value may hold further `=` and may be empty."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise argparse.ArgumentTypeError(f"expected name=value, not '{text}'")
    return key.strip(), value


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
        help="how rows are written: table (default), csv with a header, json with an object a line",
    )
    flags = (
        ("--fresh", "start durable jobs anew instead of resuming; files that are published stay"),
        ("--verbose", "say on standard error what each statement did"),
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
    fresh: bool = False
    verbose: bool = False
    debug: bool = False


def settings(args: argparse.Namespace) -> Settings:
    """What was given, before and after the subcommand's name; of a repeated key the last one counts."""

    def pairs(name: str) -> dict[str, str]:
        return dict([*getattr(args, BEFORE_COMMAND + name, []), *getattr(args, name, [])])

    return Settings(
        pairs("options"),
        pairs("variables"),
        getattr(args, "output", "table"),
        getattr(args, "fresh", False),
        getattr(args, "verbose", False),
        getattr(args, "debug", False),
    )
