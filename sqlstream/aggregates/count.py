"""COUNT, and APPROX_COUNT_DISTINCT, which counts exactly."""

from __future__ import annotations

from sqlstream.aggregates.function import AggregateFunction
from sqlstream.aggregates.sql import Fold, Sql
from sqlstream.types import BIGINT, Type


def counted(c: Sql, distinct: bool | None = None) -> str:
    """How many rows there are, or give an argument."""
    value = f"CASE WHEN {c.args[0]} IS NULL THEN 0 ELSE 1 END" if c.args else "1"
    args = c.args[0] if c.args else "*"
    distinct = False if not c.args else distinct
    return c.fold(Fold("count", args, "BIGINT", BIGINT, "sum", value, nothing="0"), distinct=distinct)


def _type(types: tuple[Type, ...]) -> Type:
    return BIGINT


FUNCTIONS = (
    AggregateFunction("COUNT", (0, 1), _type, counted, "count:Counted", nulls="never"),
    AggregateFunction(
        "APPROX_COUNT_DISTINCT",
        (1, 1),
        _type,
        lambda c: counted(c, distinct=True),
        "count:CountedDistinct",
        nulls="never",
        takes_distinct=False,
    ),
)
