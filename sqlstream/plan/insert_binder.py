"""INSERT INTO: the query's columns as the table's, by position or by the column list, cast where Flink casts."""

from __future__ import annotations

from sqlstream.catalog.objects import Table
from sqlstream.errors import BindError, Position, did_you_mean
from sqlstream.expressions import Column, Expr, Literal
from sqlstream.plan import nodes
from sqlstream.plan.expression_binder import coerce, implicit
from sqlstream.types import Column as SchemaColumn
from sqlstream.types import Schema, Type


def writable(table: Table) -> Schema:
    """The columns that INSERT gives values for: all but computed and virtual ones."""
    return Schema(
        tuple(
            SchemaColumn(c.name, c.type.null(c.type.nullable and c.name not in table.primary_key))
            for c in table.columns
            if c.type is not None and c.computed is None and not c.virtual
        )
    )


def bind_insert(
    query: nodes.Node, table: Table, columns: tuple[str, ...], position: Position | None = None
) -> tuple[nodes.Node, Schema]:
    """The query with exactly the table's writable columns, and their schema."""
    target = writable(table)
    names = list(columns) or list(target.names)
    for n in names:
        if n not in target.names:
            computed = table.column(n)
            raise BindError(
                f"table {table.name}: column '{n}' cannot be written: it is computed or virtual"
                if computed is not None
                else f"table {table.name} has no column '{n}'",
                hint=None if computed is not None else did_you_mean(n, target.names, "columns"),
                position=position,
            )
        if names.count(n) > 1:
            raise BindError(f"column '{n}' is named twice", position=position)
    if len(names) != len(query.schema):
        raise BindError(
            f"table {table.name}: the query gives {len(query.schema)} columns, {len(names)} are needed\n"
            f"  query: {_list(query.schema)}\n  table: {_list(Schema(tuple(target[target.names.index(n)] for n in names)))}",
            position=position,
        )
    exprs: list[Expr] = []
    for c in target:
        if c.name not in names:
            if not c.type.nullable:
                raise BindError(
                    f"table {table.name}: column '{c.name}' is NOT NULL and gets no value", position=position
                )
            exprs.append(Literal(c.type, None))
            continue
        i = names.index(c.name)
        given = query.schema[i]
        if not storable(given.type, c.type):
            raise BindError(
                f"table {table.name}: column '{c.name}' is {c.type.text()}, the query gives {given.type.text()}\n"
                f"  query: {_list(query.schema)}\n  table: {_list(target)}",
                hint=f"CAST({given.name} AS {c.type.text()})",
                position=position,
            )
        exprs.append(coerce(Column(given.type, i, given.name), c.type))
    return nodes.Project(query, tuple(exprs), target.columns), target


def storable(source: Type, target: Type) -> bool:
    """Whether a value may be stored without CAST: what widens, and strings among themselves."""
    if source.kind in ("FLOAT", "DOUBLE", "DECIMAL") and target.is_integer:
        return False
    if source.is_numeric and target.is_numeric:
        return True
    if source.fields and source.kind == target.kind and len(source.fields) == len(target.fields):
        return all(storable(a.type, b.type) for a, b in zip(source.fields, target.fields, strict=True))
    return implicit(source, target) and source.kind != "ROW"


def _list(schema: Schema) -> str:
    return ", ".join(f"{c.name} {c.type.text()}" for c in schema)
