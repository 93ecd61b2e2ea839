"""The aggregate functions: what they accept and return (Flink's rules), and what they are in DuckDB.

`AGGREGATES` is the registry that the binder, the batch renderer and the streaming operators share, one line a
function. A function's DuckDB text gives exactly Flink's answer, casts included:

- SUM of an integer type is of that type and an overflow is an error; AVG of integers divides exactly and
  truncates toward zero; AVG of DECIMAL(p, s) is DECIMAL(38, max(s, 6)), rounded half up.
- VAR_* and STDDEV_* of integers are integers, computed as Flink's planner rewrites them:
  (SUM(x*x) - SUM(x)*SUM(x) / COUNT(x)) / n in integer division. Of DECIMAL they are DOUBLE (Flink: DECIMAL).
- SUM and AVG of DOUBLE are compensated sums, so that batch and streaming agree to 1e-9.
- FIRST_VALUE, LAST_VALUE, LISTAGG skip NULLs and go by arrival order (`order`). Without one (behind a join or
  over a changelog) they go by the value itself: FIRST_VALUE is then the least value, LAST_VALUE the greatest,
  LISTAGG is sorted. That is one of the orders that Flink may show, and the same in batch and streaming.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlstream.errors import BindError
from sqlstream.types import BIGINT, DOUBLE, STRING, Type, array, decimal

_COMPARABLE = (
    "BOOLEAN", "TINYINT", "SMALLINT", "INT", "BIGINT", "FLOAT", "DOUBLE", "DECIMAL", "CHAR", "VARCHAR",
    "BINARY", "VARBINARY", "DATE", "TIME", "TIMESTAMP", "TIMESTAMP_LTZ", "INTERVAL_DAY", "INTERVAL_MONTH",
)  # fmt: skip


@dataclass(frozen=True)
class Sql:
    """One call as the renderer knows it; `agg` writes one DuckDB aggregate with the call's modifiers.

    args, types  SQL text and type of each argument
    result       type of the call
    order        SQL of the arrival order, or None
    """

    args: tuple[str, ...]
    types: tuple[Type, ...]
    result: Type
    distinct: bool = False
    filter: str | None = None
    order: str | None = None
    over: str | None = None

    def agg(
        self,
        function: str,
        args: str,
        *,
        distinct: bool | None = None,
        order: str | None = None,
        where: str | None = None,
    ) -> str:
        word = "DISTINCT " if (self.distinct if distinct is None else distinct) else ""
        text = f"{function}({word}{args}{f' ORDER BY {order}' if order else ''})"
        conditions = [c for c in (self.filter, where) if c is not None]
        if conditions:
            text += f" FILTER (WHERE {' AND '.join(f'({c})' for c in conditions)})"
        return f"{text} {self.over}" if self.over else text

    def cast(self, text: str) -> str:
        return f"CAST({text} AS {self.result.duckdb()})"

    def count(self) -> str:
        return self.agg("count", self.args[0])


@dataclass(frozen=True)
class AggregateFunction:
    """One aggregate function.

    result         argument types -> type of the call, nullable unless never NULL; BindError for wrong ones
    sql            its DuckDB text
    needs_arrival  goes by arrival: the planner gives the input `_ord` where it can, the renderer `order`
    streaming      False: only batch runs it; the planner refuses it in a streaming query
    mergeable      partial results of an append-only input can be merged (window slices, sessions)
    """

    name: str
    arity: tuple[int, int]
    result: Callable[[tuple[Type, ...]], Type]
    sql: Callable[[Sql], str]
    needs_arrival: bool = False
    streaming: bool = True
    mergeable: bool = True

    def type_of(self, types: tuple[Type, ...]) -> Type:
        """The call's type; BindError when number or types of the arguments are wrong."""
        low, high = self.arity
        if not low <= len(types) <= high:
            expected = str(low) if low == high else f"{low} to {high}"
            raise BindError(f"{self.name} takes {expected} arguments, not {len(types)}")
        return self.result(types)

    def duckdb(
        self,
        args: Sequence[str],
        types: Sequence[Type],
        *,
        distinct: bool = False,
        filter: str | None = None,
        order: str | None = None,
        over: str | None = None,
        result: Type | None = None,
    ) -> str:
        """The call in DuckDB, of exactly the type `result` (default: `type_of(types)`).

        args    SQL of each argument, of the DuckDB types of `types`; none for COUNT(*)
        filter  SQL of FILTER's condition
        order   SQL to order rows by arrival; only looked at where `needs_arrival`
        over    "OVER (…)": the call as a window function; without `order` it goes by the window's order
        """
        call = Sql(
            tuple(args), tuple(types), result or self.type_of(tuple(types)), distinct, filter, order, over
        )  # fmt: skip
        return self.sql(call)


def _numeric(name: str, t: Type) -> Type:
    if not t.is_numeric:
        raise BindError(f"{name} takes a number, not {t.text()}", hint="CAST the argument to a numeric type")
    return t.null()


def _sum_type(types: tuple[Type, ...]) -> Type:
    t = types[0]
    if t.is_interval:
        return t.null()
    _numeric("SUM", t)
    return decimal(38, t.scale or 0) if t.kind == "DECIMAL" else t.null()


def _avg_type(types: tuple[Type, ...]) -> Type:
    t = _numeric("AVG", types[0])
    return decimal(38, max(t.scale or 0, 6)) if t.kind == "DECIMAL" else t


def _deviation_type(name: str) -> Callable[[tuple[Type, ...]], Type]:
    def result(types: tuple[Type, ...]) -> Type:
        t = _numeric(name, types[0])
        return DOUBLE if t.kind == "DECIMAL" else t

    return result


def _same(name: str) -> Callable[[tuple[Type, ...]], Type]:
    def result(types: tuple[Type, ...]) -> Type:
        if types[0].kind not in _COMPARABLE:
            raise BindError(f"{name} does not take {types[0].text()}", hint="use a field of it")
        return types[0].null()

    return result


def _listagg_type(types: tuple[Type, ...]) -> Type:
    for t in types:
        if not t.is_string:
            raise BindError(f"LISTAGG takes strings, not {t.text()}", hint="CAST the argument to STRING")
    return STRING


def _collect_type(types: tuple[Type, ...]) -> Type:
    return Type("MULTISET", fields=array(types[0]).fields, nullable=False)


def _count_sql(c: Sql) -> str:
    return c.agg("count", c.args[0] if c.args else "*", distinct=c.distinct and bool(c.args))


def _sum_sql(c: Sql) -> str:
    x, t = c.args[0], c.types[0]
    if t.kind in ("FLOAT", "DOUBLE"):
        return c.cast(_double_sum(c))
    return c.cast(c.agg("sum", f"CAST({x} AS {_exact(t)})"))


def _exact(t: Type) -> str:
    """The DuckDB type in which a SUM is exact: what DuckDB sums as HUGEINT or DECIMAL(38, s)."""
    return t.duckdb() if t.kind == "DECIMAL" else "BIGINT"


def _double_sum(c: Sql) -> str:
    # fsum (Kahan) gives NaN where infinities took part; sum knows better then.
    x = f"CAST({c.args[0]} AS DOUBLE)"
    exact = c.agg("fsum", x)
    return f"(CASE WHEN isnan({exact}) THEN {c.agg('sum', x)} ELSE {exact} END)"


def _sum0_sql(c: Sql) -> str:
    return f"coalesce({_sum_sql(c)}, {c.cast('0')})"


def _avg_sql(c: Sql) -> str:
    t, n = c.types[0], f"nullif({c.count()}, 0)"
    if t.kind in ("FLOAT", "DOUBLE"):
        return c.cast(f"{_double_sum(c)} / {n}")
    total = c.agg("sum", f"CAST({c.args[0]} AS {_exact(t)})")
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


def _deviation_sql(*, sample: bool, root: bool) -> Callable[[Sql], str]:
    def sql(c: Sql) -> str:
        t, n = c.types[0], c.count()
        if not t.is_integer:
            function = ("stddev_" if root else "var_") + ("samp" if sample else "pop")
            x = f"CAST({c.args[0]} AS DOUBLE)"
            # DuckDB gives 0 for a single infinity: NaN, as of several.
            return c.cast(f"{c.agg(function, x)} + 0 * {c.agg('sum', x)}")
        x = f"CAST({c.args[0]} AS BIGINT)"
        total, squares = c.agg("sum", x), c.agg("sum", f"CAST({x} AS HUGEINT) * {x}")
        if c.distinct:  # of distinct values, not distinct squares
            square = "CAST(v AS HUGEINT) * v"
            squares = f"list_sum(list_transform({c.agg('list', x, where=f'{x} IS NOT NULL')}, lambda v: {square}))"
        divisor = f"nullif({n} - 1, 0)" if sample else f"nullif({n}, 0)"
        variance = f"(({squares} - ({total} * {total}) // nullif({n}, 0)) // {divisor})"
        return c.cast(f"trunc(sqrt(CAST({variance} AS DOUBLE)))" if root else variance)

    return sql


def _extreme_sql(function: str) -> Callable[[Sql], str]:
    return lambda c: c.cast(c.agg(function, c.args[0], distinct=False))


def _end_sql(function: str, plain: str) -> Callable[[Sql], str]:
    def sql(c: Sql) -> str:
        if c.order is None and c.over is not None:
            end = "first_value" if function == "arg_min" else "last_value"
            return c.cast(c.agg(end, f"{c.args[0]} IGNORE NULLS", distinct=False))
        if c.order is None:
            return c.cast(c.agg(plain, c.args[0], distinct=False))
        # DISTINCT does not change which value comes first or last.
        return c.cast(c.agg(function, f"{c.args[0]}, {c.order}", distinct=False))

    return sql


def _listagg_sql(c: Sql) -> str:
    x, given = c.args[0], f"{c.args[0]} IS NOT NULL"
    separator = c.args[1] if len(c.args) > 1 else "','"
    if c.distinct:
        if c.order is None:
            items = c.agg("list", x, order=x, where=given)
        else:
            # DuckDB orders DISTINCT by its argument only: later ones are dropped from the ordered list.
            ordered = c.agg("list", x, distinct=False, order=f"{c.order}, {x}", where=given)
            items = f"list_filter({ordered}, lambda v, i: list_position({ordered}, v) = i)"
        items = f"list_transform({items}, lambda v: {_any(c, separator)} || v)"
    else:
        order = f"{c.order}, {x}" if c.order else None if c.over else x
        items = c.agg("list", f"{separator} || {x}", order=order, where=given)
    return c.cast(f"substr(array_to_string({items}, ''), length({_any(c, separator)}) + 1)")


def _any(c: Sql, separator: str) -> str:
    return separator if separator.startswith("'") else c.agg("any_value", separator, distinct=False)


def _array_agg_sql(c: Sql) -> str:
    x = c.args[0]
    order = x if c.distinct else f"{c.order}, {x}" if c.order else x
    return c.cast(c.agg("list", x, order=order))


def _collect_sql(c: Sql) -> str:
    x = c.args[0]
    return f"coalesce({c.cast(c.agg('histogram', x, where=f'{x} IS NOT NULL'))}, {c.cast('MAP {}')})"


def _function(
    name: str,
    arity: int | tuple[int, int],
    result: Callable[[tuple[Type, ...]], Type],
    sql: Callable[[Sql], str],
    *,
    needs_arrival: bool = False,
    streaming: bool = True,
    mergeable: bool = True,
) -> AggregateFunction:
    low_high = (arity, arity) if isinstance(arity, int) else arity
    return AggregateFunction(name, low_high, result, sql, needs_arrival, streaming, mergeable)


def _count_type(types: tuple[Type, ...]) -> Type:
    return BIGINT.null(False)


def _distinct_count_sql(c: Sql) -> str:
    return c.agg("count", c.args[0], distinct=True)


_ALL = (
    _function("COUNT", (0, 1), _count_type, _count_sql),
    _function("SUM", 1, _sum_type, _sum_sql),
    _function("$SUM0", 1, lambda t: _sum_type(t).null(False), _sum0_sql),
    _function("AVG", 1, _avg_type, _avg_sql),
    _function("MIN", 1, _same("MIN"), _extreme_sql("min")),
    _function("MAX", 1, _same("MAX"), _extreme_sql("max")),
    _function("FIRST_VALUE", 1, _same("FIRST_VALUE"), _end_sql("arg_min", "min"), needs_arrival=True),
    _function("LAST_VALUE", 1, _same("LAST_VALUE"), _end_sql("arg_max", "max"), needs_arrival=True),
    _function("LISTAGG", (1, 2), _listagg_type, _listagg_sql, needs_arrival=True, mergeable=False),
    _function("VAR_POP", 1, _deviation_type("VAR_POP"), _deviation_sql(sample=False, root=False)),
    _function("VAR_SAMP", 1, _deviation_type("VAR_SAMP"), _deviation_sql(sample=True, root=False)),
    _function("VARIANCE", 1, _deviation_type("VARIANCE"), _deviation_sql(sample=True, root=False)),
    _function("STDDEV_POP", 1, _deviation_type("STDDEV_POP"), _deviation_sql(sample=False, root=True)),
    _function("STDDEV_SAMP", 1, _deviation_type("STDDEV_SAMP"), _deviation_sql(sample=True, root=True)),
    _function("STDDEV", 1, _deviation_type("STDDEV"), _deviation_sql(sample=True, root=True)),
    _function("APPROX_COUNT_DISTINCT", 1, _count_type, _distinct_count_sql, mergeable=False),
    _function(
        "ARRAY_AGG",
        1,
        lambda t: array(t[0]),
        _array_agg_sql,
        needs_arrival=True,
        streaming=False,
        mergeable=False,
    ),
    _function("COLLECT", 1, _collect_type, _collect_sql, streaming=False, mergeable=False),
)
AGGREGATES: dict[str, AggregateFunction] = {f.name: f for f in _ALL}
