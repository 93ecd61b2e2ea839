"""INSERT INTO: the query's columns as the table's, by position or by the column list, cast where Flink casts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from sqlstream.catalog.catalog import Catalog
from sqlstream.catalog.objects import Table
from sqlstream.errors import BindError, Position, did_you_mean
from sqlstream.expressions import Call, Cast, Column, Expr, Literal, conjunction
from sqlstream.functions.typing import implicit
from sqlstream.plan import nodes
from sqlstream.plan.expression_binder import ExpressionBinder, coerce
from sqlstream.plan.scope import Scope
from sqlstream.sql.ast import exp
from sqlstream.types import BOOLEAN, BYTES_TYPE, MAX_LENGTH, STRING, Schema, Type
from sqlstream.types import Column as SchemaColumn


def writable(table: Table) -> Schema:
    """The columns that INSERT gives values for: all but computed and virtual ones."""
    return Schema(
        tuple(
            SchemaColumn(c.name, c.type.null(c.type.nullable and c.name not in table.primary_key))
            for c in table.columns
            if c.type is not None and c.computed is None and not c.virtual
        )
    )


def bind_partition(
    values: tuple[tuple[str, exp.Expression], ...], table: Table, catalog: Catalog, position: Position | None = None
) -> dict[str, Expr]:
    """`PARTITION (column = value, …)`: constants of the columns' types."""
    binder = ExpressionBinder(Scope.of(table.name, Schema(())), catalog)
    out: dict[str, Expr] = {}
    for name, tree in values:
        if name not in table.partitioned_by:
            by = f"it is PARTITIONED BY ({', '.join(table.partitioned_by)})" if table.partitioned_by else "it has none"
            raise BindError(
                f"table {table.name}: '{name}' is no partition column: {by}",
                hint=did_you_mean(name, table.partitioned_by, "columns"),
                position=position,
            )
        column = next(c for c in writable(table) if c.name == name)
        value = binder.bind(tree)
        if not isinstance(value, Literal):
            raise BindError(
                f"table {table.name}: the value of partition column '{name}' is no constant",
                hint="'…', a number, DATE '…', TIMESTAMP '…', TRUE or FALSE; others come from the query",
                position=position,
            )
        made = coerce(value, column.type)
        out[name] = made if made.type.null() == column.type.null() else Cast(column.type, value)
    return out


def bind_insert(
    query: nodes.Node,
    table: Table,
    columns: tuple[str, ...],
    position: Position | None = None,
    partition: Mapping[str, Expr] | None = None,
) -> tuple[nodes.Node, Schema]:
    """The query with exactly the table's writable columns, and their schema. `partition`: columns with one value."""
    target = writable(table)
    fixed = partition or {}
    if both := [n for n in columns if n in fixed]:
        raise BindError(f"column '{both[0]}' has a value by PARTITION, and is in the list", position=position)
    names = list(columns) or [n for n in target.names if n not in fixed]
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
            hint=f"INSERT INTO {table.name} (column, …) SELECT … says which are given; the others are NULL",
            position=position,
        )
    exprs: list[Expr] = []
    for c in target:
        if c.name in fixed:
            exprs.append(fixed[c.name])
            continue
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


def enforced(plan: nodes.Node, drop_nulls: bool, lengths: bool) -> nodes.Node:
    """The rows of an INSERT, as its table wants them. `drop_nulls`: without those that have NULL for a NOT NULL column;
    `lengths`: texts and bytes cut, and filled up, to their columns' lengths."""
    columns = plan.schema.columns
    assert isinstance(plan, nodes.Project)
    if lengths:
        exprs = tuple(_fitted(e, c.type) for e, c in zip(plan.exprs, columns, strict=True))
        plan = replace(plan, exprs=exprs)
    if drop_nulls:
        strict = [i for i, e in enumerate(plan.exprs) if not columns[i].type.nullable and e.type.nullable]
        values = [Column(plan.exprs[i].type, i, columns[i].name) for i in strict]
        there = conjunction([Call(BOOLEAN.null(False), "IS NOT NULL", (v,)) for v in values])
        return plan if there is None else nodes.Filter(plan, there)
    return plan


def _fitted(e: Expr, t: Type) -> Expr:
    """By way of the type without a length: a cast to its own type leaves a value as it is."""
    has_length = (
        t.kind in ("CHAR", "BINARY") or t.kind in ("VARCHAR", "VARBINARY") and t.precision not in (None, MAX_LENGTH)
    )
    return Cast(t, Cast((STRING if t.is_string else BYTES_TYPE).null(e.type.nullable), e)) if has_length else e


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
