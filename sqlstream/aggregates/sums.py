"""SUM and AVG.

SUM of an integer type is of that type and an overflow is an error; AVG of integers divides exactly and truncates
toward zero; AVG of DECIMAL(p, s) is DECIMAL(38, max(s, 6)), rounded half up. Those of DOUBLE are compensated sums, so
that batch and streaming agree to 1e-9.
"""

from __future__ import annotations

from sqlstream.aggregates.count import counted
from sqlstream.aggregates.function import AggregateFunction, numeric
from sqlstream.aggregates.sql import Fold, Sql
from sqlstream.types import DOUBLE, Type, decimal


def _sum_type(types: tuple[Type, ...]) -> Type:
    t = types[0]
    if t.is_interval:
        return t
    numeric("SUM", t)
    return decimal(38, t.scale or 0) if t.kind == "DECIMAL" else t


def _avg_type(types: tuple[Type, ...]) -> Type:
    t = numeric("AVG", types[0])
    return decimal(38, max(t.scale or 0, 6)) if t.kind == "DECIMAL" else t


def exact_sum(c: Sql) -> str:
    """The sum of integers, intervals or decimals: HUGEINT, or DECIMAL(38, s)."""
    x, t = c.args[0], c.types[0]
    if t.kind == "DECIMAL":
        x, state = f"CAST({x} AS {t.duckdb()})", decimal(38, t.scale or 0)
        return c.fold(Fold("sum", x, state.duckdb(), state, "sum", x))
    x, state = f"CAST({x} AS BIGINT)", decimal(38, 0)
    return c.fold(Fold("sum", x, "HUGEINT", state, "sum", f"CAST({x} AS {state.duckdb()})"))


def double_sum(c: Sql) -> str:
    """The sum of doubles. fsum (Kahan) gives NaN where infinities took part; sum knows better then."""
    x = f"CAST({c.args[0]} AS DOUBLE)"
    if c.repeatable:
        exact, plain = c.doubles("fsum", x), c.doubles("sum", x)
    else:
        exact, plain = (c.fold(Fold(f, x, "DOUBLE", DOUBLE, f, x)) for f in ("fsum", "sum"))
    return f"(CASE WHEN isnan({exact}) THEN {plain} ELSE {exact} END)"


def _as_float(c: Sql, x: str) -> str:
    """Doubles as the call's FLOAT or DOUBLE. FLOAT is infinite beyond its limit, where DuckDB would not cast."""
    if c.result.kind == "FLOAT":
        x = f"CASE WHEN abs({x}) >= 3.4028235677973366e38 THEN {x} * CAST('inf' AS DOUBLE) ELSE {x} END"
    return c.cast(x)


def _sum_sql(c: Sql) -> str:
    return _as_float(c, double_sum(c)) if c.types[0].kind in ("FLOAT", "DOUBLE") else c.cast(exact_sum(c))


def _avg_sql(c: Sql) -> str:
    t, n = c.types[0], f"nullif({counted(c)}, 0)"
    if t.kind in ("FLOAT", "DOUBLE"):
        return _as_float(c, f"{double_sum(c)} / {n}")
    total = exact_sum(c)
    if t.is_integer:
        return c.cast(f"{total} // {n}")
    # DECIMAL: quotient and remainder of the unscaled sum, so that 128 bits suffice; rounded half up.
    scale = c.result.scale or 0
    unscaled = f"CAST(replace(CAST({total} AS VARCHAR), '.', '') AS HUGEINT)"
    power = 10 ** (scale - (t.scale or 0))
    rest = f"({unscaled} % {n})"
    rounded = f"sign({rest}) * ((2 * {power} * abs({rest}) + {n}) // (2 * {n}))"
    quotient = f"CAST(({unscaled} // {n}) * {power} + CAST({rounded} AS HUGEINT) AS DECIMAL(38, 0))"
    unit = f"CAST('{'0.' + '0' * (scale - 1) + '1'}' AS DECIMAL({scale}, {scale}))"
    return c.cast(f"{quotient} * {unit}")


FUNCTIONS = (
    AggregateFunction("SUM", (1, 1), _sum_type, _sum_sql, "sums:Sum"),
    AggregateFunction("AVG", (1, 1), _avg_type, _avg_sql, "sums:Average"),
)
