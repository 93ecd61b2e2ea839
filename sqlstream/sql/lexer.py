"""SQL text to tokens, for the splitter and the grammar alike, so that the two cannot disagree.

Comments and white space are dropped, hints (`/*+ … */`) are kept as the tokens between `/*+` and `*/`.
A quote or comment that does not end is the only error here; a character that begins no token becomes a BAD
token and the grammar refuses it where it stands.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from sqlstream.sql.source import Source

WORD, QUOTED, STRING, BINARY, NUMBER = "WORD", "QUOTED", "STRING", "BINARY", "NUMBER"
DOLLAR, DOUBLE_QUOTED, OPERATOR, BAD, END = "DOLLAR", "DOUBLE_QUOTED", "OPERATOR", "BAD", "END"

# quotes are possessive: backtracking would end a string at the first half of its last ''
_PATTERN = re.compile(
    r"""
      (?P<SKIP>[\s\ufeff]+|--[^\r\n]*|/\*(?!\+).*?\*/)
    | (?P<BINARY>[xX]'[^']*')
    | (?P<UNICODE>[uU]&'[^']*+(?:''[^']*+)*+')
    | (?P<WORD>[^\W\d](?:\w|\$(?!\$))*)
    | (?P<NUMBER>(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)
    | (?P<STRING>'[^']*+(?:''[^']*+)*+')
    | (?P<QUOTED>`[^`]*+(?:``[^`]*+)*+`)
    | (?P<DOUBLE_QUOTED>"[^"]*+(?:""[^"]*+)*+")
    | (?P<DOLLAR>\$\$.*?\$\$)
    | (?P<UNFINISHED>/\*(?!\+)|['`"]|\$\$)
    | (?P<OPERATOR>/\*\+|<>|<=>|<=|>=|!=|==|=>|\|\||::|->|[-+*/%=<>(),.;\[\]{}:?|&^~@\#!])
    | (?P<BAD>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_UNFINISHED = {
    "'": "string",
    "`": "quoted name",
    '"': "double quote",
    "/*": "comment",
    "$$": "$$ text",
}
_CLOSED = {
    "'": "a quote within a string is written twice: 'it''s'",
    "`": "a backtick closes it: `name`",
    '"': "names have backticks, strings single quotes, and both end",
    "/*": "*/ ends a comment",
    "$$": "$$ ends it",
}
_UNICODE_ESCAPE = re.compile(r"\\(\\|[0-9a-fA-F]{4}|\+[0-9a-fA-F]{6})")


class Token(NamedTuple):
    """One token. `text` is its value (unquoted, escapes undone); `start` and `end` are offsets, half open.

    `key` is what grammars compare: the upper-cased word or the operator, and "" for everything quoted, so
    that a quoted name is never taken for a keyword.
    """

    kind: str
    text: str
    key: str
    start: int
    end: int


def tokenize(source: Source) -> list[Token]:
    """The tokens of the whole text, closed by an END token; ParseError for a quote or comment left open."""
    text = source.text
    tokens: list[Token] = []
    match = _PATTERN.match
    at, size = 0, len(text)
    hint: int | None = None
    while at < size:
        if hint is not None and text.startswith("*/", at):
            tokens.append(Token(OPERATOR, "*/", "*/", at, at + 2))
            at, hint = at + 2, None
            continue
        found = match(text, at)
        assert found is not None  # BAD matches any character
        kind, word, end = str(found.lastgroup), found.group(), found.end()
        if kind == "UNFINISHED":
            raise source.error(f"this {_UNFINISHED[word]} does not end", at, _CLOSED[word])
        if kind == WORD:
            tokens.append(Token(WORD, word, word.upper(), at, end))
        elif kind in (OPERATOR, BAD):
            if word == "/*+":
                hint = at
            tokens.append(Token(kind, word, word if kind == OPERATOR else "", at, end))
        elif kind in (STRING, QUOTED, DOUBLE_QUOTED):
            quote = word[0]
            tokens.append(Token(kind, word[1:-1].replace(quote * 2, quote), "", at, end))
        elif kind == "UNICODE":
            value = _UNICODE_ESCAPE.sub(_unicode, word[3:-1].replace("''", "'"))
            tokens.append(Token(STRING, value, "", at, end))
        elif kind in (BINARY, DOLLAR):
            tokens.append(Token(kind, word[2:-1] if kind == BINARY else word[2:-2], "", at, end))
        elif kind == NUMBER:
            tokens.append(Token(NUMBER, word, "", at, end))
        at = end
    if hint is not None:
        raise source.error("this hint does not end", hint, "a hint is written /*+ NAME('key' = 'value') */")
    tokens.append(Token(END, "", "", size, size))
    return tokens


def _unicode(escape: re.Match[str]) -> str:
    digits = escape.group(1)
    if digits == "\\":
        return "\\"
    code = int(digits.lstrip("+"), 16)
    # lone surrogates and numbers past the last code point cannot stand in a string that will be written
    return chr(code) if code < 0x110000 and not 0xD800 <= code < 0xE000 else "\ufffd"
