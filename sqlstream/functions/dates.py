"""Dates and times: Java's format patterns as strftime's, and parts of times."""

from __future__ import annotations

from collections.abc import Callable

from sqlstream.errors import BindError, NotSupported
from sqlstream.types import Type

# Longest first within a letter. Java's DateTimeFormatter letters that Flink users write.
_PATTERN = {
    "yyyy": "%Y", "uuuu": "%Y", "yy": "%y", "MMMM": "%B", "MMM": "%b", "MM": "%m", "M": "%-m", "dd": "%d", "d": "%-d",
    "HH": "%H", "H": "%-H", "hh": "%I", "h": "%-I", "mm": "%M", "m": "%-M", "ss": "%S", "s": "%-S", "SSSSSS": "%f",
    "SSS": "%g", "a": "%p", "EEEE": "%A", "EEE": "%a", "E": "%a", "DDD": "%j",
}  # fmt: skip


def strftime_pattern(java: str) -> str:
    """'yyyy-MM-dd' -> '%Y-%m-%d'. Quoted text stays; an unknown letter is refused by name."""
    out, i = [], 0
    while i < len(java):
        c = java[i]
        if c == "'":
            end = java.find("'", i + 1)
            if end < 0:
                raise BindError(f"date pattern '{java}': a quote is not closed")
            out.append(java[i + 1 : end].replace("%", "%%") or "'")
            i = end + 1
        elif c.isalpha():
            run = len(java[i:]) - len(java[i:].lstrip(c))
            token = c * run
            if token not in _PATTERN:
                raise NotSupported(
                    f"date pattern '{java}': '{token}' is not supported", hint="supported: " + ", ".join(_PATTERN)
                )
            out.append(_PATTERN[token])
            i += run
        else:
            out.append("%%" if c == "%" else c)
            i += 1
    return "".join(out)


def _literal(sql: str, what: str) -> str:
    if not (sql.startswith("'") and sql.endswith("'")):
        raise NotSupported(f"{what}: the pattern must be a constant")
    return sql[1:-1].replace("''", "'")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def date_format(args: list[str], types: list[Type], result: Type) -> str:
    pattern = _quoted(strftime_pattern(_literal(args[1], "DATE_FORMAT")))
    value = args[0]
    if types[0].is_string:
        value = f"TRY_CAST({value} AS TIMESTAMP)"
    elif types[0].kind == "TIMESTAMP_LTZ":
        value = f"CAST({value} AS TIMESTAMP)"  # in the session's zone
    elif not types[0].is_timestamp and types[0].kind not in ("DATE", "NULL"):
        raise BindError(f"DATE_FORMAT takes a timestamp or string, not {types[0].text()}")
    return f"strftime({value}, {pattern})"


def to_timestamp(args: list[str], types: list[Type], result: Type) -> str:
    if len(args) == 1:
        return f"date_trunc('milliseconds', TRY_CAST({args[0]} AS TIMESTAMP))"
    pattern = _quoted(strftime_pattern(_literal(args[1], "TO_TIMESTAMP")))
    return f"date_trunc('milliseconds', try_strptime({args[0]}, {pattern}))"


def unix_timestamp(args: list[str], types: list[Type], result: Type) -> str:
    """Seconds since 1970 of a text that is in the session's zone."""
    time = f"CAST({args[0]} AS TIMESTAMP)"
    if len(args) > 1:
        time = f"strptime({args[0]}, {_quoted(strftime_pattern(_literal(args[1], 'UNIX_TIMESTAMP')))})"
    return f"CAST(floor(epoch(CAST({time} AS TIMESTAMPTZ))) AS BIGINT)"


def from_unixtime(args: list[str], types: list[Type], result: Type) -> str:
    """In the session's zone."""
    pattern = strftime_pattern(_literal(args[1], "FROM_UNIXTIME") if len(args) > 1 else "yyyy-MM-dd HH:mm:ss")
    return f"strftime(CAST(make_timestamptz({args[0]} * 1000000) AS TIMESTAMP), {_quoted(pattern)})"


def to_timestamp_ltz(args: list[str], types: list[Type], result: Type) -> str:
    if len(args) == 1 or args[1] == "3":
        return f"make_timestamptz({args[0]} * 1000)"
    if args[1] == "0":
        return f"make_timestamptz({args[0]} * 1000000)"
    raise NotSupported("TO_TIMESTAMP_LTZ: the precision is 0 (seconds) or 3 (milliseconds)")


_PARTS = {
    "YEAR": "year", "MONTH": "month", "WEEK": "week", "DAYOFYEAR": "dayofyear", "DAYOFMONTH": "day", "DAY": "day",
    "HOUR": "hour", "MINUTE": "minute", "SECOND": "second", "QUARTER": "quarter", "MILLISECOND": "millisecond",
    "EPOCH": "epoch", "DOY": "dayofyear", "DOW": "dayofweek", "DAYOFWEEK": "dayofweek", "ISODOW": "isodow",
    "ISOYEAR": "isoyear",
}  # fmt: skip
UNITS = ("SECOND", "MINUTE", "HOUR", "DAY", "WEEK", "MONTH", "QUARTER", "YEAR", "MILLISECOND", "MICROSECOND")


def part(unit: str) -> Callable[[list[str], list[Type], Type], str]:
    """EXTRACT(unit FROM x). DAYOFWEEK counts from Sunday = 1."""
    if unit not in _PARTS:
        raise NotSupported(f"EXTRACT of {unit} is not supported", hint="supported: " + ", ".join(_PARTS))

    def sql(args: list[str], types: list[Type], result: Type) -> str:
        t = types[0]
        value = args[0]
        if t.kind == "TIMESTAMP_LTZ":
            value = f"CAST({value} AS TIMESTAMP)"
        elif t.kind not in ("TIMESTAMP", "DATE", "TIME", "NULL"):
            raise BindError(f"{unit} takes a date or timestamp, not {t.text()}", hint="CAST the argument")
        if unit == "MILLISECOND":
            return f"(millisecond({value}) % 1000)"
        if unit in ("DOW", "DAYOFWEEK"):
            return f"(dayofweek({value}) + 1)"
        return f"CAST({_PARTS[unit]}({value}) AS BIGINT)"

    return sql
