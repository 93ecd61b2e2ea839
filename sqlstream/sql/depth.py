"""A bound on the depth of trees, so that everyone who walks them recursively is safe."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields

from sqlglot import exp

from sqlstream.sql.ast import position_of
from sqlstream.sql.source import Source
from sqlstream.sql.statements import ColumnDef, Statement, WatermarkDef

# four frames a level must fit into Python's 1,000
MAX_DEPTH = 200


def check_depth(statement: Statement | exp.Expression, source: Source) -> None:
    """ParseError where a tree of the statement is deeper than MAX_DEPTH: a chain of hundreds of operators."""
    stack = [(tree, 1) for tree in _trees(statement)]
    while stack:
        node, depth = stack.pop()
        if depth > MAX_DEPTH:
            place = position_of(node)
            offset = int(node.meta.get("start", 0)) if place else 0
            raise source.error(
                f"an expression here is more than {MAX_DEPTH} operators deep",
                offset,
                "split it, or use a function of many arguments such as CONCAT or IN",
            )
        stack.extend((child, depth + 1) for child in node.iter_expressions())


def _trees(part: object) -> Iterator[exp.Expression]:
    if isinstance(part, exp.Expression):
        yield part
    elif isinstance(part, tuple):
        for item in part:
            yield from _trees(item)
    elif isinstance(part, (Statement, ColumnDef, WatermarkDef)):
        for f in fields(part):
            yield from _trees(getattr(part, f.name))
