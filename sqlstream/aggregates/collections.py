"""ARRAY_AGG and COLLECT: values as a collection.

ARRAY_AGG keeps NULLs, and goes by arrival order; in OVER by the window's. Without an order (behind a join or over a
changelog) values are sorted, NULLs last: one of the orders that Flink may show, and the same in batch and streaming.
"""

from __future__ import annotations

from sqlstream.aggregates.function import AggregateFunction
from sqlstream.aggregates.sql import Sql
from sqlstream.types import Type, array


def listed(c: Sql, where: str | None = None) -> str:
    """The argument's values (`where` they hold) in order as a list; of different ones the first."""
    x = c.args[0]
    order = f"{c.order}, {x}" if c.order else None if c.over else x
    items = c.agg("list", x, distinct=False, order=order, where=where)
    if not c.distinct:
        return items
    # DuckDB orders DISTINCT by its argument only: later ones are dropped from the ordered list.
    return f"list_filter({items}, lambda v, i: list_position({items}, v) = i)"


def _array_sql(c: Sql) -> str:
    return c.cast(listed(c))


def _multiset(types: tuple[Type, ...]) -> Type:
    return Type("MULTISET", fields=array(types[0]).fields)


def _multiset_sql(c: Sql) -> str:
    x = c.args[0]
    return f"coalesce({c.cast(c.agg('histogram', x, where=f'{x} IS NOT NULL'))}, {c.cast('MAP {}')})"


FUNCTIONS = (
    AggregateFunction(
        "ARRAY_AGG",
        (1, 1),
        lambda t: array(t[0]),
        _array_sql,
        "collections:Collected",
        takes_order=True,
        nulls_are_rows=True,
        needs_arrival=True,
    ),
    AggregateFunction("COLLECT", (1, 1), _multiset, _multiset_sql, "collections:Counts", nulls="never"),
)
