"""What the catalog holds, as SQLAlchemy asks for it. Schemas are databases; None is the one that is current."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import exc
from sqlalchemy.engine import reflection

from sqlstream.catalog.catalog import Catalog
from sqlstream.catalog.objects import Table, View
from sqlstream.dbapi import Connection
from sqlstream.dbapi.names import mapped
from sqlstream.options import shown
from sqlstream.sqlalchemy.types import of_type


class Reflection:
    """The dialect's half that reads. Names count their case. NoSuchTableError for what is not there."""

    def get_schema_names(self, connection: Any, **kw: Any) -> list[str]:
        """The databases."""
        return _catalog(connection).databases()

    def has_schema(self, connection: Any, schema_name: str, **kw: Any) -> bool:
        """Whether there is such a database."""
        return _catalog(connection).knows(qualifiers(schema_name))

    @reflection.cache
    def has_table(self, connection: Any, table_name: str, schema: str | None = None, **kw: Any) -> bool:
        """Whether there is such a table or view."""
        return found(_catalog(connection), schema, table_name) is not None

    def has_index(self, connection: Any, table_name: str, index_name: str, schema: Any = None, **kw: Any) -> bool:
        """There are none."""
        return False

    def has_sequence(self, connection: Any, sequence_name: str, schema: Any = None, **kw: Any) -> bool:
        """There are none."""
        return False

    @reflection.cache
    def get_table_names(self, connection: Any, schema: str | None = None, **kw: Any) -> list[str]:
        """Tables that are not temporary."""
        return _names(connection, schema, lambda r: isinstance(r, Table) and not r.temporary)

    @reflection.cache
    def get_view_names(self, connection: Any, schema: str | None = None, **kw: Any) -> list[str]:
        """Views that are not temporary."""
        return _names(connection, schema, lambda r: isinstance(r, View) and not r.temporary)

    @reflection.cache
    def get_temp_table_names(self, connection: Any, schema: str | None = None, **kw: Any) -> list[str]:
        """Temporary tables."""
        return _names(connection, schema, lambda r: isinstance(r, Table) and r.temporary)

    @reflection.cache
    def get_temp_view_names(self, connection: Any, schema: str | None = None, **kw: Any) -> list[str]:
        """Temporary views."""
        return _names(connection, schema, lambda r: isinstance(r, View) and r.temporary)

    @reflection.cache
    def get_view_definition(self, connection: Any, view_name: str, schema: str | None = None, **kw: Any) -> str:
        """The statement that makes the view."""
        relation = _relation(connection, view_name, schema)
        if not isinstance(relation, View):
            raise exc.NoSuchTableError(view_name)
        return relation.ddl()

    @reflection.cache
    def get_columns(self, connection: Any, table_name: str, schema: str | None = None, **kw: Any) -> list[Any]:
        """Their names, types, and whether they may be NULL; `computed` ones with their expression."""
        relation = _relation(connection, table_name, schema)
        with mapped():
            columns = _session(connection).columns_of(relation)
        out: list[Any] = []
        for c in columns:
            declared = relation.column(c.name) if isinstance(relation, Table) else None
            one = {"name": c.name, "type": of_type(c.type), "nullable": c.type.nullable, "default": None}
            one["comment"] = None if declared is None else declared.comment
            if declared is not None and declared.computed is not None:
                one["computed"] = {"sqltext": declared.computed_text, "persisted": False}
            out.append(one)
        return out

    @reflection.cache
    def get_pk_constraint(self, connection: Any, table_name: str, schema: str | None = None, **kw: Any) -> Any:
        """The primary key's columns, and its name."""
        relation = _relation(connection, table_name, schema)
        if not isinstance(relation, Table) or not relation.primary_key:
            return reflection.ReflectionDefaults.pk_constraint()
        return {"constrained_columns": list(relation.primary_key), "name": relation.constraint}

    def get_foreign_keys(self, connection: Any, table_name: str, schema: str | None = None, **kw: Any) -> list[Any]:
        """There are none."""
        return _none(connection, table_name, schema)

    def get_indexes(self, connection: Any, table_name: str, schema: str | None = None, **kw: Any) -> list[Any]:
        """There are none."""
        return _none(connection, table_name, schema)

    def get_unique_constraints(
        self, connection: Any, table_name: str, schema: str | None = None, **kw: Any
    ) -> list[Any]:
        """There are none."""
        return _none(connection, table_name, schema)

    def get_check_constraints(
        self, connection: Any, table_name: str, schema: str | None = None, **kw: Any
    ) -> list[Any]:
        """There are none."""
        return _none(connection, table_name, schema)

    @reflection.cache
    def get_table_comment(self, connection: Any, table_name: str, schema: str | None = None, **kw: Any) -> Any:
        """The comment of a table or view."""
        return {"text": _relation(connection, table_name, schema).comment}

    @reflection.cache
    def get_table_options(self, connection: Any, table_name: str, schema: str | None = None, **kw: Any) -> Any:
        """What Table takes: `sqlstream_with` (secrets hidden), `sqlstream_watermark`, `sqlstream_partitioned_by`."""
        relation = _relation(connection, table_name, schema)
        if not isinstance(relation, Table):
            return {}
        out: dict[str, Any] = {"sqlstream_with": shown(relation.option_map)}
        if relation.watermark is not None:
            out["sqlstream_watermark"] = f"{relation.watermark.column} AS {relation.watermark.text}"
        if relation.partitioned_by:
            out["sqlstream_partitioned_by"] = list(relation.partitioned_by)
        return out


def _session(connection: Any) -> Any:
    driver: Connection = connection.connection.driver_connection
    return driver.session


def _catalog(connection: Any) -> Catalog:
    catalog: Catalog = _session(connection).catalog
    return catalog


def _names(connection: Any, schema: str | None, wanted: Callable[[Table | View], bool]) -> list[str]:
    catalog = _catalog(connection)
    if not catalog.knows(qualifiers(schema)):
        return []
    database = catalog.database(qualifiers(schema)).name
    relations = [(name, found(catalog, database, name)) for name in catalog.tables(database)]
    return [name for name, relation in relations if relation is not None and wanted(relation)]


def _relation(connection: Any, name: str, schema: str | None) -> Table | View:
    relation = found(_catalog(connection), schema, name)
    if relation is None:
        raise exc.NoSuchTableError(name if schema is None else f"{schema}.{name}")
    return relation


def qualifiers(schema: str | None) -> tuple[str, ...]:
    """The parts of a schema's name, `[catalog.]database`."""
    return () if schema is None else tuple(schema.split("."))


def found(catalog: Catalog, schema: str | None, name: str) -> Table | View | None:
    """The table or view of a schema; None when there is none."""
    parts = qualifiers(schema)
    return catalog.find(catalog.identity((*parts, name))) if catalog.knows(parts) else None


def _none(connection: Any, name: str, schema: str | None) -> list[Any]:
    _relation(connection, name, schema)
    return []
