"""Values of INTERVAL literals: a day-time one is microseconds, a year-month one months."""

from __future__ import annotations

import re

MICROS = {
    "WEEK": 7 * 86_400_000_000,
    "DAY": 86_400_000_000,
    "HOUR": 3_600_000_000,
    "MINUTE": 60_000_000,
    "SECOND": 1_000_000,
    "MILLISECOND": 1_000,
    "MICROSECOND": 1,
}
MONTHS = {"YEAR": 12, "QUARTER": 3, "MONTH": 1}
_ORDER = ["YEAR", "MONTH", "DAY", "HOUR", "MINUTE", "SECOND"]
_SEPARATOR = {"MONTH": "-", "HOUR": " +", "MINUTE": ":", "SECOND": ":"}
_LIMIT = {"MONTH": 12, "HOUR": 24, "MINUTE": 60, "SECOND": 60}


def interval_value(text: str, unit: str, to: str | None) -> tuple[str, int]:
    """('INTERVAL_DAY', microseconds) or ('INTERVAL_MONTH', months) of `INTERVAL 'text' unit [TO to]`.

    ValueError with a sentence for text that is not of that form, or beyond a microsecond.
    """
    units = [unit] if to is None else _span(unit, to)
    fraction = r"(?:\.(\d{1,9}))?" if units[-1] == "SECOND" else "()"
    pattern = r"\s*([-+]?)\s*(\d+)" + "".join(_SEPARATOR[u] + r"(\d+)" for u in units[1:]) + fraction + r"\s*"
    found = re.fullmatch(pattern, text, re.ASCII)
    if found is None:
        raise ValueError(f"'{text}' is not an interval of {unit}{f' TO {to}' if to else ''}")
    sign, *numbers, decimals = found.groups()
    if decimals and decimals[6:].strip("0"):
        raise ValueError(f"'{text}' is finer than a microsecond")
    for name, number in zip(units[1:], numbers[1:], strict=True):
        if int(number) >= _LIMIT[name]:
            raise ValueError(f"{number} is too many for the {name} of '{text}'")
    scale = MONTHS if units[0] in MONTHS else MICROS
    total = sum(int(n) * scale[u] for u, n in zip(units, numbers, strict=True))
    total += int((decimals or "0").ljust(6, "0")[:6])
    limit = 2**31 if scale is MONTHS else 2**63
    if total >= limit:
        raise ValueError(f"'{text}' is too long an interval")
    return ("INTERVAL_MONTH" if scale is MONTHS else "INTERVAL_DAY", -total if sign == "-" else total)


def _span(unit: str, to: str) -> list[str]:
    if unit in _ORDER and to in _ORDER:
        first, last = _ORDER.index(unit), _ORDER.index(to)
        if first < last and (last < 2) == (first < 2):
            return _ORDER[first : last + 1]
    raise ValueError(f"there is no interval of {unit} TO {to}")
