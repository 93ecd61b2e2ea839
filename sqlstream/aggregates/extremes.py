"""MIN and MAX."""

from __future__ import annotations

from collections.abc import Callable

from sqlstream.aggregates.function import AggregateFunction, same
from sqlstream.aggregates.sql import Fold, Sql


def extreme(c: Sql, function: str) -> str:
    """The least ("min") or greatest ("max") value."""
    x, t = c.args[0], c.types[0]
    return c.cast(c.fold(Fold(function, x, t.duckdb(), t, function, x), distinct=False))


def _sql(function: str) -> Callable[[Sql], str]:
    return lambda c: extreme(c, function)


FUNCTIONS = (
    AggregateFunction("MIN", (1, 1), same("MIN"), _sql("min"), "extremes:Least", takes_distinct=False),
    AggregateFunction("MAX", (1, 1), same("MAX"), _sql("max"), "extremes:Most", takes_distinct=False),
)
