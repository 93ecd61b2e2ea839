"""Scripts laid out anew: the same tokens and the same comments, in lines that can be read.

Words that the grammar reserves become upper case, all else stays as it was written. Clauses, items of lists and conditions
have lines of their own where a statement does not fit on one. What comes out is read again: the tokens must be the same, and
so must be the statement, where it is one (a script with `${name}` need not be); where a word in upper case would mean
something else, it stays as it was.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from sqlstream.errors import InternalError, SqlStreamError
from sqlstream.options import DEFAULT_DIALECT
from sqlstream.sql.format_documents import laid_out
from sqlstream.sql.format_parts import HINT, Nested, Part, Remark, Word
from sqlstream.sql.layout import rendered
from sqlstream.sql.lexer import BAD, END, OPERATOR, STRING, WORD, Token, tokenize
from sqlstream.sql.parser import Parsed, parse_each
from sqlstream.sql.source import Source
from sqlstream.sql.splitter import cut
from sqlstream.sql.statements import Statement
from sqlstream.sql.words import BARE, CALLABLE, RESERVED, words

WIDTH = 100
_ANY_VARIABLE = re.compile(r"\$\{[^{}\r\n]*\}")
_COMMENT = re.compile(r"--[^\r\n]*|/\*(?!\+).*?\*/", re.DOTALL)

# Not reserved: they are keywords where they stand in their places, and names elsewhere.
_SOFT = frozenset(
    words(
        """
    ALTER ANTI ASC ASOF BEGIN COMMENT CONSTRAINT CURRENT DESC DESCRIBE DROP ENFORCED EXECUTE EXPLAIN FIRST FOLLOWING FUNCTION IF KEY
    LANGUAGE LAST MATCH_CONDITION METADATA NULLS OF OVERWRITE PARTITIONED PRECEDING PRIMARY RANGE RECURSIVE RESET ROWS SEMI SET SETS SHOW STATEMENT
    STOP SYSTEM SYSTEM_TIME TEMPORARY UNBOUNDED VIEW VIRTUAL WATERMARK
    """
    )
)
_VARIABLE = "VARIABLE"  # a kind of token that is made of several
_OPERANDS = frozenset(("NULL", "TRUE", "FALSE", "END", *BARE))  # reserved, and yet values: a `-` behind them subtracts
_SPACED = RESERVED - CALLABLE - _OPERANDS - {"TABLE", "CAST", "TRY_CAST", "ROW", "ARRAY", "UNNEST", "GROUPING"}
_TYPES = ("ARRAY", "MAP", "MULTISET", "ROW")  # before <…>
_CLOSERS = {"(": ")", "[": "]", "<": ">", "CASE": "END"}


def formatted(text: str, source: str | None = None, width: int = WIDTH) -> str:
    """The script laid out anew; what this gives stays as it is. ParseError, with its place, where a quote, comment or bracket
    is not closed."""
    return _Script(Source(text.removeprefix("\ufeff"), source), width).run()


class _Script:
    def __init__(self, script: Source, width: int) -> None:
        self._script, self._width = script, width

    def run(self) -> str:
        tokens = tokenize(self._script)
        pieces = [piece for piece, _ in cut(tokens)]
        inside = {t.start for piece in pieces for t in piece}
        parsed = iter(parse_each(self._script, DEFAULT_DIALECT, DEFAULT_DIALECT))
        blocks: list[tuple[bool, str]] = []  # (an empty line before it, its lines)
        statement: list[Token] = []
        at = 0
        for token in tokens:
            comments = self._comments(at, token.start)
            apart = self._apart(at, token.start) if not comments else self._apart(comments[-1][1], token.start)
            at = token.end
            if token.start in inside:
                if not statement:
                    self._beside(blocks, comments)
                    first = apart
                statement.append(token)
                continue
            if statement:
                late = [c for c, _ in comments]
                text = self._statement(statement, next(parsed)) + (";" if token.kind != END else "")
                blocks.append((first, _with(text, late)))
                statement = []
            else:
                self._beside(blocks, comments)
        out = ""
        for apart, text in blocks:
            out += ("\n" if out else "") + ("\n" if apart and out else "") + text
        return out + "\n" if out else ""

    def _beside(self, blocks: list[tuple[bool, str]], comments: list[tuple[Remark, int]]) -> None:
        """Comments between statements: behind the one before, or on lines of their own."""
        for comment, _ in comments:
            if comment.own or not blocks:
                blocks.append((comment.apart, comment.text))
            else:
                apart, text = blocks[-1]
                blocks[-1] = (apart, _with(text, [comment]))

    def _comments(self, start: int, end: int) -> list[tuple[Remark, int]]:
        """Those of a gap between tokens, each with its end."""
        found = []
        before = start
        for m in _COMMENT.finditer(self._script.text, start, end):
            head = self._script.text[: m.start()].rpartition("\n")[2]
            tail = self._script.text[m.end() :].partition("\n")[0]
            comment = Remark(m.group().rstrip(), not (head + tail).strip(), self._apart(before, m.start()))
            found.append((comment, m.end()))
            before = m.end()
        return found

    def _apart(self, start: int, end: int) -> bool:
        return self._script.text.count("\n", start, end) > 1

    # ---- one statement

    def _statement(self, tokens: list[Token], parsed: Parsed) -> str:
        script, first = self._script, tokens[0]
        if first.key in ("SET", "RESET") and len(tokens) > 1 and tokens[1].kind != STRING:
            return first.key + script.text[first.end : tokens[-1].end]  # a bare key or value is the text as it stands
        wanted = _shape_of(parsed.piece.text, parsed.dialect)

        def written(upper: frozenset[str]) -> str | None:
            text = rendered(laid_out(self._nested(tokens, upper)), self._width)
            same = _same_tokens(tokens, text) and (not wanted or _shape_of(text, parsed.dialect) == wanted)
            return text if same else None

        soft = {t.key for t in tokens} & _SOFT if wanted else frozenset[str]()
        if (text := written(RESERVED | soft)) is not None:
            return text
        keywords = frozenset(w for w in soft if written(RESERVED | {w}) is not None)  # the others are names here
        for upper in (RESERVED | keywords, RESERVED, frozenset[str]()):
            if (text := written(upper)) is not None:
                return text
        raise InternalError(f"the statement changed when it was laid out: {script.text[first.start : tokens[-1].end]}")

    def _nested(self, tokens: list[Token], words: frozenset[str]) -> tuple[Part, ...]:
        """The tokens and the comments between them, as a tree of brackets."""
        stack: list[tuple[Word | None, list[Part]]] = [(None, [])]
        before: Word | None = None
        for at, token in enumerate(_with_hints(tokens, self._script.text)):
            if at:
                assert before is not None
                stack[-1][1].extend(c for c, _ in self._comments(before.token.end, token.start))
            opened = stack[-1][0]
            types = [w for w, _ in stack if w is not None and w.key == "<"]
            closes = opened is not None and token.key == _CLOSERS[opened.key]
            word = self._word(token, before, opened, words if not types else words & {*_TYPES, "NOT", "NULL"})
            if token.key == ",":  # comments before a comma go behind it
                late = stack[-1][1]
                at_end = len(late)
                while at_end and isinstance(late[at_end - 1], Remark):
                    at_end -= 1
                late.insert(at_end, word)
            elif closes:
                _, inside = stack.pop()
                assert opened is not None
                stack[-1][1].append(Nested(opened, tuple(inside), word))
            elif token.key in (")", "]"):
                raise self._script.error(f"this {token.key} closes nothing", token.start)
            elif _opens(token, before):
                stack.append((word, []))
            else:
                stack[-1][1].append(word)
            before = word
        if (unclosed := stack[-1][0]) is not None:
            raise self._script.error(f"this {unclosed.key} is not closed", unclosed.token.start)
        return tuple(stack[0][1])

    def _word(self, token: Token, before: Word | None, opened: Word | None, words: frozenset[str]) -> Word:
        text = self._script.text[token.start : token.end]
        if token.kind in (HINT, _VARIABLE):
            text = token.text
        following = self._script.text[token.end : token.end + 1]
        call = following == "(" and (
            token.key in CALLABLE or token.key not in _SPACED | {"TABLE", "ROW", "UNNEST", "CAST"}
        )
        named = before is not None and before.key == "."
        if token.kind == WORD and token.key in words and not named and not call:
            text = token.key
        stood = before is not None and before.token.end < token.start
        return Word(token, text, before is not None and _spaced(before, token, opened, stood), _is_sign(token, before))


def _with(text: str, comments: Sequence[Remark]) -> str:
    """Text with comments behind it."""
    for c in comments:
        last = text.rpartition("\n")[2]
        ends = any(m.group().startswith("--") and m.end() == len(last) for m in _COMMENT.finditer(last))
        text += ("\n" if c.own or ends else " ") + c.text
    return text


def _with_hints(tokens: Sequence[Token], text: str) -> list[Token]:
    """Hints as one token each, on one line, and so `${name}`, with a word that it is the end of."""
    out: list[Token] = []
    start: int | None = None
    variable = False
    for t in tokens:
        if start is None and t.key == "{" and out and out[-1].end == t.start and text[t.start - 1] == "$":
            start, variable = out.pop().start, True
        elif start is None and t.key == "/*+":
            start, variable = t.start, False
        elif start is None:
            out.append(t)
        elif t.key == ("}" if variable else "*/"):
            whole = text[start : t.end]
            out.append(
                Token(_VARIABLE if variable else HINT, whole if variable else " ".join(whole.split()), "", start, t.end)
            )
            start = None
    return out


def _opens(token: Token, before: Word | None) -> bool:
    if token.key == "<":
        return before is not None and before.key in _TYPES
    if token.key == "CASE":
        return before is None or before.key != "."
    return token.key in ("(", "[")


def _spaced(before: Word, token: Token, opened: Word | None, stood: bool) -> bool:
    """Whether a blank stands between two tokens; `stood`: whether white space did."""
    prior, key = before.token, token.key
    if BAD in (prior.kind, token.kind) or ":" in (prior.key, key):
        return stood
    if _VARIABLE in (prior.kind, token.kind) and not stood and OPERATOR not in (prior.kind, token.kind):
        return False  # a name of which it is a part
    if key in (",", ";", ")", "]", ".") or prior.key in ("(", "[", "."):
        return False
    if key == "<" and prior.key in _TYPES:
        return False
    if opened is not None and opened.key == "<" and (key == ">" or prior is opened.token):
        return False
    if key in ("(", "["):
        if prior.kind == WORD and key == "(" and prior.key in _SPACED:
            return True
        return stood if prior.kind != OPERATOR or prior.key in (")", "]", ">") else not before.unary
    return prior.key == key or not before.unary


def _is_sign(token: Token, before: Word | None) -> bool:
    """Whether a + or - is of the value behind it."""
    if token.key not in ("+", "-"):
        return False
    if before is None or before.key in ("(", "[", ",") or before.key in RESERVED - _OPERANDS:
        return True
    return before.token.kind == OPERATOR and before.key not in (")", "]", "?", "*") or before.key == "*"


def _same_tokens(tokens: Sequence[Token], text: str) -> bool:
    """Whether the text has these tokens; the case of words aside."""
    try:
        found = tokenize(Source(text))[:-1]
    except SqlStreamError:
        return False

    def same(a: Token, b: Token) -> bool:
        return a.kind == b.kind and (a.text == b.text or (a.kind == WORD and a.key == b.key))

    return len(found) == len(tokens) and all(map(same, tokens, found))


def _shape_of(text: str, dialect: str) -> object:
    """What the statement of a text is; None where it is none. For `${name}` a number stands, or a name."""
    for value in ("1", "x"):
        with contextlib.suppress(SqlStreamError):
            (parsed,) = parse_each(Source(_ANY_VARIABLE.sub(value, text)), dialect, dialect)
            if isinstance(parsed.statement, Statement):
                return _shape(parsed.statement)
    return None


_TEXTS = ("text", "position", "query_text", "computed_text")


def _shape(value: Any) -> object:
    """What a statement is, without its text and places."""
    if isinstance(value, tuple):
        return tuple(map(_shape, value))
    if is_dataclass(value):
        return (
            type(value).__name__,
            *((f.name, _shape(getattr(value, f.name))) for f in fields(value) if f.name not in _TEXTS),
        )
    return repr(value)
