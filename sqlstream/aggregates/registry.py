"""AGGREGATES: the aggregate functions by name. The binder, the batch renderer and the streaming operators share it."""

from __future__ import annotations

from sqlstream.aggregates import (
    bits,
    collections,
    correlations,
    count,
    deviations,
    ends,
    extremes,
    json,
    listagg,
    percentile,
    sums,
)
from sqlstream.aggregates.function import AggregateFunction
from sqlstream.aggregates.user import user_aggregate
from sqlstream.errors import InternalError
from sqlstream.functions.inline import is_inline

AGGREGATES: dict[str, AggregateFunction] = {
    f.name: f
    for f in (
        *count.FUNCTIONS,
        *sums.FUNCTIONS,
        *extremes.FUNCTIONS,
        *ends.FUNCTIONS,
        *listagg.FUNCTIONS,
        *deviations.FUNCTIONS,
        *correlations.FUNCTIONS,
        *collections.FUNCTIONS,
        *json.FUNCTIONS,
        *bits.FUNCTIONS,
        *percentile.FUNCTIONS,
    )
}


def aggregate(name: str) -> AggregateFunction:
    """The function of a bound call; that of a path is a Python function."""
    if "." in name or is_inline(name):
        return user_aggregate(name)
    if name not in AGGREGATES:
        raise InternalError(f"{name} is not an aggregate function")
    return AGGREGATES[name]
