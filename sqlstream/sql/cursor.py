"""The base of the grammar: a place in a list of tokens, and the moves that all rules share.

The grammar is a recursive descent in layers, each one file and one class on top of the last:
Cursor, TypeGrammar, ExpressionGrammar (with CallGrammar), RelationGrammar, QueryGrammar, then the statements.
Why not sqlglot's parser: it accepts much that is not Flink SQL, rewrites functions and their arguments, and its
internals, which a dialect overrides, change between minor versions. Nodes and generator are public and stable.
A rule begins at its first token and ends behind its last one; it raises ParseError where the text is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn, TypeVar

from sqlglot import exp

from sqlstream.errors import Position, did_you_mean
from sqlstream.sql.lexer import BAD, DOUBLE_QUOTED, END, QUOTED, STRING, WORD, Token
from sqlstream.sql.source import Source
from sqlstream.sql.words import NAME_LIKE, RESERVED

T = TypeVar("T")
E = TypeVar("E", bound=exp.Expression)

# Python's own limit is 1,000 frames, and a level takes up to ten here and in the binder
MAX_NESTING = 64

_VARIABLE = re.compile(r"\$\{[^{}\r\n]*\}")


class Cursor:
    """A reader of tokens. `tokens` must end with an END token."""

    def __init__(self, source: Source, tokens: Sequence[Token]) -> None:
        self.source = source
        self.tokens = tokens
        self.token = tokens[0]  # the current one
        self.at_index = 0
        self.nesting = 0

    # ---- looking

    @property
    def previous(self) -> Token:
        return self.tokens[max(self.at_index - 1, 0)]

    def ahead(self, n: int) -> Token:
        return self.tokens[min(self.at_index + n, len(self.tokens) - 1)]

    def at(self, *keys: str) -> bool:
        """Whether the current token is one of these words or operators."""
        return self.token.key in keys and self.token.key != ""

    def at_sequence(self, *keys: str) -> bool:
        """Whether these words and operators follow, in this order."""
        return all(self.ahead(i).key == key for i, key in enumerate(keys))

    def at_name(self) -> bool:
        """Whether an identifier follows that needs no quotes, or has them."""
        return self.token.kind == QUOTED or (self.token.kind == WORD and self.token.key not in RESERVED)

    # ---- moving

    def advance(self) -> Token:
        token = self.token
        if token.kind != END:
            self.at_index += 1
            self.token = self.tokens[self.at_index]
        return token

    def accept(self, *keys: str) -> Token | None:
        """Move over this sequence of words and operators if it follows: its first token, else None."""
        token = self.token
        if token.key != keys[0] or not self.at_sequence(*keys):
            return None
        for _ in keys:
            self.advance()
        return token

    def expect(self, *keys: str) -> Token:
        """Move over this sequence, which must follow; the first token."""
        first = self.token
        for key in keys:
            if self.token.key != key:
                self.fail(f"expected {key}")
            self.advance()
        return first

    def choose(self, *keys: str) -> str:
        """Move over one of these words, one of which must follow."""
        if not self.at(*keys):
            self.fail(f"expected {_or(keys)}", self.near(keys))
        return self.advance().key

    def csv(self, rule: Callable[[], T]) -> list[T]:
        """One or more, with commas between."""
        items = [rule()]
        while self.accept(","):
            items.append(rule())
        return items

    def parenthesised(self, rule: Callable[[], T]) -> T:
        self.expect("(")
        item = rule()
        self.expect(")")
        return item

    def deepen(self) -> None:
        """Begin a level, which `self.nesting -= 1` ends: a clear error long before Python's stack ends."""
        self.nesting += 1
        if self.nesting > MAX_NESTING:
            raise self.source.error(
                f"this is nested more than {MAX_NESTING} levels deep",
                self.token.start,
                "take a part of it out into a view or a WITH query",
            )

    @contextmanager
    def nested(self) -> Iterator[None]:
        """One level deeper, for rules with many ends."""
        self.deepen()
        yield
        self.nesting -= 1

    # ---- names and literals

    def identifier(self, what: str = "a name") -> exp.Expression:
        """A name as an Identifier; `quoted` tells whether it needs quotes, not whether it had them."""
        token = self.token
        if not self.at_name():
            hint = self.quoting()
            if token.kind == STRING:
                hint = f"names are written without quotes or in backticks: `{token.text}`"
            self.fail(f"expected {what}", hint)
        if token.text == "":
            self.fail_at(token, "a name cannot be empty")
        self.advance()
        return self.mark(exp.Identifier(this=token.text, quoted=needs_quotes(token.text)), token)

    def name(self, what: str = "a name") -> tuple[str, ...]:
        """A name with its qualifiers, as its parts."""
        parts = [str(self.identifier(what).this)]
        while self.accept("."):
            parts.append(str(self.identifier(what).this))
        return tuple(parts)

    def string(self, what: str = "a string in single quotes") -> str:
        if self.token.kind != STRING:
            self.fail(f"expected {what}")
        return self.advance().text

    # ---- places and hints

    def near(self, keys: Iterable[str]) -> str | None:
        """`did you mean …?` where the current token looks like one of these words."""
        hint = did_you_mean(self.token.key, keys) if self.token.kind == WORD else ""
        return hint if hint.startswith("did you mean") else None

    def quoting(self) -> str | None:
        """How to write the current token where it was meant as a name and is not one."""
        token = self.token
        if token.key in NAME_LIKE:
            return f"{token.text} is a reserved word: write `{token.text}` where it is a name"
        return None

    def mark(self, node: E, first: Token, last: Token | None = None) -> E:
        """Give a node its place: from `first` to `last`."""
        place = self.source.position(first.start)
        node.meta.update(line=place.line, col=place.column, start=first.start, end=(last or first).end)
        return node

    def place(self, token: Token) -> Position:
        return self.source.position(token.start)

    def text_since(self, first: Token) -> str:
        """The source from `first` to the token before the current one."""
        return self.source.text[first.start : self.previous.end]

    # ---- errors

    def fail(self, expected: str, hint: str | None = None) -> NoReturn:
        """Raise: `expected …, found …` at the current token."""
        token = self.token
        if token.kind == BAD:
            if variable := _VARIABLE.match(self.source.text, token.start):
                self.fail_at(token, f"the variable {variable.group()} has no value", hint)
            self.fail_at(token, f"unexpected character {token.text!r}", hint)
        if token.kind == DOUBLE_QUOTED:
            raise self.source.error(
                "double quotes mean nothing in Flink SQL",
                token.start,
                f"write `{token.text}` for a name, '{token.text}' for a string",
            )
        self.fail_at(token, f"{expected}, found {describe(self.source, token)}", hint or self._foreign())

    def _foreign(self) -> str | None:
        """The hint for a word of another dialect, here or taken for an alias just before."""
        return HINTS.get(self.token.key) or HINTS.get(self.previous.key)

    def fail_at(self, token: Token, message: str, hint: str | None = None) -> NoReturn:
        raise self.source.error(message, token.start, hint)

    def unsupported(self, token: Token, message: str, hint: str) -> NoReturn:
        """Raise NotSupported: correct SQL that cannot be run."""
        raise self.source.unsupported(message, token.start, hint)


# what people write from other dialects, by the token where the grammar stops
HINTS = {
    "::": "casts are written CAST(x AS type)",
    "==": "equality is written =",
    "->": "JSON is read with JSON_VALUE(x, '$.path')",
    "ILIKE": "write LOWER(x) LIKE LOWER(pattern)",
    "RLIKE": "write REGEXP(x, pattern)",
    "&&": "write AND",
    "MINUS": "write EXCEPT",
    "/*+": "a hint stands right behind SELECT or a table's name",
}


def describe(source: Source, token: Token) -> str:
    """A token as an error message names it."""
    if token.kind == END:
        return "the end of the statement"
    text = " ".join(source.text[token.start : token.end].split())
    return text if len(text) <= 30 else text[:27] + "..."


def needs_quotes(name: str) -> bool:
    """Whether a name has to be written in backticks."""
    if name.upper() in RESERVED:
        return True
    return not (name.replace("_", "a").replace("$", "a").isalnum() and not name[0].isdigit() and name[0] != "$")


def _or(keys: Sequence[str]) -> str:
    return keys[0] if len(keys) == 1 else ", ".join(keys[:-1]) + " or " + keys[-1]
