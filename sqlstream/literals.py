"""Constants as SQL text: what EXPLAIN and messages show."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlstream.types import Type

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNITS = (("DAY", 86_400_000_000), ("HOUR", 3_600_000_000), ("MINUTE", 60_000_000), ("SECOND", 1_000_000))


def literal_text(value: Any, t: Type) -> str:
    """A constant of type `t` (its value as in `expressions.Literal`) as one writes it."""
    if value is None:
        return "NULL"
    if t.kind == "BOOLEAN":
        return "TRUE" if value else "FALSE"
    if t.is_string:
        return quoted(str(value))
    if t.kind in ("BINARY", "VARBINARY"):
        return f"X'{value.hex()}'"
    if t.kind == "INTERVAL_DAY":
        return interval_text(value)
    if t.kind == "INTERVAL_MONTH":
        return f"INTERVAL '{value // 12}' YEAR" if value % 12 == 0 else f"INTERVAL '{value}' MONTH"
    if t.kind in ("DATE", "TIME", "TIMESTAMP", "TIMESTAMP_LTZ"):
        try:
            at = _EPOCH + (timedelta(days=value) if t.kind == "DATE" else timedelta(microseconds=value))
        except OverflowError:
            return f"CAST({value} AS {t.text()})"  # beyond what Python can write
        return f"{t.kind} '{_time(at, t.kind)}'"
    return f"{value}"


def interval_text(micros: int) -> str:
    """A length of time as SQL, in the longest unit that it is whole in."""
    for unit, size in _UNITS:
        if micros % size == 0 and (micros or unit == "SECOND"):
            return f"INTERVAL '{micros // size}' {unit}"
    whole, part = divmod(abs(micros), 1_000_000)
    return f"INTERVAL '{'-' if micros < 0 else ''}{whole}.{part:06}".rstrip("0") + "' SECOND"


def quoted(text: str) -> str:
    """A string as SQL."""
    return "'" + text.replace("'", "''") + "'"


def _time(at: datetime, kind: str) -> str:
    day, time = f"{at.year:04}-{at:%m-%d}", f"{at:%H:%M:%S}" + (f".{at:%f}".rstrip("0") if at.microsecond else "")
    if kind == "DATE":
        return day
    return time if kind == "TIME" else f"{day} {time}" + (" UTC" if kind == "TIMESTAMP_LTZ" else "")
