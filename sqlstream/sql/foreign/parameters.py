"""Parameters in queries of other dialects: where they stand there, and texts as those dialects write them."""

from __future__ import annotations

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.tokens import Token, TokenType

from sqlstream.errors import SqlStreamError
from sqlstream.sql.lexer import tokenize
from sqlstream.sql.source import Source


def places(sql: str, dialect: str) -> list[tuple[int, int, str | None]]:
    """Where each `?` and `:name` outside strings and comments begins and ends, and the name. ValueError where the dialect
    cannot read `sql`."""
    try:
        tokens = sqlglot.tokenize(sql, read=dialect)
    except SqlglotError as e:
        raise ValueError(str(e).splitlines()[0]) from None
    out: list[tuple[int, int, str | None]] = []
    for before, t, behind in zip([None, *tokens], tokens, [*tokens[1:], None], strict=False):
        if t.token_type == TokenType.PLACEHOLDER:
            out.append((t.start, t.end + 1, None))
        elif t.token_type == TokenType.COLON and behind is not None and behind.start == t.end + 1:
            word = sql[behind.start : behind.end + 1]
            if word.isidentifier() and not (before is not None and _ends_a_value(before, t.start)):
                out.append((t.start, behind.end + 1, word))
    return out


def _ends_a_value(token: Token, at: int) -> bool:
    """Whether a `:` at this place goes on with what stands before it: a path, a slice, an entry."""
    if token.token_type in _VALUES:
        return True
    return bool(token.end + 1 == at and token.text.isidentifier())


_VALUES = (
    TokenType.NUMBER, TokenType.STRING, TokenType.IDENTIFIER, TokenType.R_PAREN, TokenType.R_BRACKET, TokenType.R_BRACE,
    TokenType.COLON, TokenType.PLACEHOLDER,
)  # fmt: skip


def text_literal(text: str, dialect: str) -> str:
    r"""The text in the dialect's quotes, `'a\\b'` in MySQL. ValueError where Flink's lexer would read on behind them.

    Both read the statement: Flink's finds where it ends.
    """
    literal = str(exp.Literal.string(text).sql(dialect=dialect))
    read = sqlglot.tokenize(literal, read=dialect)
    try:
        ours = len(tokenize(Source(literal)))
    except SqlStreamError:
        ours = 0
    if len(read) != 1 or read[0].text != text or ours != len(tokenize(Source("''"))):
        raise ValueError("it has a ' that would end it")
    return literal
