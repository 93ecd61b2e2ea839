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
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from sqlstream.errors import InternalError, SqlStreamError
from sqlstream.options import DEFAULT_DIALECT
from sqlstream.sql.layout import Comment, Doc, Group, Line, Nest, Text, joined, rendered
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
_HINT, _VARIABLE = "HINT", "VARIABLE"  # kinds of tokens that are made of several
_OPERANDS = frozenset(("NULL", "TRUE", "FALSE", "END", *BARE))  # reserved, and yet values: a `-` behind them subtracts
_SPACED = RESERVED - CALLABLE - _OPERANDS - {"TABLE", "CAST", "TRY_CAST", "ROW", "ARRAY", "UNNEST", "GROUPING"}
_TYPES = ("ARRAY", "MAP", "MULTISET", "ROW")  # before <…>
_CLOSERS = {"(": ")", "[": "]", "<": ">", "CASE": "END"}
_JOINS = ("NATURAL", "ASOF", "INNER", "LEFT", "RIGHT", "FULL", "CROSS")
_BETWEEN_JOIN = ("OUTER", "SEMI", "ANTI", *_JOINS)
_SINGLE = (
    "FROM",
    "WHERE",
    "HAVING",
    "QUALIFY",
    "WINDOW",
    "LIMIT",
    "OFFSET",
    "FETCH",
    "UNION",
    "INTERSECT",
    "EXCEPT",
    "JOIN",
)
_LISTS = ("SELECT", "GROUP", "ORDER", "VALUES", "FROM", "WINDOW", "PARTITION")
_STARTS = ("SELECT", "WITH", "VALUES")
_LAID_OUT = (*_STARTS, "(", "INSERT", "CREATE", "EXPLAIN", "EXECUTE", "BEGIN")


@dataclass(frozen=True)
class _Comment:
    """`own`: it is alone on its line, or its lines. `apart`: an empty line stands before it."""

    text: str
    own: bool
    apart: bool

    key = ""


@dataclass(frozen=True)
class _Word:
    """A token, as it is to be written. `spaced`: whether a blank is to stand before it; `unary`: a sign of what follows."""

    token: Token
    text: str
    spaced: bool
    unary: bool = False

    @property
    def key(self) -> str:
        return self.token.key


@dataclass(frozen=True)
class _Nested:
    """What stands in brackets, in `<…>` of a type, or between CASE and END."""

    opening: _Word
    inside: tuple[_Part, ...]
    closing: _Word

    @property
    def key(self) -> str:
        return self.opening.key


_Part = _Comment | _Word | _Nested


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

    def _beside(self, blocks: list[tuple[bool, str]], comments: list[tuple[_Comment, int]]) -> None:
        """Comments between statements: behind the one before, or on lines of their own."""
        for comment, _ in comments:
            if comment.own or not blocks:
                blocks.append((comment.apart, comment.text))
            else:
                apart, text = blocks[-1]
                blocks[-1] = (apart, _with(text, [comment]))

    def _comments(self, start: int, end: int) -> list[tuple[_Comment, int]]:
        """Those of a gap between tokens, each with its end."""
        found = []
        before = start
        for m in _COMMENT.finditer(self._script.text, start, end):
            head = self._script.text[: m.start()].rpartition("\n")[2]
            tail = self._script.text[m.end() :].partition("\n")[0]
            comment = _Comment(m.group().rstrip(), not (head + tail).strip(), self._apart(before, m.start()))
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
            text = rendered(_laid_out(self._nested(tokens, upper)), self._width)
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

    def _nested(self, tokens: list[Token], words: frozenset[str]) -> tuple[_Part, ...]:
        """The tokens and the comments between them, as a tree of brackets."""
        stack: list[tuple[_Word | None, list[_Part]]] = [(None, [])]
        before: _Word | None = None
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
                while at_end and isinstance(late[at_end - 1], _Comment):
                    at_end -= 1
                late.insert(at_end, word)
            elif closes:
                _, inside = stack.pop()
                assert opened is not None
                stack[-1][1].append(_Nested(opened, tuple(inside), word))
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

    def _word(self, token: Token, before: _Word | None, opened: _Word | None, words: frozenset[str]) -> _Word:
        text = self._script.text[token.start : token.end]
        if token.kind in (_HINT, _VARIABLE):
            text = token.text
        following = self._script.text[token.end : token.end + 1]
        call = following == "(" and (
            token.key in CALLABLE or token.key not in _SPACED | {"TABLE", "ROW", "UNNEST", "CAST"}
        )
        named = before is not None and before.key == "."
        if token.kind == WORD and token.key in words and not named and not call:
            text = token.key
        stood = before is not None and before.token.end < token.start
        return _Word(token, text, before is not None and _spaced(before, token, opened, stood), _is_sign(token, before))


def _with(text: str, comments: Sequence[_Comment]) -> str:
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
                Token(
                    _VARIABLE if variable else _HINT, whole if variable else " ".join(whole.split()), "", start, t.end
                )
            )
            start = None
    return out


def _opens(token: Token, before: _Word | None) -> bool:
    if token.key == "<":
        return before is not None and before.key in _TYPES
    if token.key == "CASE":
        return before is None or before.key != "."
    return token.key in ("(", "[")


def _spaced(before: _Word, token: Token, opened: _Word | None, stood: bool) -> bool:
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


def _is_sign(token: Token, before: _Word | None) -> bool:
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


# ---- documents


def _laid_out(parts: Sequence[_Part]) -> Doc:
    """A statement."""
    if (body := _set_body(parts)) is not None:
        head, inserts, tail = body
        lines: list[Doc] = [(Line(hard=True), _laid_out(i)) for i in inserts]
        return (_phrase(head), Nest(tuple(lines)), Line(hard=True), _phrase(tail))
    keys = [p.key for p in parts if not isinstance(p, _Comment)]
    if keys[0] not in _LAID_OUT:
        return Group(_phrase(parts))
    start = _query_start(parts, keys[0])
    if start is None:
        return Group(_phrase(parts))
    if not start:
        return Group(_query(parts))
    return Group((Group(_phrase(parts[:start])), Line(), _laid_out(parts[start:])))


def _set_body(
    parts: Sequence[_Part],
) -> tuple[Sequence[_Part], list[Sequence[_Part]], Sequence[_Part]] | None:
    """Of a statement set: what stands before its statements, these, each with its `;`, and END."""
    keys = [p.key for p in parts]
    for i in range(len(keys) - 2):
        if keys[i : i + 2] == ["STATEMENT", "SET"] and keys[i + 2] in ("BEGIN", ";") and keys[-1] == "END":
            inserts: list[Sequence[_Part]] = []
            begun = i + 3
            for at in range(begun, len(keys) - 1):
                follows = parts[at + 1]
                if keys[at] == ";" or at == len(keys) - 2:
                    end = at + 2 if isinstance(follows, _Comment) and not follows.own else at + 1
                    if any(not isinstance(p, _Comment) for p in parts[begun:end]):
                        inserts.append(parts[begun:end])
                        begun = end
            if begun < len(parts) - 1:
                inserts[-1:] = [[*inserts[-1], *parts[begun:-1]]] if inserts else [parts[begun:-1]]
            return parts[: i + 3], inserts, parts[-1:]
    return None


def _query_start(parts: Sequence[_Part], first: str) -> int | None:
    """Where the query of a statement begins; of EXPLAIN the statement."""
    if first in (*_STARTS, "("):
        return 0
    for i, part in enumerate(parts):
        if i == 0 or isinstance(part, _Comment):
            continue
        if first == "CREATE" and _before(parts, i) != "AS":
            continue
        if part.key in _STARTS or _is_query(part) or (first in ("EXPLAIN", "EXECUTE") and part.key == "INSERT"):
            return i
    return None


def _before(parts: Sequence[_Part], i: int, back: int = 1) -> str:
    """The key of the part before one, or further back; "" where there is none."""
    keys = [p.key for p in parts[:i] if not isinstance(p, _Comment)]
    return keys[-back] if len(keys) >= back else ""


def _is_query(part: _Part) -> bool:
    """Whether it is a query in parentheses."""
    if not isinstance(part, _Nested) or part.key != "(":
        return False
    first = next((p for p in part.inside if not isinstance(p, _Comment)), None)
    return first is not None and (first.key in _STARTS or _is_query(first))


def _query(parts: Sequence[_Part]) -> Doc:
    """Its clauses, a line each where they do not fit on one."""
    return joined([_clause(c) for c in _clauses(parts, _begins_clause)], Line())


def _clauses(parts: Sequence[_Part], begins: Any) -> list[list[_Part]]:
    """Cut before what `begins` one; comments on lines of their own go with what follows them."""
    out: list[list[_Part]] = [[]]
    for i, part in enumerate(parts):
        if begins(parts, i) and any(not isinstance(p, _Comment) for p in out[-1]):
            out.append([])
            while out[-2] and isinstance(last := out[-2][-1], _Comment) and last.own:
                out[-1].insert(0, out[-2].pop())
        out[-1].append(part)
    return out


def _begins_clause(parts: Sequence[_Part], i: int) -> bool:
    part, before = parts[i], _before(parts, i)
    if not isinstance(part, _Word) or part.token.kind != WORD or before == ".":
        return False
    following = [p.key for p in parts[i + 1 :] if not isinstance(p, _Comment)]
    key = part.key
    if key in ("GROUP", "ORDER"):
        return following[:1] == ["BY"]
    if key == "FROM":
        return not (before == "DISTINCT" and _before(parts, i, 2) in ("IS", "NOT"))
    if key in _JOINS or key == "JOIN":
        ahead = [key, *following[:4]]
        words = ahead[: ahead.index("JOIN")] if "JOIN" in ahead else None
        return words is not None and set(words) <= set(_BETWEEN_JOIN) and before not in _BETWEEN_JOIN
    return key in _STARTS or key in _SINGLE


def _begins_part_of_over(parts: Sequence[_Part], i: int) -> bool:
    part = parts[i]
    following = _after(parts, i)
    return isinstance(part, _Word) and (
        (part.key in ("PARTITION", "ORDER") and following == "BY")
        or (part.key in ("ROWS", "RANGE") and following in ("BETWEEN", "UNBOUNDED", "CURRENT"))
    )


def _after(parts: Sequence[_Part], i: int) -> str:
    return next((p.key for p in parts[i + 1 :] if not isinstance(p, _Comment)), "")


def _clause(parts: Sequence[_Part]) -> Doc:
    comments = []
    while isinstance(parts[0], _Comment):
        comments.append(_doc(parts[0]))
        parts = parts[1:]
    size = 1
    parts, late = _without_late(parts)
    key = parts[0].key
    if key in ("GROUP", "ORDER", "PARTITION"):
        size = 2
    elif key == "SELECT":
        while (
            size < len(parts)
            and isinstance(w := parts[size], _Word)
            and (w.key in ("DISTINCT", "ALL") or w.token.kind == _HINT)
        ):
            size += 1
    elif key == "WITH":
        return (*comments, _doc(parts[0]), Text(" "), joined(_items(parts[1:]), Line()), late)
    elif key not in ("VALUES", "WINDOW", "FROM"):
        return (*comments, Group(_phrase(parts)), late)
    items = _items(parts[size:])
    if len(items) == 1:
        return (*comments, Group(_phrase(parts)), late)
    return (*comments, Group((_phrase(parts[:size]), Nest((Line(), joined(items, Line()))))), late)


def _items(parts: Sequence[_Part]) -> list[Doc]:
    """What commas part, each with its comma, and a comment behind that."""
    out: list[Doc] = []
    item: list[_Part] = []
    for part in parts:
        beside = isinstance(part, _Comment) and not part.own
        ended = bool(item) and (item[-1].key == "," or (len(item) > 1 and item[-2].key == "," and not item[-1].key))
        if ended and not (beside and item[-1].key == ","):
            out.append(_item(item))
            item = []
        item.append(part)
    return [*out, _item(item)] if item else out


def _item(parts: Sequence[_Part]) -> Doc:
    parts, late = _without_late(parts)
    return (Group(_phrase(parts)), late)


def _without_late(parts: Sequence[_Part]) -> tuple[Sequence[_Part], Doc]:
    """Without a comment that ends the last line, for which nothing before it has to be broken; and that."""
    last = parts[-1]
    if isinstance(last, _Comment) and not last.own and len(parts) > 1:
        return parts[:-1], _doc(last, True)
    return parts, ()


def _phrase(parts: Sequence[_Part]) -> Doc:
    """Parts in a row; AND and OR begin lines where it does not fit on one, and commas end them."""
    out: list[Doc] = []
    between = 0  # BETWEENs that wait for their AND
    for i, part in enumerate(parts):
        first = part.opening if isinstance(part, _Nested) else part
        before = parts[i - 1] if i else None
        if (
            before is not None
            and isinstance(first, _Word)
            and (first.spaced or _inline(before) and first.key not in (",", "."))
        ):
            breaks = before.key == "," or (first.key == "OR") or (first.key == "AND" and not between)
            out.append(Nest(Line()) if breaks else Text(" "))
        if part.key == "BETWEEN" and _frame(parts, i):
            between += 1
        elif part.key == "AND" and between:
            between -= 1
        if before is not None and all(isinstance(p, _Comment) for p in parts[:i]) and not _inline(before):
            out.append(Line(hard=True))  # behind comments that stand before it all
        doc = _doc(part, bool(i))
        out.append(doc if isinstance(part, _Nested) else Nest(doc))  # brackets stand under what they belong to
    return tuple(out)


def _inline(part: _Part) -> bool:
    """Whether it is a comment that more of the line may follow."""
    return isinstance(part, _Comment) and not part.own and not part.text.startswith("--")


def _frame(parts: Sequence[_Part], i: int) -> bool:
    return any(p.key == "AND" for p in parts[i:])


def _doc(part: _Part, spaced: bool = False) -> Doc:
    if isinstance(part, _Comment):
        if part.own or part.text.startswith("--"):
            return Comment(part.text, part.own)
        return (Text(" "), Text(part.text)) if spaced else Text(part.text)
    if isinstance(part, _Word):
        return Text(part.text)
    opening, closing = Text(part.opening.text), Text(part.closing.text)
    if not part.inside:
        return (opening, closing)
    if part.key == "<":
        return (opening, _phrase(part.inside), closing)
    if part.key == "CASE":
        branches = _clauses(part.inside, lambda parts, i: parts[i].key in ("WHEN", "ELSE"))
        plain = part.inside[0].key == "WHEN"
        return Group(
            (
                opening,
                Nest((Line() if plain else Text(" "), joined([Group(_phrase(b)) for b in branches], Line()))),
                Line(),
                closing,
            )
        )
    if _is_query(part):
        inside = Group(_query(part.inside)) if part.inside[0].key != "(" else _query(part.inside)
    elif _begins_part_of_over(part.inside, 0):
        inside = joined([Group(_phrase(c)) for c in _clauses(part.inside, _begins_part_of_over)], Line())
    else:
        inside = joined(_items(part.inside), Line())
    return Group((opening, Nest((Line(""), inside)), Line(""), closing))
