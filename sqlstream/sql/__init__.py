"""SQL text to typed statements, with positions.

`parse_script` fills in a script's `${variables}`, splits it (`splitter`), and reads each statement by a
grammar of our own (`cursor`, `types`, `calls`, `expressions`, `relations`, `queries`, `tables`, `parser`:
each layer one class on top of the last). Statements are the frozen dataclasses of `statements`; queries in
them are trees of sqlglot's nodes, and `ast` lists exactly which. `dialect` prints such trees as Flink SQL
again, and lets sqlglot's own functions read it. Nothing outside this package and the DuckDB renderer imports
sqlglot: take `exp` from `sqlstream.sql.ast`.
"""

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
