"""Text to values as Flink's casts read it, as DuckDB SQL and (for constants) in Python.

DuckDB's own casts take more: 1_000, 0x1F, 1e5 and 12.7 for integers, 'inf', 'epoch' and 'infinity' for times, / for -.
Each conversion therefore looks at the shape of a text first, brings what Flink also takes into a form that DuckDB
reads alike, and marks all else with REFUSED, so that the cast behind it fails (or TRY_CAST gives NULL). Nothing is
raised by a function of its own: that would be volatile, and the optimiser could move nothing past it.

The shapes are those of BinaryStringDataUtil and DateTimeUtils in Flink, and of Java's parsers that they call:

integers    a sign, digits, perhaps a fraction, which is cut; spaces around
DECIMAL     as in Java's BigDecimal, also with an exponent; rounded half up; spaces, tabs, newlines around
DOUBLE      as Double.parseDouble has it but for hexadecimal digits: NaN, Infinity, 1e5, 1f; white space around
BOOLEAN     t, true, y, yes, 1, f, false, n, no, 0, in any case; no space around
DATE        y, y-m or y-m-d, up to the first space
TIME        h, h:m, h:m:s with a fraction
TIMESTAMP   yyyy-m-d, perhaps h:m:s, perhaps a fraction of up to 9 digits; the 29th to 31st of a shorter month is its last
"""

from __future__ import annotations

import calendar
import datetime
import re

from sqlstream.functions.numbers import once
from sqlstream.types import TIMES, Type

# Before a text that is no value of the type; errors leave it out (duck.py).
REFUSED = "\x1a"
_REFUSED = "chr(26)"

_TRUE, _FALSE = "('t', 'true', 'y', 'yes', '1')", "('f', 'false', 'n', 'no', '0')"
_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_WHITE = r"[\x00-\x20]*"  # what Java's trim() takes away
_CLOCK = r"\d\d?:\d\d?:\d\d?(?:\.\d{0,9})?"


def from_text(x: str, target: Type, lenient: bool) -> str | None:
    """SQL of the text `x` as `target`; lenient: NULL where it is none. None for types that no text is cast to.

    Of a TIMESTAMP the precision is not looked at: it has microseconds.
    """
    cast = "TRY_CAST" if lenient else "CAST"
    to = target.duckdb()
    if target.is_integer:
        return once(x, lambda x: f"{cast}({_integer(x)} AS {to})")
    if target.kind == "DECIMAL":
        shape = rf"[ \n\t]*{_NUMBER}[ \n\t]*"
        return once(x, lambda x: f"{cast}({_shaped(x, (shape, x))} AS {to})")
    if target.kind in ("FLOAT", "DOUBLE"):
        return once(x, lambda x: f"{cast}({_floating(x)} AS {to})")
    if target.kind == "BOOLEAN":
        return once(x, lambda x: _boolean(x, cast))
    if target.kind == "DATE":
        return once(x, lambda x: f"{cast}({_date(x)} AS DATE)")
    if target.kind == "TIME":
        return once(x, lambda x: f"{cast}({_time(x, target.precision or 0)} AS TIME)")
    if target.is_timestamp:
        return once(x, lambda x: f"{cast}({_timestamp(x)} AS {to})")
    return None


def is_castable(target: Type) -> bool:
    """Whether a text can be cast to the type."""
    return target.is_numeric or target.is_string or target.kind in ("BOOLEAN", "BINARY", "VARBINARY", *TIMES)


def _shaped(x: str, *shapes: tuple[str, str]) -> str:
    """The form for the first (pattern, form) that the text has; else it is marked. NULL stays."""
    cases = " ".join(f"WHEN regexp_full_match({x}, '{pattern}') THEN {form}" for pattern, form in shapes)
    return f"CASE {cases} ELSE {_REFUSED} || {x} END"


def _integer(x: str) -> str:
    whole = rf"regexp_replace({x}, '^ *([+-]?)(\d*)\..*$', '\10\2')"
    return _shaped(x, (r" *[+-]?\d+ *", x), (r" *[+-]?\d*\.\d* *", whole))


def _floating(x: str) -> str:
    number = rf"{_NUMBER}|[+-]?NaN|[+-]?Infinity"
    plain = rf"regexp_extract({x}, '{number}')"
    return _shaped(x, (number, x), (rf"{_WHITE}(?:(?:{_NUMBER})[fFdD]?|[+-]?NaN|[+-]?Infinity){_WHITE}", plain))


def _boolean(x: str, cast: str) -> str:
    low = f"lower({x})"
    return (
        f"CASE WHEN {low} IN {_TRUE} THEN TRUE WHEN {low} IN {_FALSE} THEN FALSE "
        f"ELSE {cast}({_REFUSED} || {x} AS BOOLEAN) END"
    )


def _date(x: str) -> str:
    head = f"CASE WHEN starts_with({x}, ' ') THEN trim({x}) ELSE split_part({x}, ' ', 1) END"
    month = rf"regexp_replace({head}, '^(\d+)$', '\1-1')"
    day = rf"regexp_replace({month}, '^(\d+-\d+)$', '\1-1')"
    whole = rf"regexp_replace({_REFUSED} || {day}, '^\x1a0*([1-9]\d{{0,3}})-0*(\d\d?)-0*(\d\d?)$', '\1-\2-\3')"
    return f"CASE WHEN regexp_full_match({x}, '[1-9]\\d{{3}}-\\d\\d-\\d\\d') THEN {x} ELSE {whole} END"


def _time(x: str, precision: int) -> str:
    digits = rf"\.\d{{0,{precision}}}"
    cut = rf"regexp_extract({x}, '^\d\d?:\d\d?:\d\d?(?:{digits})?')"
    return _shaped(
        x, (r"\d\d?:\d\d?:\d\d?(?:\.\d*)?", cut), (r"\d\d?:\d\d?", f"{x} || ':0'"), (r"\d\d?", f"{x} || ':0:0'")
    )


def _timestamp(x: str) -> str:
    year = r"(?:[1-9]\d{3}|0[1-9]\d\d|00[1-9]\d|000[1-9])"
    first = rf"regexp_extract({x}, '^\d{{4}}-\d\d?') || '-1'"
    last = (
        f"CASE WHEN TRY_CAST(split_part({x}, ' ', 1) AS DATE) IS NOT NULL THEN {x} "
        f"ELSE strftime(last_day(TRY_CAST({first} AS DATE)), '%Y-%m-%d') || regexp_extract({x}, ' .*$') END"
    )
    return _shaped(
        x,
        (rf"{year}-\d\d?-(?:[01]?\d|2[0-8])(?: {_CLOCK})?", x),
        (rf"{year}-(?:0?[1-9]|1[012])-(?:29|30|31)(?: {_CLOCK})?", last),
    )


_DATE_HEAD = re.compile(r"0*(\d{1,4})(?:-0*(\d{1,2})(?:-0*(\d{1,2}))?)?", re.ASCII)
_TIME_TEXT = re.compile(r"(\d\d?)(?::(\d\d?)(?::(\d\d?)(?:\.(\d*))?)?)?", re.ASCII)
_TIMESTAMP_TEXT = re.compile(r"(\d{4})-(\d\d?)-(\d\d?)(?: (\d\d?:\d\d?:\d\d?(?:\.\d{0,9})?))?", re.ASCII)


def parse_time(text: str, kind: str) -> int | None:
    """A constant by the same rules: µs since 1970 (days for DATE, µs since midnight for TIME); None when it is none."""
    try:
        if kind == "DATE":
            m = _DATE_HEAD.fullmatch(text.strip(" ") if text.startswith(" ") else text.partition(" ")[0])
            return None if m is None else _days(int(m[1]), int(m[2] or 1), int(m[3] or 1))
        if kind == "TIME":
            return _micros(text)
        m = _TIMESTAMP_TEXT.fullmatch(text)
        if m is None:
            return None
        year, month, day = int(m[1]), int(m[2]), int(m[3])
        if 28 < day <= 31:
            day = min(day, calendar.monthrange(year, month)[1])
        of_day = _micros(m[4], midnight=True) if m[4] else 0
        return None if of_day is None else _days(year, month, day) * 86_400_000_000 + of_day
    except ValueError:  # calendar's IllegalMonthError is one
        return None


def _days(year: int, month: int, day: int) -> int:
    return (datetime.date(year, month, day) - datetime.date(1970, 1, 1)).days


def _micros(text: str, midnight: bool = False) -> int | None:
    """µs since midnight. `midnight`: 24:00:00 is the end of the day."""
    m = _TIME_TEXT.fullmatch(text)
    if m is None:
        return None
    hour, minute, second = (int(x or 0) for x in m.group(1, 2, 3))
    micros = int((m[4] or "")[:6].ljust(6, "0"))
    if hour == 24 and midnight and not (minute or second or micros):
        return 86_400_000_000
    if hour > 23 or minute > 59 or second > 59:
        return None
    return ((hour * 60 + minute) * 60 + second) * 1_000_000 + micros
