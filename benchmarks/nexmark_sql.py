"""The SQL of the benchmark: files of `queries/nexmark` and `benchmarks/queries` over `catalog/nexmark_files.sql`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
QUERIES = tuple(f"q{n}" for n in range(24))
OPERATORS = (
    "temporal_join",
    "over_changes",
    "grouping_sets",
    "lateral",
    "window_top_n",
    "recursive",
)  # Nexmark has none
SIDE_INPUT = ROOT / "queries" / "nexmark" / "data" / "side_input.csv"

_OWN = tuple(f"CREATE {o} " for o in ("TABLE events", "VIEW person", "VIEW auction", "VIEW bid"))


@dataclass(frozen=True)
class Script:
    """`setup` makes what `select` reads; the result goes to a sink that drops it."""

    setup: tuple[str, ...]
    select: str

    @property
    def statements(self) -> tuple[str, ...]:
        return (*self.setup, f"CREATE TABLE discarded WITH ('connector' = 'blackhole') AS {self.select}")


def script(query: str, events: Path, format: str = "json") -> Script:
    """`query` as its file has it, but over the files in directory `events`."""
    tables = (ROOT / "catalog" / "nexmark_files.sql").read_text().replace("${events}", str(events.resolve()))
    return _script(query, tables.replace("'format' = 'json'", f"'format' = '{format}'"))


def from_csv(query: str, events: Path) -> Script:
    """`query` over files that `duckdb_runner.to_csv` has written: the fields of persons, auctions and bids are columns."""
    tables = (ROOT / "catalog" / "nexmark_files.sql").read_text().replace("${events}", str(events.resolve()))

    def columns(row: re.Match[str]) -> str:
        return ", ".join(f"{row[1]}_{field.strip()}" for field in row[2].replace("`", "").split(","))

    tables = re.sub(r"(\w+) +ROW<([^>]+)>", columns, tables)
    table, create_view, views = tables.partition("CREATE VIEW")
    table = re.sub(r"\b(person|auction|bid)\.`?(\w+)`?", r"\1_\2", table)
    table = table.replace("'format' = 'json'", "'format' = 'csv', 'csv.null-literal' = ''")
    views = re.sub(r"\b(person|auction|bid)\.(\w+)", r"\1_\2 AS \2", views)
    return _script(query, table + create_view + views)


def generated(query: str, events: int, splits: int = 1) -> Script:
    """`query` over events that the embedded generator makes on the way."""
    tables = (ROOT / "catalog" / "nexmark.sql").read_text()
    return _script(query, tables.replace("'1000000'", f"'{events}', 'splits' = '{splits}'"))


def _script(query: str, tables: str) -> Script:
    directory = Path(__file__).parent / "queries" if query in OPERATORS else ROOT / "queries" / "nexmark"
    *setup, select = _statements((directory / f"{query}.sql").read_text())
    setup = [s.replace("'queries/nexmark/data/side_input.csv'", f"'{SIDE_INPUT}'") for s in setup]
    return Script((*_statements(tables), *(s for s in setup if not f"{s} ".startswith(_OWN))), select)


def flink_script(query: str, events: Path) -> Script:
    """The same for Flink, which counts q14's characters with functions of its own instead of Python's."""
    s = script(query, events)
    setup = tuple(t for t in s.setup if "count_char" not in t)
    counted = "CHAR_LENGTH(extra) - CHAR_LENGTH(REPLACE(extra, 'c', ''))"
    return Script(setup, s.select.replace("count_char(extra, 'c')", counted))


def duckdb_sql(query: str) -> str:
    return (Path(__file__).parent / "duckdb_queries" / f"{query}.sql").read_text()


def _statements(text: str) -> list[str]:
    """Statements of our own files: comments are whole lines, and a `;` ends its line."""
    lines = [line for line in text.splitlines() if not line.startswith("--")]
    return [s.strip() for s in "\n".join(lines).replace(";\n", ";").rstrip("; \n").split(";") if s.strip()]
