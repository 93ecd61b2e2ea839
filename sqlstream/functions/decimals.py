"""Division of DECIMALs as DuckDB SQL: exact, rounded half up.

DuckDB's own `/` and wide `%` go by doubles, of 15 digits.

The quotient is one of whole numbers: of the unscaled values, brought to the result's scale by as many more digits.
These come in portions, so that a HUGEINT (38 digits) holds what is in between.
"""

from __future__ import annotations

from sqlstream.types import Type

_DIGITS = 37  # of what may be doubled, for rounding, within a HUGEINT
_PORTIONS = 3


def quotient(a: str, b: str, types: tuple[Type, Type], result: Type) -> str:
    """`a / b` as `result`; `types` are DECIMALs. Division by zero is an error, as in Flink."""
    (p1, s1), (p2, s2) = ((t.precision or 0, t.scale or 0) for t in types)
    scale = result.scale or 0
    more = scale - s1 + s2  # digits to add to the quotient of the unscaled values
    x, y = _unscaled(a, p1, s1), _unscaled(b, p2, s2)
    if more < 0:
        whole = _rounded(f"({x} // {y})", f"{_power(-more)}")
    elif p1 + more <= _DIGITS:
        whole = _rounded(f"({x} * {_power(more)})", y)
    else:
        portion = _DIGITS - p2
        if portion < 1 or more > portion * _PORTIONS:
            # too wide to be exact here
            inexact = f"CAST(CAST({a} AS DOUBLE) / CAST({b} AS DOUBLE) AS {result.duckdb()})"
            return _checked(a, b, inexact)
        whole, rest = f"({x} // {y})", f"({x} % {y})"
        while more > portion:
            longer = f"({rest} * {_power(portion)})"
            whole, rest = f"({whole} * {_power(portion)} + {longer} // {y})", f"({longer} % {y})"
            more -= portion
        whole = f"({whole} * {_power(more)} + {_rounded(f'({rest} * {_power(more)})', y)})"
    return _checked(a, b, _scaled(whole, scale, result))


def remainder(a: str, b: str, types: tuple[Type, Type], result: Type) -> str | None:
    """`a % b` with the sign of `a`; None when the operands are too wide to stand side by side."""
    (p1, s1), (p2, s2) = ((t.precision or 0, t.scale or 0) for t in types)
    scale = max(s1, s2)
    if max(p1 - s1, p2 - s2) + scale > _DIGITS:
        return None
    x, y = (f"({_unscaled(v, p, s)} * {_power(scale - s)})" for v, p, s in ((a, p1, s1), (b, p2, s2)))
    return _checked(a, b, _scaled(f"({x} % {y})", scale, result))


def product(a: str, b: str, types: tuple[Type, Type], result: Type) -> str:
    """`a * b`. DuckDB multiplies within 18 digits what came in such, so one operand is widened first."""
    t = types[0]
    if max(x.precision or 0 for x in types) <= 18 < (result.precision or 0):
        a = f"CAST({a} AS DECIMAL({result.precision}, {t.scale}))"
    return f"CAST(({a} * {b}) AS {result.duckdb()})"


def _scaled(whole: str, scale: int, result: Type) -> str:
    """The whole number / 10^scale as `result`."""
    if not scale:
        return f"CAST({whole} AS {result.duckdb()})"
    unit = f"CAST('0.{'0' * (scale - 1)}1' AS DECIMAL({scale}, {scale}))"
    return f"CAST(CAST({whole} AS DECIMAL(38, 0)) * {unit} AS {result.duckdb()})"


def _checked(dividend: str, divisor: str, value: str) -> str:
    """NULL / 0 is NULL, as in Flink."""
    return f"CASE WHEN {divisor} = 0 AND {dividend} IS NOT NULL THEN error('division by zero') ELSE {value} END"


def _unscaled(x: str, precision: int, scale: int) -> str:
    if not scale:
        return f"CAST({x} AS HUGEINT)"
    if precision + scale < 38:
        # widened first: DuckDB multiplies within 18 digits what came in such
        return f"CAST(CAST({x} AS DECIMAL(38, {scale})) * CAST({10**scale} AS DECIMAL({scale + 1}, 0)) AS HUGEINT)"
    return f"CAST(replace(CAST({x} AS VARCHAR), '.', '') AS HUGEINT)"


def _power(digits: int) -> str:
    return f"CAST({10**digits} AS HUGEINT)"


def _rounded(x: str, y: str) -> str:
    """x / y of whole numbers, rounded half up (away from zero)."""
    return f"(CAST(sign({x}) * sign({y}) AS HUGEINT) * ((2 * abs({x}) + abs({y})) // (2 * abs({y}))))"
