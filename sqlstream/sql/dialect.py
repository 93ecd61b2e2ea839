"""Flink among sqlglot's dialects: reads with our own grammar, prints sqlglot's functions by their meaning.

An entry point makes it sqlglot's: `sqlglot.parse_one(sql, read="flink")` and `sqlglot.transpile(sql, read="postgres",
write="flink")` work wherever we are installed. Our own stages do without: they call the grammar (`parser.py`) and print
its trees (`printing.py`).
"""

from __future__ import annotations

from sqlglot import exp, parser

from sqlstream.sql.canonical import canonical
from sqlstream.sql.foreign.printer import MeaningPrinter
from sqlstream.sql.parser import parse_trees
from sqlstream.sql.printing import FlinkText


class Flink(FlinkText):
    """Reads what `parse_script` reads, as sqlglot's own classes (`canonical.py`)."""

    class Parser(parser.Parser):  # type: ignore[misc]
        """Hands the text on to our grammar."""

        def parse(self, raw_tokens: object, sql: str | None = None) -> list[exp.Expression]:
            """The trees of a script of queries and expressions."""
            return [canonical(tree) for tree in parse_trees(sql or "")]

    class Generator(MeaningPrinter):
        """Trees of any dialect; what is not known by its meaning is printed as it stands."""
