"""FLOAT and DOUBLE as Flink has them, which is Java: their text, and how they round.

Text is that of Java's toString (JDK 19 and later). The digits are the fewest that give the number back, at least two:
1.0, 0.1. From 10^7 on and below 10^-3 they come with an exponent: 1.0E7, 1.5E-4. DuckDB finds the same digits, but of
a FLOAT that is half-way between two shorter texts, and changes the form elsewhere: 1e+16, 1e-05, inf.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from sqlstream.types import Type

MACROS = (
    # DuckDB's text of a number that is to have an exponent: 1.5e+20, 1e-05, 12345678.0, 0.00015
    r"""flink_scientific(s) AS CASE
    WHEN contains(s, 'e') THEN regexp_replace(s, 'e\+?(-?)0*', CASE WHEN contains(s, '.') THEN 'E\1' ELSE '.0E\1' END)
    WHEN contains(s, '0.000') AND ltrim(s, '-')[1] = '0' THEN regexp_replace(s || '0', '0\.000(\d)(\d+?)0*$', '\1.\2E-4')
    ELSE regexp_replace(replace(s, '.', ''), '(\d)(\d+?)0*$', '\1.\2E') || (strpos(ltrim(s, '-'), '.') - 2) END""",
    # DuckDB's text of a FLOAT that lies half-way between two shorter ones: Java shows the even one of these, as 20.523438 for 20.5234375.
    """flink_halved(x, s, shorter) AS CASE WHEN CAST(printf(shorter, x) AS FLOAT) = x THEN printf(shorter, x) ELSE s END""",
    """flink_float(x, s) AS CASE WHEN length(s) < 9 THEN s
    WHEN contains(s, '5e') THEN flink_halved(x, s, concat('%.', strpos(s, 'e') - strpos(s, '.') - 2, 'e'))
    WHEN suffix(s, '5') AND NOT contains(s, 'e') THEN flink_halved(x, s, concat('%.', length(s) - strpos(s, '.') - 1, 'f')) ELSE s END""",
    # Below `tiny` a single digit may do, and Java shows the nearest number of two.
    """flink_number_text(x, s, tiny) AS CASE
    WHEN abs(x) >= 1e-3 AND abs(x) < 1e7 OR x = 0 THEN s
    WHEN isnan(x) THEN 'NaN' WHEN isinf(x) THEN CASE WHEN x > 0 THEN 'Infinity' ELSE '-Infinity' END
    WHEN abs(x) < tiny THEN flink_scientific(printf('%.1e', x))
    ELSE flink_scientific(s) END""",
    # Half up by the digits that are shown, as 2.675 is nearer to 2.67 in binary. f + 1/2 units is the tie below x.
    """flink_round(x, unit) AS CASE WHEN abs(x) < 1e15 / unit THEN
    sign(x) * (floor(abs(x) * unit) + CASE WHEN abs(x) >= (floor(abs(x) * unit) + 0.5::DOUBLE) / unit THEN 1 ELSE 0 END)
    / unit + 0::DOUBLE ELSE x END""",
)


def number_text(x: str, t: Type) -> str:
    """SQL of the text of `x`, a FLOAT, DOUBLE or DECIMAL; NULL for NULL. `x` is evaluated once."""
    if t.kind == "DECIMAL":
        text = f"CAST({x} AS VARCHAR)"
        # without digits before the point DuckDB leaves out the zero, too
        return f"regexp_replace({text}, '^(-?)[.]', '\\10.')" if t.precision == t.scale else text
    if t.kind == "DOUBLE":
        return once(x, lambda x: f"flink_number_text({x}, CAST({x} AS VARCHAR), 1e-322)")
    return once(x, lambda x: f"flink_number_text({x}, flink_float({x}, CAST({x} AS VARCHAR)), 1e-44)")


def rounded(x: str, places: str) -> str:
    """SQL of the DOUBLE `x` rounded half up to `places` digits after the point, or before it when below 0."""
    return once(
        x,
        lambda x: (
            f"CASE WHEN {places} < 0 THEN round({x}, {places}) "
            f"WHEN {places} IS NOT NULL THEN flink_round({x}, pow(10, {places})) END"
        ),
    )


def once(x: str, macro: Callable[[str], str]) -> str:
    """SQL that uses `x` several times, made by `macro`, though it is evaluated once. A column needs no care."""
    if re.fullmatch(r"[\w.\"]+", x):
        return macro(x)
    return f"list_transform([{x}], lambda given: {macro('given')})[1]"
