"""The rows of information_schema: what the catalog holds when a query is bound, as constant rows.

A stream that reads it so is bounded, and a job keeps what it saw as it began.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from sqlstream.catalog.catalog import Catalog
from sqlstream.catalog.databases import CATALOG
from sqlstream.catalog.objects import Function, Table, View
from sqlstream.errors import SqlStreamError
from sqlstream.functions import user, user_aggregates
from sqlstream.functions.inline import inline, is_inline
from sqlstream.plan import nodes
from sqlstream.process_functions.signature import is_process_function
from sqlstream.types import Column, Schema

# The columns of a table or view; SqlStreamError where they cannot be known.
Describe = Callable[[Table | View], Schema]
Row = tuple[Any, ...]


def information(table: Table, catalog: Catalog, describe: Describe | None) -> nodes.Node:
    """One of its tables as a relation; without `describe`, without rows."""
    columns = tuple(Column(c.name, c.type) for c in table.columns if c.type is not None)
    rows = tuple(_ROWS[table.local_name](catalog, describe)) if describe is not None else ()
    return nodes.Values(columns, rows)


def _relations(catalog: Catalog) -> Iterator[Table | View]:
    for name in catalog.names():
        found = catalog.find(name)
        if found is not None:
            yield found


def _place(item: Table | View) -> Row:
    return CATALOG, item.database, item.local_name


def _catalog_name(catalog: Catalog, describe: Describe) -> Iterator[Row]:
    yield (CATALOG,)


def _schemata(catalog: Catalog, describe: Describe) -> Iterator[Row]:
    for name in catalog.databases():
        yield CATALOG, name, catalog.database((name,)).comment


def _tables(catalog: Catalog, describe: Describe) -> Iterator[Row]:
    for r in _relations(catalog):
        table = isinstance(r, Table)
        kind = ("LOCAL TEMPORARY" if r.temporary else "BASE TABLE") if table else "VIEW"
        yield *_place(r), kind, "YES" if table else "NO", r.comment


def _columns(catalog: Catalog, describe: Describe) -> Iterator[Row]:
    """Of a view whose query can no longer be bound there are none."""
    for r in _relations(catalog):
        try:
            schema = describe(r)
        except SqlStreamError:
            continue
        for i, c in enumerate(schema, 1):
            declared = r.column(c.name) if isinstance(r, Table) else None
            computed = None if declared is None else declared.computed_text
            t = c.type
            digits = {"TINYINT": 3, "SMALLINT": 5, "INT": 10, "BIGINT": 19, "DECIMAL": t.precision}.get(t.kind)
            yield (
                *_place(r), c.name, i, None, "YES" if t.nullable else "NO", t.null().text(),
                t.precision if t.is_string or t.kind in ("BINARY", "VARBINARY") else None,
                digits, None if digits is None else 10, None if digits is None else t.scale or 0,
                t.precision or 0 if t.is_timestamp or t.kind == "TIME" else None,
                "NEVER" if computed is None else "ALWAYS", computed, None if declared is None else declared.comment,
            )  # fmt: skip


def _views(catalog: Catalog, describe: Describe) -> Iterator[Row]:
    for r in _relations(catalog):
        if isinstance(r, View):
            yield *_place(r), r.query_text, "NONE", "NO", "NO"


def _keyed(catalog: Catalog) -> Iterator[tuple[Row, Table]]:
    """The tables with a primary key, behind the names of it and of them."""
    for r in _relations(catalog):
        if isinstance(r, Table) and r.primary_key:
            yield (CATALOG, r.database, r.constraint or f"PK_{r.local_name}", *_place(r)), r


def _table_constraints(catalog: Catalog, describe: Describe) -> Iterator[Row]:
    for names, _ in _keyed(catalog):
        yield *names, "PRIMARY KEY", "NO", "NO", "NO"


def _key_column_usage(catalog: Catalog, describe: Describe) -> Iterator[Row]:
    for names, table in _keyed(catalog):
        for i, column in enumerate(table.primary_key, 1):
            yield *names, column, i, None


def _routines(catalog: Catalog, describe: Describe) -> Iterator[Row]:
    for f in catalog.all_functions():
        place = (CATALOG, None if f.system else f.database, f.local_name)
        body = is_inline(f.path)
        result, certain = _said(f)
        yield (
            *place, *place, "FUNCTION", result, "EXTERNAL", inline(f.path).body if body else None,
            None if body else f.path, "PYTHON", certain,
        )  # fmt: skip


def _said(f: Function) -> tuple[str | None, str | None]:
    """The type of a function's result, and whether it is deterministic; nothing of one that cannot be loaded, or takes tables."""
    try:
        if is_process_function(f.path):
            return None, None
        if user_aggregates.is_aggregate(f.path):
            return user_aggregates.resolve(f.path).result.null().text(), None
        found = user.resolve(f.path)
    except SqlStreamError:
        return None, None
    return found.result.null().text(), "YES" if found.deterministic else "NO"


_ROWS: dict[str, Callable[[Catalog, Describe], Iterator[Row]]] = {
    "information_schema_catalog_name": _catalog_name,
    "schemata": _schemata,
    "tables": _tables,
    "columns": _columns,
    "views": _views,
    "table_constraints": _table_constraints,
    "key_column_usage": _key_column_usage,
    "routines": _routines,
}
