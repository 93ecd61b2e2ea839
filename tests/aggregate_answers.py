"""What each aggregate function gives, computed exactly and by Flink's rules: neither by DuckDB nor by the kernels.

A function that is registered and is not here fails `test_every_aggregate.py`. Each takes the group's values: those of the rows
that FILTER lets through, NULLs among them, in the order of arrival, of different values the first.
"""

from __future__ import annotations

import base64
import functools
import json
import math
import operator
from collections import Counter
from collections.abc import Callable
from decimal import ROUND_HALF_UP, Decimal, localcontext
from fractions import Fraction
from typing import Any

from sqlstream.types import Type

Values = list[Any]
Answer = Callable[[Values, Type], Any]


def given(values: Values) -> Values:
    """Those that are not NULL."""
    return [v for v in values if v is not None]


def distinct(values: Values) -> Values:
    """The first of equal ones."""
    return [v for i, v in enumerate(values) if v not in values[:i]]


def truncated(a: int, b: int) -> int:
    """a / b toward zero."""
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


def rounded(x: Fraction, scale: int) -> Decimal:
    """To so many digits, half away from zero."""
    with localcontext() as c:
        c.prec = 200
        return (Decimal(x.numerator) / Decimal(x.denominator)).quantize(Decimal(1).scaleb(-scale), ROUND_HALF_UP)


def total(x: Values, t: Type) -> Any:
    """SUM."""
    if t.is_integer:
        return sum(x)
    if t.kind == "DECIMAL":
        return rounded(sum(map(Fraction, x), Fraction()), t.scale or 0)
    odd = [v for v in x if not math.isfinite(v)]
    return math.fsum(odd) if len(set(map(str, odd))) == 1 else math.nan if odd else as_double(sum(map(Fraction, x)))


def as_double(x: Fraction) -> float:
    """The nearest double; infinite beyond them."""
    try:
        return float(x)
    except OverflowError:
        return math.inf if x > 0 else -math.inf


def mean(x: Values, t: Type) -> Any:
    """AVG."""
    if t.is_integer:
        return truncated(sum(x), len(x))
    if t.kind == "DECIMAL":
        return rounded(sum(map(Fraction, x), Fraction()) / len(x), max(t.scale or 0, 6))
    return total(x, t) / len(x)


def variance(x: Values, t: Type, less: int) -> Any:
    """VAR_*: of integers as Flink rewrites it, in integer division; else a double."""
    if t.is_integer:
        return truncated(sum(v * v for v in x) - truncated(sum(x) ** 2, len(x)), len(x) - less)
    if not all(math.isfinite(v) for v in x):
        return math.nan
    exact = [Fraction(v) for v in x]
    return as_double((sum(v * v for v in exact) - sum(exact) ** 2 / len(x)) / (len(x) - less))


def deviation(x: Values, t: Type, less: int) -> Any:
    """STDDEV_*: the root, for integers without its fraction."""
    var = variance(x, t, less)
    return math.isqrt(var) if t.is_integer else math.sqrt(var)


def of_some(answer: Answer, least: int = 1) -> Answer:
    """Of what is not NULL; NULL where that are fewer than `least`."""

    def some(values: Values, t: Type) -> Any:
        x = given(values)
        return answer(x, t) if len(x) >= least else None

    return some


def percentile(x: Values, share: Fraction) -> float:
    """Between two values, as doubles, in proportion."""
    values = sorted(map(float, x))
    place = (len(x) - 1) * share
    low = math.floor(place)
    a, b = (Fraction(values[i]) for i in (low, math.ceil(place)))
    return as_double(a + (b - a) * (place - low))


def correlated(x: Values) -> tuple[int, Fraction, Fraction, Fraction, Fraction, Fraction]:
    """Of pairs that are given: their number, both means, sums of products of what differs from these: yy, xx, xy.

    The second is squared: at equal distances covariances are exactly 0, which doubles miss.
    """
    pairs = [(Fraction(float(v)), Fraction(n * n)) for v, n in x if v is not None]
    n = len(pairs)
    y, x_ = (sum((p[i] for p in pairs), Fraction()) / max(n, 1) for i in (0, 1))
    yy, xx, xy = (
        sum(((p[i] - m) * (p[j] - k) for p in pairs), Fraction())
        for i, m, j, k in ((0, y, 0, y), (1, x_, 1, x_), (0, y, 1, x_))
    )
    return n, y, x_, yy, xx, xy


def of_pairs(answer: Callable[..., Any], *, least: int = 1, varied: str = "") -> Answer:
    """NULL of fewer pairs than `least`, and where those of y and x that are `varied` do not vary."""

    def some(values: Values, t: Type) -> Any:
        n, y, x, yy, xx, xy = correlated(values)
        if n < least or "x" in varied and xx == 0 or "y" in varied and yy == 0:
            return None
        return as_double(Fraction(answer(n, y, x, yy, xx, xy)))

    return some


def as_json(v: Any) -> str:
    """As Flink writes it."""
    if isinstance(v, Decimal):
        return f"{v:f}"
    if isinstance(v, bytes):
        return f'"{base64.b64encode(v).decode()}"'
    return json.dumps(v, ensure_ascii=False)


ANSWERS: dict[str, Answer] = {
    "COUNT": lambda x, t: len(given(x)),
    "APPROX_COUNT_DISTINCT": lambda x, t: len(distinct(given(x))),
    "SUM": of_some(total),
    "AVG": of_some(mean),
    "MIN": of_some(lambda x, t: min(x)),
    "MAX": of_some(lambda x, t: max(x)),
    "FIRST_VALUE": of_some(lambda x, t: x[0]),
    "LAST_VALUE": of_some(lambda x, t: x[-1]),
    "LISTAGG": of_some(lambda x, t: ",".join(x)),
    "VAR_POP": of_some(lambda x, t: variance(x, t, 0)),
    "VAR_SAMP": of_some(lambda x, t: variance(x, t, 1), 2),
    "VARIANCE": of_some(lambda x, t: variance(x, t, 1), 2),
    "STDDEV_POP": of_some(lambda x, t: deviation(x, t, 0)),
    "STDDEV_SAMP": of_some(lambda x, t: deviation(x, t, 1), 2),
    "STDDEV": of_some(lambda x, t: deviation(x, t, 1), 2),
    "PERCENTILE": of_some(lambda x, t: percentile(x, Fraction(3, 10))),
    "MEDIAN": of_some(lambda x, t: percentile(x, Fraction(1, 2))),
    "JSON_ARRAYAGG": lambda x, t: "[" + ",".join(map(as_json, given(x))) + "]",
    "JSON_OBJECTAGG": lambda x, t: (
        "{" + ",".join(f'"{k}":{as_json(v)}' for v, k in sorted(x, key=lambda p: str(p[1]) + '"')) + "}"
    ),
    "BOOL_AND": of_some(lambda x, t: all(x)),
    "BOOL_OR": of_some(lambda x, t: any(x)),
    "BIT_AND": of_some(lambda x, t: functools.reduce(operator.and_, x)),
    "BIT_OR": of_some(lambda x, t: functools.reduce(operator.or_, x)),
    "BIT_XOR": of_some(lambda x, t: functools.reduce(operator.xor, x)),
    "COVAR_POP": of_pairs(lambda n, y, x, yy, xx, xy: xy / n),
    "COVAR_SAMP": of_pairs(lambda n, y, x, yy, xx, xy: xy / (n - 1), least=2),
    "CORR": of_pairs(lambda n, y, x, yy, xx, xy: float(xy) / math.sqrt(xx) / math.sqrt(yy), varied="xy"),
    "REGR_COUNT": lambda x, t: correlated(x)[0],
    "REGR_SLOPE": of_pairs(lambda n, y, x, yy, xx, xy: xy / xx, varied="x"),
    "REGR_INTERCEPT": of_pairs(lambda n, y, x, yy, xx, xy: y - xy / xx * x, varied="x"),
    "REGR_R2": of_pairs(lambda n, y, x, yy, xx, xy: xy * xy / (xx * yy) if yy else 1, varied="x"),
    "ARRAY_AGG": lambda x, t: list(x) if x else None,
    "COLLECT": lambda x, t: dict(Counter(given(x))),
}

# What stands in a call, where it is more than the column; those with n get pairs of a value and the row's n.
_OF_TWO = {"COVAR_POP", "COVAR_SAMP", "CORR", "REGR_COUNT", "REGR_SLOPE", "REGR_INTERCEPT", "REGR_R2"}
WRITTEN = {"PERCENTILE": "{x}, 0.3", "JSON_OBJECTAGG": "KEY CAST(n AS STRING) VALUE {x}"} | dict.fromkeys(
    _OF_TWO, "{x}, n * n"
)
PAIRS = {"JSON_OBJECTAGG", *_OF_TWO}

# These take no DISTINCT.
NO_DISTINCT = {"JSON_OBJECTAGG", "JSON_ARRAYAGG", *_OF_TWO}

# Where the order in which rows came is not known, values come in their own order; a set has none anyway.
BY_ARRIVAL = {"FIRST_VALUE", "LAST_VALUE", "LISTAGG", "ARRAY_AGG", "JSON_ARRAYAGG"}

# Which value is the first, or the last, DISTINCT does not change.
UNMOVED = {"FIRST_VALUE", "LAST_VALUE", "MIN", "MAX"}
