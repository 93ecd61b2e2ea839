"""SQL text to typed statements, with positions.

`parse_script` fills in a script's `${variables}`, splits it (`splitter`), and reads each statement by a
grammar of our own (`cursor`, `types`, `calls`, `expressions`, `relations`, `queries`, `tables`, `parser`:
each layer one class on top of the last). Statements are the frozen dataclasses of `statements`; queries in
them are trees of sqlglot's nodes, and `ast` lists exactly which. `printing` prints such trees as Flink SQL
again; `dialect` is Flink among sqlglot's own dialects. `foreign` reads queries in the others. Nothing outside
this package imports sqlglot: take `exp` from `sqlstream.sql.ast`.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

from sqlstream.sql import plain_sqlglot

plain_sqlglot.ensure()  # before a module of this package imports sqlglot

# ruff: noqa: E402
from sqlstream.sql.parser import parse_expression, parse_query, parse_script, parse_statement
from sqlstream.sql.splitter import is_complete, substitute
from sqlstream.sql.types import parse_type, to_type

__all__ = [
    "is_complete",
    "parse_expression",
    "parse_query",
    "parse_script",
    "parse_statement",
    "parse_type",
    "substitute",
    "to_type",
]


class _Package(ModuleType):
    """`sqlstream.sql("SELECT …")` runs a statement, as `sqlstream.dbapi.sql` does: this package has the name too."""

    def __call__(self, query: str, parameters: Any = None) -> Any:
        return import_module("sqlstream.dbapi").sql(query, parameters)


sys.modules[__name__].__class__ = _Package
