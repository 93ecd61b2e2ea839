"""Python aggregate functions as aggregates: a plan knows one by the path of its function. Where an argument is NULL its row
counts all the same; the function is also asked for the value of no rows."""

from __future__ import annotations

from sqlstream.aggregates.function import AggregateFunction
from sqlstream.aggregates.sql import Sql
from sqlstream.functions import user_aggregates
from sqlstream.functions.user_aggregates import UserAggregate


def user_aggregate(path: str) -> AggregateFunction:
    """The aggregate that the function at `path` is. BindError when it is none."""
    f = user_aggregates.resolve(path)
    return AggregateFunction(
        path,
        (len(f.arguments), len(f.arguments)),
        lambda types: f.result,
        lambda c: _sql(f, c),
        "user:half",
        nulls="few" if f.result.nullable else "never",
        takes_order=True,
        nulls_are_rows=True,
        needs_arrival=True,
        user=f,
    )


def _sql(f: UserAggregate, c: Sql) -> str:
    """The function of the list of its rows; of rows that are equal, with DISTINCT, of the first."""
    values = [f"CAST({x} AS {t.duckdb()})" for x, t in zip(c.args, f.arguments, strict=True)]
    a_row = "{" + ", ".join(f"'f{i}': {v}" for i, v in enumerate(values)) + "}"
    by_value = None if c.over else ", ".join(c.args)
    rows = c.agg("list", a_row, distinct=False, order=f"{c.order}, {', '.join(c.args)}" if c.order else by_value)
    if c.distinct:  # DuckDB orders DISTINCT by its argument only: later ones are dropped from the ordered list
        rows = f"list_filter({rows}, lambda v, i: list_position({rows}, v) = i)"
    return c.cast(f.over_lists.called([rows]))
