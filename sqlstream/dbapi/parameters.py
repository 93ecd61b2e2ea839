"""Parameters: each `?` or `:name` of a statement becomes a literal of the type that its Python value has.

They are found among the tokens, so none is taken for one in a string, a comment or a quoted name. `:name` is one where
it begins a value: behind a word, a number, a quote or a bracket that it touches (`a[1:n]`, `{'k':v}`, `x::INT`) it is
that language's own.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from sqlstream.dbapi.names import ProgrammingError
from sqlstream.dbapi.values import is_sequence, literal, plain
from sqlstream.options import DEFAULT_DIALECT
from sqlstream.sql.lexer import NUMBER, WORD, tokenize
from sqlstream.sql.source import Source

Parameters = Sequence[Any] | Mapping[str, Any]


class Place(NamedTuple):
    """Where a parameter stands: its name, or None for a `?`."""

    start: int
    end: int
    name: str | None


def bind_parameters(sql: str, parameters: Parameters | None, dialect: str = DEFAULT_DIALECT) -> str:
    """`sql` with its parameters filled in. ProgrammingError if they do not fit.

    `parameters`: a sequence with a value for each `?`, or a mapping with one for each `:name`.
    `dialect`: in which its query is written; it says what a string is, and where one ends.
    """
    check_kind(parameters)
    if dialect != DEFAULT_DIALECT and not parameters:
        return sql
    places = places_of(sql, dialect)
    values = values_of(places, parameters)

    def text(n: int) -> str:
        place = places[n]
        try:
            return literal(values[n]) if dialect == DEFAULT_DIALECT else _foreign_literal(values[n], sql, dialect)
        except ProgrammingError as e:
            raise ProgrammingError(f"parameter {place.name or n + 1}: {e}") from None

    return replaced(sql, places, text)


def check_kind(parameters: object) -> None:
    """ProgrammingError for what is neither a sequence nor a mapping."""
    if parameters is None or isinstance(parameters, Mapping):
        return
    if isinstance(parameters, (str, bytes)) or not is_sequence(parameters):
        raise ProgrammingError("parameters are a sequence, one value for each ?, or a mapping, one for each :name")


def places_of(sql: str, dialect: str = DEFAULT_DIALECT) -> list[Place]:
    """All parameters, in order. ProgrammingError where there are both `?` and `:name`."""
    places = [] if "?" not in sql and ":" not in sql else _found(sql, dialect)
    for p in places:
        behind = sql[p.end : p.end + 1]
        if p.name is None and (behind.isalnum() or behind == "_"):
            raise ProgrammingError(
                f"'?{behind}': write ? for each value, or :name; parameters of ? have neither numbers nor names"
            )
    if len({p.name is None for p in places}) > 1:
        raise ProgrammingError("the statement has parameters of both kinds: write ? for each, or :name for each")
    return places


def _found(sql: str, dialect: str) -> list[Place]:
    if dialect == DEFAULT_DIALECT:
        return _own(sql)
    from sqlstream.sql.foreign.parameters import places  # here: a session in Flink's dialect does not need it

    try:
        return [Place(*p) for p in places(sql, dialect)]
    except ValueError as e:
        raise ProgrammingError(f"not read as {dialect}: {e}") from None


def _own(sql: str) -> list[Place]:
    out = []
    tokens = tokenize(Source(sql))
    for i, t in enumerate(tokens):
        if t.key == "?":
            out.append(Place(t.start, t.end, None))
        elif t.key == ":" and tokens[i + 1].kind == WORD and tokens[i + 1].start == t.end:
            before = tokens[i - 1] if i else None
            if before is None or not (
                (before.end == t.start and before.kind == WORD)
                or before.kind == NUMBER
                or (before.key == "" and before.kind != WORD)  # a quote
                or before.key in (")", "]", "}", ":", "?")
            ):
                out.append(Place(t.start, tokens[i + 1].end, tokens[i + 1].text))
    return out


def values_of(places: Sequence[Place], parameters: Parameters | None) -> list[Any]:
    """The value of each place. ProgrammingError where there are too few, or too many for `?`."""
    given: Any = () if parameters is None else parameters
    named = any(p.name is not None for p in places)
    if isinstance(given, Mapping):
        if places and not named:
            raise ProgrammingError("the statement has ? for parameters: give a sequence, or write :name for each")
        missing = next((p.name for p in places if p.name not in given), None)
        if missing is not None:
            raise ProgrammingError(f"the statement has parameter :{missing}, and none of that name was given")
        return [given[p.name] for p in places]
    if named:
        names = ", ".join(dict.fromkeys(f":{p.name}" for p in places))
        raise ProgrammingError(f"the statement has parameters by name ({names}): give a mapping, {{'name': value}}")
    if len(places) != len(given):
        how = "" if places else "; they are written ? or :name"
        raise ProgrammingError(f"the statement has {len(places)} parameters, {len(given)} were given{how}")
    return list(given)


def replaced(sql: str, places: Sequence[Place], text: Callable[[int], str]) -> str:
    """`sql` with the text of each place's number in its stead."""
    parts, at = [], 0
    for n, p in enumerate(places):
        parts += [sql[at : p.start], text(n)]
        at = p.end
    return "".join([*parts, sql[at:]])


def _foreign_literal(value: Any, sql: str, dialect: str) -> str:
    """A value in a query of another dialect: numbers, truth, NULL and texts, which all dialects have."""
    value = str(value) if isinstance(value, uuid.UUID) else plain(value)
    if value is None or isinstance(value, (int, float)):
        return literal(value)
    if isinstance(value, Decimal) and value.is_finite():
        text = format(value, "f")
        return f"({text})" if value < 0 else text
    if not isinstance(value, str):
        raise ProgrammingError(
            f"it cannot be a {type(value).__name__} in the dialect {dialect}: give its text, CAST(? AS …)"
        )
    from sqlstream.sql.foreign.parameters import text_literal

    own = literal(value)
    try:
        text = text_literal(value, dialect)
    except ValueError as e:
        raise ProgrammingError(f"the text cannot be given in the dialect {dialect}: {e}") from None
    if text != own and (first := _first_word(sql)) not in _QUERIES:
        raise ProgrammingError(f"the text has characters that {dialect} escapes, and {first} begins no query")
    return text


# what begins a statement that the other dialect reads as a whole
_QUERIES = ("SELECT", "WITH", "FROM", "(", "EXPLAIN")


def _first_word(sql: str) -> str:
    return next((t.key for t in tokenize(Source(sql))), "")
