"""FIRST_VALUE and LAST_VALUE: they skip NULLs and go by arrival order.

Without one (behind a join or over a changelog) they go by the value itself: FIRST_VALUE is then the least value,
LAST_VALUE the greatest. That is one of the orders that Flink may show, and the same in batch and streaming.
"""

from __future__ import annotations

from collections.abc import Callable

from sqlstream.aggregates.extremes import extreme
from sqlstream.aggregates.function import AggregateFunction, same
from sqlstream.aggregates.sql import Fold, Sql


def _sql(window: str, by_arrival: str, by_value: str) -> Callable[[Sql], str]:
    def sql(c: Sql) -> str:
        x, t = c.args[0], c.types[0]
        if c.order is not None:
            # DISTINCT does not change which value comes first or last.
            fold = Fold(by_arrival, f"{x}, {c.order}", t.duckdb(), t, by_arrival, x, placed=True)
            return c.cast(c.fold(fold, distinct=False))
        if c.over is not None:
            return c.cast(c.agg(window, f"{x} IGNORE NULLS", distinct=False))
        return extreme(c, by_value)

    return sql


FUNCTIONS = (
    AggregateFunction(
        "FIRST_VALUE",
        (1, 1),
        same("FIRST_VALUE"),
        _sql("first_value", "arg_min", "min"),
        "ends:FirstValue",
        takes_distinct=False,
        needs_arrival=True,
    ),
    AggregateFunction(
        "LAST_VALUE",
        (1, 1),
        same("LAST_VALUE"),
        _sql("last_value", "arg_max", "max"),
        "ends:LastValue",
        takes_distinct=False,
        needs_arrival=True,
    ),
)
