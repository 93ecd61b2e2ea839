"""PERCENTILE and MEDIAN: values in order, and between two of them in proportion, as DOUBLE; they skip NULLs."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from sqlstream.aggregates.function import AggregateFunction, numeric
from sqlstream.aggregates.sql import Sql
from sqlstream.errors import BindError
from sqlstream.expressions import Call, Cast, Expr, Literal
from sqlstream.types import DOUBLE, Type, array


def _type(types: tuple[Type, ...]) -> Type:
    numeric("PERCENTILE", types[0])
    if len(types) == 1:
        raise BindError(
            "PERCENTILE takes 2 to 3 arguments, not 1", hint="PERCENTILE(x, 0.5), PERCENTILE(x, 0.5, times)"
        )
    if len(types) > 2 and not types[2].is_integer:
        raise BindError(f"PERCENTILE: how often a value counts is a whole number, not {types[2].text()}")
    return array(DOUBLE.null(False)) if types[1].kind == "ARRAY" else DOUBLE


def _median_type(types: tuple[Type, ...]) -> Type:
    numeric("MEDIAN", types[0])
    return DOUBLE


def _shares(e: Expr) -> Any:
    """The second argument: a number, or a tuple of them."""
    if isinstance(e, Call) and e.function == "ARRAY":
        return tuple(_share(a) for a in e.args)
    return _share(e)


def _share(e: Expr) -> float:
    while isinstance(e, Cast):
        e = e.arg
    if not isinstance(e, Literal) or not isinstance(e.value, int | float | Decimal) or not 0 <= e.value <= 1:
        raise BindError(
            f"PERCENTILE: the share is a constant from 0 to 1, or an ARRAY of them, not {e}",
            hint="PERCENTILE(x, 0.5), PERCENTILE(x, ARRAY[0.25, 0.75])",
        )
    return float(e.value)


def _sql(c: Sql) -> str:
    (wanted,) = c.constants or (0.5,)
    share = f"[{', '.join(map(repr, wanted))}]" if isinstance(wanted, tuple) else repr(wanted)
    x = f"CAST({c.args[0]} AS DOUBLE)"
    if len(c.args) == 1:
        return c.cast(c.agg("quantile_cont", f"{x}, {share}"))
    times = f"list_transform(range(CAST({c.args[1]} AS BIGINT)), lambda i: {x})"
    repeated = f"flatten({c.agg('list', times, where=f'{x} IS NOT NULL AND {c.args[1]} IS NOT NULL')})"
    return c.cast(f"list_aggregate({repeated}, 'quantile_cont', {share})")


FUNCTIONS = (
    AggregateFunction("PERCENTILE", (2, 3), _type, _sql, "percentile:Percentile", nulls="few", constant=(1, _shares)),
    AggregateFunction("MEDIAN", (1, 1), _median_type, _sql, "percentile:Percentile"),
)
