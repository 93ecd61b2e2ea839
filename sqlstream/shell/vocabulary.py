"""The words that completion and highlighting know: keywords, functions, connectors' options."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from sqlstream.options import Option

KEYWORDS = tuple(
    [
        "ADD",
        "AFTER",
        "ALL",
        "ALTER",
        "ANALYZE",
        "AND",
        "ARRAY",
        "AS",
        "ASC",
        "ASOF",
        "BEGIN",
        "BETWEEN",
        "BIGINT",
        "BOOLEAN",
        "BY",
        "BYTES",
        "CASE",
        "CAST",
        "CATALOG",
        "CATALOGS",
        "COLUMNS",
        "COMMENT",
        "CONSTRAINT",
        "CREATE",
        "CROSS",
        "CURRENT",
        "CURRENT_DATE",
        "CURRENT_TIMESTAMP",
        "DATE",
        "DECIMAL",
        "DESC",
        "DESCRIBE",
        "DISTINCT",
        "DOUBLE",
        "DRAIN",
        "DROP",
        "ELSE",
        "END",
        "ENFORCED",
        "EXCEPT",
        "EXCLUDING",
        "EXECUTE",
        "EXISTS",
        "EXPLAIN",
        "FALSE",
        "FETCH",
        "FILTER",
        "FIRST",
        "FLOAT",
        "FOR",
        "FROM",
        "FULL",
        "FUNCTION",
        "FUNCTIONS",
        "GROUP",
        "GROUPING",
        "HAVING",
        "IF",
        "IN",
        "INCLUDE",
        "INCLUDING",
        "INNER",
        "INSERT",
        "INT",
        "INTERSECT",
        "INTERVAL",
        "INTO",
        "IS",
        "JOB",
        "JOBS",
        "JOIN",
        "KEY",
        "LANGUAGE",
        "LAST",
        "LATERAL",
        "LEFT",
        "LIKE",
        "LIMIT",
        "MAP",
        "MATCH_CONDITION",
        "MATCH_RECOGNIZE",
        "MEASURES",
        "METADATA",
        "NATURAL",
        "MODIFY",
        "NOT",
        "NULL",
        "NULLS",
        "OF",
        "OFFSET",
        "ON",
        "OPTIONS",
        "OR",
        "ORDER",
        "OUTER",
        "OVER",
        "OVERWRITE",
        "PARTITION",
        "PARTITIONED",
        "PATTERN",
        "PIVOT",
        "PLAN",
        "PRIMARY",
        "PYTHON",
        "QUALIFY",
        "RANGE",
        "RECURSIVE",
        "RENAME",
        "REPLACE",
        "RESET",
        "RIGHT",
        "ROW",
        "ROWS",
        "SAVEPOINT",
        "SELECT",
        "SET",
        "SHOW",
        "SIMILAR",
        "SMALLINT",
        "STATEMENT",
        "STOP",
        "STRING",
        "SYSTEM_TIME",
        "TABLE",
        "TABLES",
        "TABLESAMPLE",
        "TEMPORARY",
        "THEN",
        "TIME",
        "TIMESTAMP",
        "TIMESTAMP_LTZ",
        "TINYINT",
        "TO",
        "TRUE",
        "TRY_CAST",
        "UNION",
        "UNNEST",
        "UNPIVOT",
        "USING",
        "VALUES",
        "VARCHAR",
        "VIEW",
        "VIEWS",
        "VIRTUAL",
        "WATERMARK",
        "WHEN",
        "WHERE",
        "WINDOW",
        "WITH",
        "WITHIN",
    ]
)


@dataclass(frozen=True)
class Function:
    """One that can be called; `kind`: scalar, aggregate, window or table."""

    name: str
    kind: str
    example: str = ""


@cache
def functions() -> tuple[Function, ...]:
    """All of Flink's that there are, by name."""
    from sqlstream.functions.scalar import SCALARS
    from sqlstream.show import system_functions

    examples = {f.name: f.example for f in SCALARS.values()}
    return tuple(Function(n, kind, examples.get(n, "")) for n, kind in sorted(system_functions().items()))


@cache
def connectors() -> tuple[str, ...]:
    """Their names."""
    from sqlstream.connectors.registry import names

    return tuple(names())


@cache
def formats() -> tuple[str, ...]:
    """Their names."""
    from sqlstream.formats.registry import names

    return tuple(names())


@cache
def table_options(connector: str | None, form: str | None) -> tuple[Option, ...]:
    """Options of a table's WITH: those of its connector and format, as far as these are known."""
    from sqlstream.connectors.registry import CONNECTORS
    from sqlstream.formats.registry import FORMATS

    known = CONNECTORS.get(connector or "")
    found = {o.key: o for c in ([known] if known else CONNECTORS.values()) for o in c.options}
    if known is None or "format" in found:
        for name, f in FORMATS.items():
            if form in (None, name):
                found.update({o.key if o.key.startswith(f"{name}.") else f"{name}.{o.key}": o for o in f.options})
        found["format"] = Option("format", "enum", None, "how records are written", tuple(FORMATS))
    found["connector"] = Option("connector", "enum", None, "what the table is connected to", tuple(CONNECTORS))
    return tuple(found.values())
