"""Scripts to statements: `split` cuts at `;`, `substitute` fills in `${name}`.

A statement set (`EXECUTE STATEMENT SET BEGIN insert; … END`, `BEGIN STATEMENT SET; … END`) is one statement.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from sqlstream.errors import ParseError, Position, did_you_mean
from sqlstream.references import PREFIXES as REFERENCES
from sqlstream.sql.lexer import END, Token, tokenize
from sqlstream.sql.source import Source


@dataclass(frozen=True)
class Piece:
    """One statement: its tokens (an END token last), its text without the `;`, where it starts."""

    tokens: tuple[Token, ...]
    text: str
    position: Position


def split(source: Source) -> list[Piece]:
    """The statements of a script, in order. Empty ones are dropped; comments do not move a start."""
    return [_piece(source, tokens) for tokens, _ in cut(tokenize(source))]


def is_complete(text: str) -> bool:
    """Whether the last statement has its `;`, and no quote or statement set is open: for a shell."""
    try:
        pieces = list(cut(tokenize(Source(text))))
    except ParseError:
        return False
    return bool(pieces) and pieces[-1][1]


def cut(tokens: list[Token]) -> Iterator[tuple[list[Token], bool]]:
    """The tokens of each statement, and whether a `;` closed it."""
    current: list[Token] = []
    block = _Block()
    for token, following in zip(tokens, [*tokens[1:], tokens[-1]], strict=True):
        if token.kind == END or (token.key == ";" and not block.holds(current)):
            if current:
                yield current, token.kind != END
            current, block = [], _Block()
        else:
            block.see(token, current, following)
            current.append(token)


class _Block:
    """Whether the statement that is being read is a statement set, whose `;` do not end it."""

    def __init__(self) -> None:
        self.open = False
        self.cases = 0

    def holds(self, before: Sequence[Token]) -> bool:
        # the old form has its first `;` before the body: BEGIN STATEMENT SET ;
        if not self.open and [t.key for t in before] == ["BEGIN", "STATEMENT", "SET"]:
            self.open = True
        return self.open

    def see(self, token: Token, before: Sequence[Token], following: Token) -> None:
        previous = before[-1].key if before else ""
        if previous == ".":  # a field that is called so
            return
        if token.key == "CASE":
            self.cases += 1
        elif token.key == "BEGIN" and [t.key for t in before[-2:]] == ["STATEMENT", "SET"]:
            self.open, self.cases = True, 0
        elif token.key == "END":
            # a CASE never ends right behind a `;`, so this END is the block's even when a CASE lacks its own
            if previous in (";", "BEGIN") or self._last(following):
                self.open = False
            self.cases = max(self.cases - 1, 0)

    def _last(self, following: Token) -> bool:
        return self.cases == 0 and (following.key == ";" or following.kind == END)


def _piece(source: Source, tokens: list[Token]) -> Piece:
    start, end = tokens[0].start, tokens[-1].end
    return Piece((*tokens, Token(END, "", "", end, end)), source.text[start:end], source.position(start))


_VARIABLE = re.compile(
    r"""
      (?P<skip>--[^\r\n]*|/\*(?!\+).*?(?:\*/|\Z)|\$\$.*?(?:\$\$|\Z))
    | (?P<quote>['`"])
    | \$\{(?P<name>[^{}\r\n]*)\}
    """,
    re.VERBOSE | re.DOTALL,
)


def substitute(
    text: str,
    variables: Mapping[str, str],
    source: str | None = None,
    unknown: Callable[[ParseError], str] | None = None,
) -> str:
    """The text with each `${name}` outside comments, and `$$` texts, replaced by its value; but for `${env:…}` and `${file:…}`.

    Within quotes the value's own quotes are doubled, so that a path like `it's.json` stays one string.
    ParseError, with the place and the names that there are, for an unknown variable; `unknown` gets it instead of the
    caller, and says what is to stand there.
    """
    out: list[str] = []
    done = 0
    quote = ""
    at = 0
    while found := _VARIABLE.search(text, at):
        at = found.end()
        name = found.group("name")
        if found.group("quote"):
            # '' within '..' closes and opens again: the same as an escape
            quote = "" if quote == found.group() else quote or found.group()
        elif found.group("skip"):
            if quote:  # within a string this is neither: look again right behind its first character
                at = found.start() + 1
        elif name is not None:
            key = name.strip()
            if key.startswith(REFERENCES):  # of an option's value: it stands there until the table is opened
                continue
            if key not in variables:
                error = Source(text, source).error(
                    f"unknown variable ${{{key}}}",
                    found.start(),
                    did_you_mean(key, variables, "variables") if variables else f"give it a value: --var {key}=…",
                )
                if unknown is None:
                    raise error
                value = unknown(error)
            else:
                value = variables[key]
            out.append(text[done : found.start()])
            out.append(value.replace(quote, quote * 2) if quote else value)
            done = found.end()
    out.append(text[done:])
    return "".join(out)
