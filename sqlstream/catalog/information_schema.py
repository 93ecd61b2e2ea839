"""information_schema: what a catalog holds, as tables that are read like any others and are changed by no one.

Each session sees them as a database of its catalog, beside those that it made (SHOW DATABASES leaves it out). Their columns
are those of the standard that say something here, and comments. `plan/information_schema.py` makes their rows.
"""

from __future__ import annotations

from sqlstream.catalog.databases import identity
from sqlstream.catalog.objects import Table
from sqlstream.sql.statements import ColumnDef
from sqlstream.types import INT, STRING, Type

NAME = "information_schema"

_S, _R, _I = STRING, STRING.null(False), INT


def _table(name: str, comment: str, *columns: tuple[str, Type]) -> Table:
    defined = tuple(ColumnDef(c, t) for c, t in columns)
    return Table(identity(NAME, name), defined, comment=comment, database=NAME, within=NAME)


def _named(kind: str) -> tuple[tuple[str, Type], ...]:
    return (f"{kind}_catalog", _R), (f"{kind}_schema", _R), (f"{kind}_name", _R)


_YES_OR_NO = STRING.null(False)
TABLES = {
    t.name: t
    for t in (
        _table("information_schema_catalog_name", "the catalog of the session", ("catalog_name", _R)),
        _table("schemata", "databases", ("catalog_name", _R), ("schema_name", _R), ("schema_comment", _S)),
        _table("tables", "tables and views", *_named("table"), ("table_type", _R), ("is_insertable_into", _YES_OR_NO),
               ("table_comment", _S)),
        _table("columns", "columns of tables and views", *_named("table"), ("column_name", _R), ("ordinal_position", INT.null(False)),
               ("column_default", _S), ("is_nullable", _YES_OR_NO), ("data_type", _R), ("character_maximum_length", _I),
               ("numeric_precision", _I), ("numeric_precision_radix", _I), ("numeric_scale", _I), ("datetime_precision", _I),
               ("is_generated", _R), ("generation_expression", _S), ("column_comment", _S)),
        _table("views", "queries of views", *_named("table"), ("view_definition", _R), ("check_option", _R),
               ("is_updatable", _YES_OR_NO), ("is_insertable_into", _YES_OR_NO)),
        _table("table_constraints", "primary keys", *_named("constraint"), *_named("table"), ("constraint_type", _R),
               ("is_deferrable", _YES_OR_NO), ("initially_deferred", _YES_OR_NO), ("enforced", _YES_OR_NO)),
        _table("key_column_usage", "columns of primary keys", *_named("constraint"), *_named("table"), ("column_name", _R),
               ("ordinal_position", INT.null(False)), ("position_in_unique_constraint", _I)),
        _table("routines", "functions of users", *(("specific_catalog", _R), ("specific_schema", _S), ("specific_name", _R)),
               *(("routine_catalog", _R), ("routine_schema", _S), ("routine_name", _R)), ("routine_type", _R), ("data_type", _S),
               ("routine_body", _R), ("routine_definition", _S), ("external_name", _S), ("external_language", _R),
               ("is_deterministic", _S)),
    )
}  # fmt: skip


def is_named(database: str) -> bool:
    """Whether a database's name means this one, in any case."""
    return database.lower() == NAME
