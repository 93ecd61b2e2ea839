"""VAR_* and STDDEV_*: of integers they are integers, computed as Flink's planner rewrites them:
(SUM(x*x) - SUM(x)*SUM(x) / COUNT(x)) / n in integer division. Of DECIMAL they are DOUBLE (Flink: DECIMAL)."""

from __future__ import annotations

from sqlstream.aggregates.count import counted
from sqlstream.aggregates.function import AggregateFunction, numeric
from sqlstream.aggregates.sql import Fold, Sql
from sqlstream.aggregates.sums import exact_sum
from sqlstream.types import DOUBLE, Type, decimal


def _function(name: str, half: str, *, sample: bool, root: bool) -> AggregateFunction:
    def type_(types: tuple[Type, ...]) -> Type:
        t = numeric(name, types[0])
        return DOUBLE if t.kind == "DECIMAL" else t

    def sql(c: Sql) -> str:
        if not c.types[0].is_integer:
            function = ("stddev_" if root else "var_") + ("samp" if sample else "pop")
            x = f"CAST({c.args[0]} AS DOUBLE)"
            # DuckDB gives 0 for a single infinity. Where a square is infinite all is NaN: infinity less infinity.
            squares = c.doubles("sum", x if c.distinct else f"{x} * {x}")
            return c.cast(f"{c.doubles(function, x)} + 0 * {squares}")
        n, total = counted(c), exact_sum(c)
        divisor = f"nullif({n} - 1, 0)" if sample else f"nullif({n}, 0)"
        variance = f"(({_squares(c)} - ({total} * {total}) // nullif({n}, 0)) // {divisor})"
        return c.cast(f"trunc(sqrt(CAST({variance} AS DOUBLE)))" if root else variance)

    return AggregateFunction(name, (1, 1), type_, sql, half, nulls="few" if sample else "none")


def _squares(c: Sql) -> str:
    """The sum of an integer's squares, HUGEINT."""
    x = f"CAST({c.args[0]} AS BIGINT)"
    if c.distinct:  # of distinct values, not distinct squares
        values = c.agg("list", x, where=f"{x} IS NOT NULL")
        return f"list_sum(list_transform({values}, lambda v: CAST(v AS HUGEINT) * v))"
    square = f"CAST({x} AS HUGEINT) * {x}"
    state = decimal(38, 0)
    return c.fold(Fold("sum", square, "HUGEINT", state, "sum", f"CAST({square} AS {state.duckdb()})"))


FUNCTIONS = (
    _function("VAR_POP", "deviations:VarPop", sample=False, root=False),
    _function("VAR_SAMP", "deviations:VarSamp", sample=True, root=False),
    _function("VARIANCE", "deviations:VarSamp", sample=True, root=False),
    _function("STDDEV_POP", "deviations:StddevPop", sample=False, root=True),
    _function("STDDEV_SAMP", "deviations:StddevSamp", sample=True, root=True),
    _function("STDDEV", "deviations:StddevSamp", sample=True, root=True),
)
