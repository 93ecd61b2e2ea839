"""SHOW, DESCRIBE, and the syntax tree of EXPLAIN: catalog objects as small tables of text."""

from __future__ import annotations

import re

from sqlstream.catalog.catalog import Catalog
from sqlstream.catalog.objects import Table, View
from sqlstream.errors import BindError, NotSupported
from sqlstream.results import Result, table_result
from sqlstream.sql import statements as st
from sqlstream.types import Schema

_LISTS = {
    "TABLES": ("table name", Catalog.tables),
    "VIEWS": ("view name", Catalog.views),
    "FUNCTIONS": ("function name", Catalog.functions),
}


def show(catalog: Catalog, s: st.Show) -> Result:
    """SHOW TABLES, VIEWS, FUNCTIONS, COLUMNS, CREATE TABLE, CREATE VIEW."""
    if s.kind in _LISTS:
        title, names = _LISTS[s.kind]
        return table_result("SHOW", [title], [[n] for n in names(catalog) if _wanted(s, n)])
    if s.kind in ("CREATE TABLE", "CREATE VIEW"):
        found = catalog.relation(s.name, s.position)
        wanted = Table if s.kind == "CREATE TABLE" else View
        if not isinstance(found, wanted):
            other = "VIEW" if wanted is Table else "TABLE"
            raise BindError(
                f"'{found.name}' is a {other.lower()}", hint=f"SHOW CREATE {other} {found.name}", position=s.position
            )
        return table_result("SHOW", ["result"], [[found.ddl()]])
    if s.kind == "COLUMNS":
        raise NotSupported("SHOW COLUMNS needs a table", hint="SHOW COLUMNS FROM t", position=s.position)
    raise NotSupported(f"SHOW {s.kind} is not supported", position=s.position)


def _wanted(s: st.Show, name: str) -> bool:
    if s.like is None:
        return True
    pattern = "".join(".*" if c == "%" else "." if c == "_" else re.escape(c) for c in s.like)
    flags = re.S | (re.I if s.case_insensitive else 0)
    return (re.fullmatch(pattern, name, flags) is not None) != s.negated


def describe(schema: Schema, table: Table | None, only: st.Show | None = None) -> Result:
    """Flink's columns: name, type, null, key, extras, watermark."""
    rows: list[list[str | None]] = []
    for c in schema:
        key = extras = watermark = None
        if table is not None:
            declared = table.column(c.name)
            assert declared is not None
            if c.name in table.primary_key:
                key = f"PRI({', '.join(table.primary_key)})"
            if declared.computed is not None:
                extras = f"AS {declared.computed_text}"
            elif declared.metadata is not None:
                extras = f"METADATA FROM '{declared.metadata}'" + (" VIRTUAL" if declared.virtual else "")
            if table.watermark is not None and table.watermark.column == c.name:
                watermark = table.watermark.text
        text = c.type.text() + (f" *{c.time}*" if c.time in ("ROWTIME", "PROCTIME") else "")
        if only is None or _wanted(only, c.name):
            rows.append([c.name, text, "TRUE" if c.type.nullable else "FALSE", key, extras, watermark])
    return table_result("SHOW", ["name", "type", "null", "key", "extras", "watermark"], rows)


def syntax_tree(s: st.Statement) -> str:
    """The query's syntax tree as sqlglot shows it."""
    if isinstance(s, (st.Select, st.Insert)):
        head = f"INSERT INTO {'.'.join(s.table)}\n" if isinstance(s, st.Insert) else ""
        return head + repr(s.query)
    if isinstance(s, st.StatementSet):
        return "\n".join(syntax_tree(i) for i in s.inserts)
    return s.text
