"""The base of the grammar: a place in a list of tokens, and the moves that all rules share.

The grammar is a recursive descent in layers, each one file and one class on top of the last:
Cursor, TypeGrammar, ExpressionGrammar (with CallGrammar), RelationGrammar, QueryGrammar, then the statements.
Why not sqlglot's parser: it accepts much that is not Flink SQL, rewrites functions and their arguments, and its
internals, which a dialect overrides, change between minor versions. Nodes and generator are public and stable.
A rule begins at its first token and ends behind its last one; it raises ParseError where the text is wrong.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn, TypeVar

from sqlglot import exp

from sqlstream.errors import Position, did_you_mean
from sqlstream.sql.lexer import BAD, DOUBLE_QUOTED, END, NUMBER, QUOTED, STRING, WORD, Token
from sqlstream.sql.source import Source
from sqlstream.sql.statements import FileName
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
        """The token before the current one; at the beginning the current one."""
        return self.tokens[max(self.at_index - 1, 0)]

    def ahead(self, n: int) -> Token:
        """The token n places on; behind the end it is END."""
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
        """Move over the current token, and give it. END is never passed."""
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
        """What the rule reads, with ( before and ) behind it."""
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

    def table(self, what: str = "a table's name") -> tuple[str, ...]:
        """The name of a table that is read: also the path of files, in single quotes."""
        return (FileName(self._path()),) if self.token.kind == STRING else self.name(what)

    def _path(self) -> str:
        token = self.token
        if not token.text.strip():
            self.fail_at(token, "the path of files is empty", "a file, a directory or a glob: 'logs/*.json'")
        return self.advance().text

    def string(self, what: str = "a string in single quotes") -> str:
        """The value of a string literal, which must follow."""
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
        """Where a token begins: line and column, from 1."""
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
                name = variable.group()[2:-1]
                self.fail_at(token, f"the variable {variable.group()} has no value", f"--var {name}=… gives it one")
            self.fail_at(
                token, f"unexpected character {token.text!r}", hint or CHARACTERS.get(token.text) or self.form()
            )
        if token.kind == DOUBLE_QUOTED:
            raise self.source.error(
                "double quotes mean nothing in Flink SQL",
                token.start,
                f"write `{token.text}` for a name, '{token.text}' for a string",
            )
        hint = hint or self._foreign()
        if hint is None:
            self._refuse_misspelt()
        found = describe(self.source, token)
        self.fail_at(token, f"{expected}, found {found}", hint or self._advice(expected, found) or self.form())

    def form(self) -> str | None:
        """How what is being read is written, where that is known."""
        return None

    def _foreign(self) -> str | None:
        """The hint for a word of another dialect, here or taken for an alias just before."""
        return HINTS.get(self.token.key) or HINTS.get(self.previous.key)

    def _refuse_misspelt(self) -> None:
        """Raise where the word here, or the one before that was taken for a name, is nearly a word of queries."""
        for token in (self.token, self.previous):
            if token.kind == WORD and token.key not in RESERVED:
                meant = difflib.get_close_matches(token.key, _CLAUSES, n=1, cutoff=0.74)
                if meant:
                    self.fail_at(
                        token,
                        f"{token.text} is no word of SQL, and no name can stand here",
                        f"did you mean {meant[0]}?",
                    )

    def _advice(self, expected: str, found: str) -> str | None:
        """What is wrong most likely: a bracket, a comma or a semicolon too few or too many."""
        token, comma = self.token, "is a comma missing before it"
        is_item = token.kind in (STRING, QUOTED, NUMBER) or (token.kind == WORD and token.key not in RESERVED)
        if expected.endswith(")") and (opened := self._open_bracket()) is not None:
            place = self.place(opened)
            closing = f"the ( at {place.line}:{place.column} is not closed"
            return f"{comma}? Or {closing}" if is_item else closing
        if self.previous.key == ",":
            return f"is there a comma too many before {found}?"
        if expected == "expected the end of the statement":
            if token.key == ")":
                return "there is no ( that it closes"
            if token.key in _BEGINNINGS:
                return "is a ; missing before it? Statements are separated by semicolons"
        return None

    def _open_bracket(self) -> Token | None:
        """The last ( before here that has no )."""
        depth = 0
        for token in reversed(self.tokens[: self.at_index]):
            depth += {")": 1, "(": -1}.get(token.key, 0)
            if depth < 0:
                return token
        return None

    def fail_at(self, token: Token, message: str, hint: str | None = None) -> NoReturn:
        """Raise the message at a token, with its line of text."""
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
    "TOP": "write LIMIT n at the end of the query",
    "EMIT": "EMIT CHANGES or EMIT ON WINDOW CLOSE stands behind a statement's whole query",
    "CHANGES": "EMIT CHANGES stands behind a statement's whole query",
    "PIVOT": "write FROM t PIVOT (SUM(x) FOR k IN ('a', 'b'))",
    "UNPIVOT": "write FROM t UNPIVOT (x FOR k IN (a, b))",
    "INTO": "write INSERT INTO t SELECT …, or CREATE TABLE t WITH (…) AS SELECT …",
    "GLOB": "write LIKE, or REGEXP(x, pattern)",
    "DIV": "write a / b: of whole numbers it is a whole number",
    "?": "write CASE WHEN c THEN a ELSE b END, or IF(c, a, b)",
    "&": "write AND; there are no operators of bits",
    "|": "write OR, or || for texts; there are no operators of bits",
    "^": "write POWER(x, y)",
    "~": "write REGEXP(x, pattern)",
    "!": "write NOT",
    "@": "write ${name} for a variable of scripts (--var name=value)",
    ":": "parameters are for execute(sql, parameters); in scripts write ${name}",
    "{": "write ROW(a, b), or MAP['key', value]",
    "[": "write ARRAY[a, b]",
    "#": "a comment begins with --",
    "STREAM": "a stream is a table: CREATE TABLE t (…) WITH ('connector' = '…')",
    "INDEX": "there are no indexes: state is kept by the keys of each query",
    "TEMP": "write TEMPORARY",
    "SCHEMA": "what other systems call a schema is a DATABASE: CREATE DATABASE d",
    "AUTO_INCREMENT": "rows get no numbers: ROW_NUMBER() OVER (…) counts them in a query",
    "SERIAL": "rows get no numbers: ROW_NUMBER() OVER (…) counts them in a query",
    "REFERENCES": "there are no foreign keys",
    "UNIQUE": "the constraint there is: PRIMARY KEY (a) NOT ENFORCED",
    "ANALYSE": "write EXPLAIN ANALYZE",
    "TO": "write =",
    "SECOND": "write INTERVAL '1' SECOND",
    "MINUTE": "write INTERVAL '1' MINUTE",
    "HOUR": "write INTERVAL '1' HOUR",
    "DAY": "write INTERVAL '1' DAY",
    "DAYS": "write INTERVAL '1' DAY",
    "MONTH": "write INTERVAL '1' MONTH",
    "/*+": "a hint stands right behind SELECT or a table's name",
}


# characters that begin no token
CHARACTERS = {
    **dict.fromkeys("“”„", "this is a typographic quote: names have backticks, strings straight quotes (')"),
    **dict.fromkeys("‘’‚´", "this is a typographic quote: a string has straight ones (')"),
    "，": "this is a wide comma: write ,",
    "；": "this is a wide semicolon: write ;",
    "（": "this is a wide bracket: write (",
    "）": "this is a wide bracket: write )",
    "\\": "what begins with \\ is for the shell; in scripts: SHOW TABLES, DESCRIBE t",
    "$": "parameters are written ? or :name, and variables of scripts ${name}",
}
_CLAUSES = (
    "FROM", "WHERE", "GROUP BY", "ORDER BY", "HAVING", "LIMIT", "OFFSET", "JOIN", "LEFT", "RIGHT", "FULL", "CROSS", "INNER",
    "UNION", "INTERSECT", "EXCEPT", "QUALIFY", "WINDOW", "FETCH", "BETWEEN", "SELECT", "VALUES", "PARTITION BY",
)  # fmt: skip
_BEGINNINGS = (
    "SELECT",
    "INSERT",
    "CREATE",
    "DROP",
    "SHOW",
    "USE",
    "SET",
    "RESET",
    "EXPLAIN",
    "DESCRIBE",
    "WITH",
    "EXECUTE",
    "STOP",
)


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
