"""Scripts checked without being run: every statement is parsed, bound and planned, and every mistake is told, not the first.

A script's own CREATE statements count for what follows them, in a catalog that nothing keeps. What CREATE FUNCTION names is
imported, since its types are in its code; tables are not opened, jobs not asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest

from sqlstream.errors import InternalError, ParseError, SqlStreamError
from sqlstream.session import Session
from sqlstream.sql import statements as st
from sqlstream.sql.lexer import Token
from sqlstream.sql.parser import Parsed, parse_each
from sqlstream.sql.source import Source
from sqlstream.sql.splitter import is_complete, substitute

_UNSET = "\ue000"  # stands for a variable without a value: no script has it
_CREATED = ("TABLE", "VIEW", "FUNCTION")
_BETWEEN = ("TEMPORARY", "SYSTEM", "IF", "NOT", "EXISTS")


@dataclass
class Checked:
    """What was found in one script. `unchecked`: statements that hang on what is wrong before them, or on a variable without
    a value."""

    statements: int = 0
    unchecked: int = 0
    errors: tuple[SqlStreamError, ...] = ()


def validate(
    session: Session, text: str, source: str | None = None, variables: Mapping[str, str] | None = None
) -> Checked:
    """All mistakes of a script, each with its place. `session`: one that is `dry`; what the script creates is in it then."""
    return _Validation(session, source).run(text, variables or {})


class _Validation:
    def __init__(self, session: Session, source: str | None) -> None:
        self._session, self._source = session, source
        self._errors: list[SqlStreamError] = []
        self._broken: set[str] = set()  # names of what could not be created

    def run(self, text: str, variables: Mapping[str, str]) -> Checked:
        def unknown(error: ParseError) -> str:
            self._errors.append(error)
            return _UNSET

        text = substitute(text, variables, self._source, unknown)
        options = self._session.settings
        found = list(_parsed(Source(text, self._source), options.dialect, self._errors.append))
        unchecked = 0
        for parsed, following in zip_longest(found, found[1:]):
            problem = self._problem(parsed, following)
            if problem is None:
                continue
            if created := _created(parsed.piece.tokens):
                self._broken.add(created)
            if _UNSET in parsed.piece.text or (not isinstance(problem, ParseError) and self._hangs(parsed, created)):
                unchecked += 1
            else:
                self._errors.append(problem.located(text, self._source))
        self._errors.sort(key=_place)
        return Checked(len(found), unchecked, tuple(self._errors))

    def _problem(self, parsed: Parsed, following: Parsed | None) -> SqlStreamError | None:
        """What is wrong with a statement."""
        if isinstance(parsed.statement, SqlStreamError):
            return parsed.statement
        if _UNSET in parsed.piece.text:
            return ParseError("a variable has no value")
        behind = following.statement if following is not None else None
        try:
            self._session.statement(parsed.statement, behind if isinstance(behind, st.Statement) else None)
        except SqlStreamError as e:
            e.position = e.position or parsed.piece.position
            return e
        except Exception as e:
            return InternalError(f"internal error: {type(e).__name__}: {e}", position=parsed.piece.position)
        return None

    def _hangs(self, parsed: Parsed, created: str | None) -> bool:
        """Whether it names what could not be created, beside its own name."""
        words = [t.text for t in parsed.piece.tokens if t.kind in ("WORD", "QUOTED")]
        if created is not None:
            words.remove(created)
        return not self._broken.isdisjoint(words)


def _parsed(script: Source, dialect: str, tell: Callable[[SqlStreamError], None]) -> Iterator[Parsed]:
    """Its statements; of a quote or comment that does not end it is told, and what stands before that statement is read."""
    try:
        yield from parse_each(script, dialect, dialect)
    except ParseError as e:
        tell(e)
        assert e.position is not None
        before = Source(script.text[: script.offset(e.position)], script.name)
        found = list(parse_each(before, dialect, dialect))
        yield from found if is_complete(before.text) else found[:-1]


def _place(e: SqlStreamError) -> tuple[int, int]:
    return (e.position.line, e.position.column) if e.position is not None else (0, 0)


def _created(tokens: tuple[Token, ...]) -> str | None:
    """The last part of the name in CREATE TABLE, VIEW or FUNCTION, also where the rest is wrong."""
    if tokens[0].key != "CREATE":
        return None
    rest = [t for t in tokens[1:] if t.key not in _BETWEEN]
    if len(rest) < 2 or rest[0].key not in _CREATED:
        return None
    at = 1
    while at + 2 < len(rest) and rest[at + 1].key == ".":
        at += 2
    return rest[at].text if rest[at].kind in ("WORD", "QUOTED") else None
