"""Relations under other names, of common types, or without an order."""

from __future__ import annotations

from dataclasses import replace

from sqlstream.errors import BindError
from sqlstream.expressions import Column
from sqlstream.functions.typing import common
from sqlstream.plan import nodes
from sqlstream.plan.expression_binder import coerce
from sqlstream.sql.ast import (
    column_parts,
    exp,
    position_of,
)  # fmt: skip
from sqlstream.types import Column as SchemaColumn
from sqlstream.types import Schema


def item_name(item: exp.Expression, index: int) -> str:
    """The name of the column that an item of SELECT gives."""
    if isinstance(item, exp.Alias):
        return str(item.alias)
    if isinstance(item, exp.Column):
        return column_parts(item)[-1]
    if isinstance(item, exp.Dot):
        return str(item.expression.name)
    return f"EXPR${index}"


def unique_names(schema: Schema) -> list[str]:
    """Names of columns that are read by them, of a view or in output: a second `id` becomes id0, as in Flink."""
    out: list[str] = []
    for name in schema.names:
        candidate, n = name, 0
        while candidate in out:
            candidate, n = f"{name}{n}", n + 1
        out.append(candidate)
    return out


def renamed(plan: nodes.Node, names: list[str], node: exp.Expression) -> nodes.Node:
    """`plan` under other column names."""
    if len(names) != len(plan.schema):
        raise BindError(
            f"{len(names)} names for {len(plan.schema)} columns",
            hint=f"the columns are {', '.join(plan.schema.names)}",
            position=position_of(node),
        )
    exprs = tuple(Column(c.type, i, c.name) for i, c in enumerate(plan.schema))
    return nodes.Project(plan, exprs, tuple(replace(c, name=n) for c, n in zip(plan.schema, names, strict=True)))


def aligned(plans: list[nodes.Node], what: str) -> list[nodes.Node]:
    """The plans with the same types, cast where they differ."""
    types = [common([p.schema[i].type for p in plans], f"{what}, column {i + 1}") for i in range(len(plans[0].schema))]
    out: list[nodes.Node] = []
    for p in plans:
        exprs = tuple(
            coerce(Column(c.type, i, c.name), t) for i, (c, t) in enumerate(zip(p.schema, types, strict=True))
        )
        if all(isinstance(e, Column) for e in exprs):
            out.append(p)
            continue
        columns = tuple(
            c if isinstance(e, Column) else SchemaColumn(c.name, e.type) for c, e in zip(p.schema, exprs, strict=True)
        )
        out.append(nodes.Project(p, exprs, columns))
    return out


def unsorted(plan: nodes.Node) -> nodes.Node:
    """Without an ORDER BY that stands inside another query: rows of a table have no order, unless LIMIT takes some."""
    if isinstance(plan, nodes.Project):
        below = unsorted(plan.input)
        return plan if below is plan.input else replace(plan, input=below)
    return plan.input if isinstance(plan, nodes.Sort) and plan.limit is None and not plan.offset else plan
