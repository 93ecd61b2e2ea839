"""COVAR_*, CORR and REGR_* of two numbers, as DOUBLE: over rows that give both. DuckDB's, by its names; Flink has none.

As in SQL's standard the second argument is the independent one; where it does not vary CORR and REGR_* are NULL, and so is
CORR where the first does not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlstream.aggregates.function import AggregateFunction, numeric
from sqlstream.aggregates.sql import Sql
from sqlstream.types import BIGINT, DOUBLE, Type


@dataclass(frozen=True)
class _Sums:
    """SQL of what the results are made of. n: rows; y, x: means; yy, xx, xy: means of products of what differs from these."""

    n: str
    y: str
    x: str
    yy: str
    xx: str
    xy: str


def _sums(c: Sql) -> _Sums:
    given = f"{c.args[0]} IS NOT NULL AND {c.args[1]} IS NOT NULL"
    y, x = (f"CASE WHEN {given} THEN CAST({a} AS DOUBLE) END" for a in c.args)
    n = f"nullif({c.agg('count', y)}, 0)"
    means = [f"({c.doubles('fsum', v)} / {n})" for v in (y, x)]
    if not c.repeatable:
        yy, xx, xy = c.agg("var_pop", y), c.agg("var_pop", x), c.agg("covar_pop", f"{y}, {x}")
    else:
        lists = [c.agg("list", v, where=given, order=c.order) for v in (y, x)]

        def products(a: int, b: int) -> str:
            terms = f"list_transform({lists[a]}, lambda v, i: (v - {means[a]}) * ({lists[b]}[i] - {means[b]}))"
            return f"list_aggregate({terms}, 'fsum') / {n}"

        yy, xx, xy = products(0, 0), products(1, 1), products(0, 1)
    # DuckDB gives 0 for the variance of a single infinity; infinity less itself is NaN
    odd = f"0 * {means[0]} + 0 * {means[1]}"
    return _Sums(n, means[0], means[1], f"({yy} + {odd})", f"({xx} + {odd})", f"({xy} + {odd})")


def _slope(s: _Sums) -> str:
    return f"CASE WHEN {s.xx} <> 0 THEN {s.xy} / {s.xx} END"


def _determination(s: _Sums) -> str:
    return f"CASE WHEN {s.xx} = 0 THEN NULL WHEN {s.yy} = 0 THEN 1 ELSE {s.xy} / {s.xx} * ({s.xy} / {s.yy}) END"


_FORMULAS: dict[str, tuple[str, Callable[[_Sums], str]]] = {
    "COVAR_POP": ("CovarPop", lambda s: s.xy),
    "COVAR_SAMP": ("CovarSamp", lambda s: f"{s.xy} * {s.n} / nullif({s.n} - 1, 0)"),
    "CORR": ("Corr", lambda s: f"CASE WHEN {s.xx} <> 0 AND {s.yy} <> 0 THEN {s.xy} / sqrt({s.xx}) / sqrt({s.yy}) END"),
    "REGR_COUNT": ("RegrCount", lambda s: f"coalesce({s.n}, 0)"),
    "REGR_SLOPE": ("RegrSlope", _slope),
    "REGR_INTERCEPT": ("RegrIntercept", lambda s: f"{s.y} - ({_slope(s)}) * {s.x}"),
    "REGR_R2": ("RegrR2", _determination),
}


def _function(name: str) -> AggregateFunction:
    half, formula = _FORMULAS[name]

    def type_(types: tuple[Type, ...]) -> Type:
        for t in types:
            numeric(name, t)
        return BIGINT if name == "REGR_COUNT" else DOUBLE

    return AggregateFunction(
        name,
        (2, 2),
        type_,
        lambda c: c.cast(formula(_sums(c))),
        f"correlations:{half}",
        nulls="never" if name == "REGR_COUNT" else "few",
        refuses_distinct=True,
    )


FUNCTIONS = tuple(map(_function, _FORMULAS))
