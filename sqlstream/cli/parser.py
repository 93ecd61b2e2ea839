"""argparse with hints: what a mistyped command, option or value was meant to be."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable
from typing import Any, NoReturn

_CHOICE = re.compile(r"argument (?P<of>.+?): invalid choice: '(?P<given>.*)' \(choose from (?P<known>.*)\)", re.S)
_UNKNOWN = "unrecognized arguments: "


class Parser(argparse.ArgumentParser):
    """A parser, and those of its subcommands. Errors end the process with status 2, and say what to write instead."""

    def __init__(self, **more: Any) -> None:
        super().__init__(**{"formatter_class": argparse.RawDescriptionHelpFormatter, "allow_abbrev": False, **more})

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[argparse.Namespace, list[str]]:  # type: ignore[override]
        """Nothing may be left: argparse would tell the program's own parser, which does not know the subcommand's options."""
        found, rest = super().parse_known_args(args, namespace)
        if rest:
            self.error(_UNKNOWN + " ".join(rest))
        return found, rest

    def error(self, message: str) -> NoReturn:
        hint = self._hint(message)
        self.print_usage(sys.stderr)
        self.exit(2, f"{self.prog}: error: {_without_list(message)}\n" + (f"hint: {hint}\n" if hint else ""))

    def _hint(self, message: str) -> str:
        if found := _CHOICE.fullmatch(message):
            known = [k.strip(" '") for k in found["known"].split(",")]
            return _nearest(found["given"], known) or (
                "" if found["of"] != "COMMAND" else f"`{self.prog} --help` lists the commands"
            )
        if message.startswith(_UNKNOWN):
            given = message.removeprefix(_UNKNOWN).split()[0]
            options = [o for a in self._actions for o in a.option_strings if a.help is not argparse.SUPPRESS]
            if given.startswith("-"):
                return _nearest(given.partition("=")[0], options) or f"`{self.prog} --help` lists the options"
            return f"`{self.prog} --help` says what it takes"
        return ""


def _without_list(message: str) -> str:
    """An unknown command is answered without the list of all."""
    found = _CHOICE.fullmatch(message)
    return f"there is no command '{found['given']}'" if found is not None and found["of"] == "COMMAND" else message


def _nearest(given: str, known: Iterable[str]) -> str:
    import difflib

    near = difflib.get_close_matches(given.lower(), list(known), n=1, cutoff=0.6)
    return f"did you mean {near[0]}?" if near else ""


def subparsers(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The parsers of a parser's commands, by name; {} where it has none."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}
