"""A query in another dialect, in its place in a script."""

from __future__ import annotations

from collections.abc import Callable

from sqlglot import exp

from sqlstream.errors import Position, SqlStreamError
from sqlstream.sql.source import Source

COUNTING_FROM_0 = ("bigquery", "snowflake", "spark")


def foreign_query(
    script: Source, start: int, end: int, dialect: str, read: Callable[[str], exp.Expression]
) -> exp.Expression:
    """The query in another dialect that stands there, as a tree of ours; `meta["dialect"]` says which it was.

    `read` is our grammar for the Flink SQL that it becomes. Its nodes have the query's place, since the Flink SQL that
    it became has none in the script.
    """
    from sqlstream.sql.foreign.translate import translated  # here: a session in Flink's dialect does not need it

    text = script.text[start:end]
    place = script.position(start)
    try:
        made = translated(text, dialect)
        tree = read(made.sql)
    except SqlStreamError as e:
        if e.sql == text and e.position is not None:  # of the dialect's own parser
            first = e.position.line == 1
            column = e.position.column + (place.column - 1 if first else 0)
            e.position = Position(e.position.line + place.line - 1, column)
        else:
            e.position = place
        e.sql, e.source = script.text, script.name
        raise
    for node in tree.walk():
        if (
            isinstance(node, exp.Bracket) and dialect in COUNTING_FROM_0
        ):  # the place was moved by one, a key must not be
            node.meta["place_from_0"] = True
        if "line" in node.meta:
            node.meta.update(line=place.line, col=place.column, start=start, end=end)
    tree.meta.update(dialect=dialect, aliases=made.aliases)
    return tree
