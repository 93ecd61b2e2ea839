"""LISTAGG: skips NULLs and goes by arrival order, as ARRAY_AGG does."""

from __future__ import annotations

from sqlstream.aggregates.collections import listed
from sqlstream.aggregates.function import AggregateFunction
from sqlstream.aggregates.sql import Sql
from sqlstream.errors import BindError
from sqlstream.types import STRING, Type


def _type(types: tuple[Type, ...]) -> Type:
    for t in types:
        if not t.is_string:
            raise BindError(f"LISTAGG takes strings, not {t.text()}", hint="CAST the argument to STRING")
    return STRING


def _sql(c: Sql) -> str:
    x, given = c.args[0], f"{c.args[0]} IS NOT NULL"
    separator = c.args[1] if len(c.args) > 1 else "','"
    if c.distinct:
        items = f"list_transform({listed(c, given)}, lambda v: {_any(c, separator)} || v)"
    else:
        order = f"{c.order}, {x}" if c.order else None if c.over else x
        items = c.agg("list", f"{separator} || {x}", order=order, where=given)
    return c.cast(f"substr(array_to_string({items}, ''), length({_any(c, separator)}) + 1)")


def _any(c: Sql, separator: str) -> str:
    return separator if separator.startswith("'") else c.agg("any_value", separator, distinct=False)


FUNCTIONS = (AggregateFunction("LISTAGG", (1, 2), _type, _sql, "listagg:Listed", takes_order=True, needs_arrival=True),)
