"""BOOL_AND and BOOL_OR of BOOLEAN; BIT_AND, BIT_OR and BIT_XOR of integers, by their bits in two's complement. They skip
NULLs. DuckDB's, by its names; Flink has none."""

from __future__ import annotations

from collections.abc import Callable

from sqlstream.aggregates.function import AggregateFunction
from sqlstream.aggregates.sql import Fold, Sql
from sqlstream.errors import BindError
from sqlstream.types import Type


def _function(
    name: str, half: str, of: str, takes: Callable[[Type], bool], distinct: bool = False
) -> AggregateFunction:
    def type_(types: tuple[Type, ...]) -> Type:
        if not takes(types[0]):
            raise BindError(f"{name} takes {of}, not {types[0].text()}")
        return types[0]

    def sql(c: Sql) -> str:
        x, t = c.args[0], c.types[0]
        fold = Fold(name.lower(), x, t.duckdb(), t, name.lower(), x)
        return c.cast(c.fold(fold, distinct=None if distinct else False))

    return AggregateFunction(name, (1, 1), type_, sql, half, takes_distinct=distinct)


def _boolean(t: Type) -> bool:
    return t.kind == "BOOLEAN"


def _integer(t: Type) -> bool:
    return t.is_integer


FUNCTIONS = (
    _function("BOOL_AND", "extremes:Least", "a BOOLEAN", _boolean),
    _function("BOOL_OR", "extremes:Most", "a BOOLEAN", _boolean),
    _function("BIT_AND", "bits:BitAnd", "an integer", _integer),
    _function("BIT_OR", "bits:BitOr", "an integer", _integer),
    _function("BIT_XOR", "bits:BitXor", "an integer", _integer, distinct=True),
)
