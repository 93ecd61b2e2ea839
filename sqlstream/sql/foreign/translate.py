"""The way: sqlglot's parser, the shapes, the check, the printer."""

from __future__ import annotations

from dataclasses import dataclass

import sqlglot
from sqlglot import exp
from sqlglot.errors import ErrorLevel, SqlglotError, TokenError

from sqlstream.errors import NotSupported, ParseError, Position
from sqlstream.sql.foreign.printer import Printer
from sqlstream.sql.foreign.shapes import SHAPES, ambiguous_alias, group_by_items, plus_of_strings
from sqlstream.sql.printing import FlinkText


@dataclass(frozen=True)
class Translated:
    """Flink SQL; `aliases`: names, in small letters, that a clause has and that were taken for SELECT's aliases."""

    sql: str
    aliases: frozenset[str]


def flink_of(text: str, dialect: str) -> str:
    """The Flink SQL of one query. ParseError with the place in `text`; NotSupported names what has no equal."""
    return translated(text, dialect).sql


def translated(text: str, dialect: str) -> Translated:
    """The same, with what only the catalog can tell to be right."""
    try:
        return _translated(text, dialect)
    except RecursionError:  # sqlglot goes into a tree by recursion
        raise ParseError(
            f"not read as {dialect}: an expression here is too deep", sql=text, position=Position(1, 1)
        ) from None


def _translated(text: str, dialect: str) -> Translated:
    try:
        found = [t for t in sqlglot.parse(text, read=dialect, error_level=ErrorLevel.IMMEDIATE) if t is not None]
    except SqlglotError as e:
        raise _parse_error(e, text, dialect) from None
    if len(found) != 1 or not isinstance(found[0], exp.Query):
        raise NotSupported(
            f"in the dialect {dialect} a statement is a query",
            hint="write the statement around it in Flink SQL; only its query is read in that dialect",
        )
    (tree,) = found
    if dialect == "tsql":
        tree = plus_of_strings(tree)
    for shape in SHAPES:
        tree = shape(tree)
    printer = Printer(dialect=FlinkText, unsupported_level=ErrorLevel.IMMEDIATE)
    printer.dialect_of_query = dialect
    if (alias := ambiguous_alias(tree, dialect)) is not None:
        raise printer.refused(alias, f"{alias.alias}, which may be a column elsewhere in the SELECT,")
    tree = group_by_items(tree, dialect)
    printer.check(tree)
    return Translated(str(printer.generate(tree)), tree.meta["aliases"])


def _parse_error(e: SqlglotError, text: str, dialect: str) -> ParseError:
    """sqlglot's first error, with its place in `text`."""
    errors = getattr(e, "errors", [])
    if isinstance(e, TokenError) or not errors:
        return ParseError(f"not read as {dialect}: {str(e).splitlines()[0]}", sql=text, position=Position(1, 1))
    first = errors[0]
    width = len(first.get("highlight") or "")
    place = Position(first["line"], max(first["col"] - max(width - 1, 0), 1))
    what = str(first["description"]).partition(" but got <Token")[0].rstrip(".")
    return ParseError(f"not read as {dialect}: {what}", sql=text, position=place)
