"""Tokens and comments of a statement that is laid out anew, in their brackets."""

from __future__ import annotations

from dataclasses import dataclass

from sqlstream.sql.lexer import Token

HINT = "HINT"  # a kind of token that is made of several


@dataclass(frozen=True)
class Remark:
    """`own`: it is alone on its line, or its lines. `apart`: an empty line stands before it."""

    text: str
    own: bool
    apart: bool

    key = ""


@dataclass(frozen=True)
class Word:
    """A token, as it is to be written. `spaced`: whether a blank is to stand before it; `unary`: a sign of what follows."""

    token: Token
    text: str
    spaced: bool
    unary: bool = False

    @property
    def key(self) -> str:
        """The word in upper case."""
        return self.token.key


@dataclass(frozen=True)
class Nested:
    """What stands in brackets, in `<…>` of a type, or between CASE and END."""

    opening: Word
    inside: tuple[Part, ...]
    closing: Word

    @property
    def key(self) -> str:
        """The opening word's."""
        return self.opening.key


Part = Remark | Word | Nested
