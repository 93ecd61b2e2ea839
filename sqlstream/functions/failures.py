"""What DuckDB says of a value that does not fit, in our words: Flink's names of types, and none of our marks.

Which expression it was is told by whoever ran it (batch/failure.py, operators/calc.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable

from sqlstream.functions.casts import REFUSED

_LONGEST = 100  # of a value that is shown
_TYPES = {
    "INT8": "TINYINT", "INT16": "SMALLINT", "INT32": "INT", "INT64": "BIGINT", "INT128": "DECIMAL(38, 0)",
    "BOOL": "BOOLEAN", "BLOB": "BYTES", "TIMESTAMP WITH TIME ZONE": "TIMESTAMP_LTZ",
}  # fmt: skip
_SIGNS = {"addition": "+", "subtraction": "-", "multiplication": "*"}


def _type(name: str) -> str:
    name = name.strip()
    return _TYPES.get(name, re.sub(r"\((\d+),(\d+)\)", r"(\1, \2)", name))


def _shown(value: str) -> str:
    value = value.replace(REFUSED, "")
    return value if len(value) <= _LONGEST else value[: _LONGEST - 1] + "…"


def _no_value(m: re.Match[str]) -> str:
    return f'"{_shown(m[2])}" is no {_type(m[3])}'


def _no_time(m: re.Match[str]) -> str:
    return f'"{_shown(m[2])}" is no {m[1].upper()}'


def _too_large(m: re.Match[str]) -> str:
    return f"{_shown(m[1])} is out of range for {_type(m[2])}"


def _overflow(m: re.Match[str]) -> str:
    kind = "DECIMAL with 38 digits" if m[2].startswith("DECIMAL") else _type(m[2])
    return f"overflow: {m[3]} {_SIGNS[m[1]]} {m[5]} is out of range for {kind}"


_PATTERNS: tuple[tuple[str, Callable[[re.Match[str]], str] | str], ...] = (
    (r"Could not convert string (['\"])(.*)\1 to ([A-Z][\w ]*(?:\(\d+,\d+\))?)", _no_value),
    (r"(?:invalid )?(date|time|timestamp) field (?:format|value out of range): \"(.*?)\", expected format.*", _no_time),
    (r"Type \w+ with value (.+?) can't be cast because the value is out of range for the destination type (\w+).*",
     _too_large),
    (r"Casting value \"(.+?)\" to type ([A-Z]\w*(?:\(\d+,\d+\))?) failed: value is out of range!", _too_large),
    (r"Could not cast value (.+?) to ([A-Z]\w*\(\d+,\d+\))", _too_large),
    (r"Overflow in (\w+) of ([A-Z]+\d*(?:\(\d+\))?) \((\S+) ([-+*]) (\S+)\)[!;.]?.*", _overflow),
    (r"Overflow in negation of numeric value!", "overflow: the negated number is out of range for its type"),
    (r"Overflow on abs\((.*)\)", r"overflow: the absolute value of \1 is out of range for its type"),
    (r"Overflow in HUGEINT \w+: .*", "overflow: the sum has more than 38 digits"),
    (r"Timestamp microseconds out of range: .*|Date and time not in timestamp range|Date out of range|Could not add .*timestamp.*",
     "the time is out of range"),
    (r"Cannot create a string of size: '(\d+)'.*", r"a text of \1 bytes is too long"),
    (r"Failure in decode: could not convert blob to UTF8 string.*", "the bytes are no UTF-8 text"),
)  # fmt: skip


def plain(text: str) -> str:
    """DuckDB's message without its kind and its own hints, in our words where we have any."""
    text = re.sub(
        r"^(Invalid Input|Conversion|Out of Range|Invalid|Constraint|Binder|Not implemented) Error: ", "", text.strip()
    )
    for pattern, words in _PATTERNS:
        m = re.match(pattern, text, re.DOTALL)
        if m is not None:
            return m.expand(words) if isinstance(words, str) else words(m)
    return text.splitlines()[0].replace(REFUSED, "") if text else ""


def advice(reason: str) -> str | None:
    """What to do about a failure in the data, where there is something that does it."""
    if "division by zero" in reason:
        return "x / NULLIF(y, 0) is NULL where y is 0"
    found = re.search(r"^.* is no ([A-Z][\w ()]*)$", reason)
    if found is not None and not re.search(r"\bPython (\w+ )?function ", reason):
        return f"TRY_CAST(x AS {found[1]}) is NULL where a value is none; a text is compared with a text: '1'"
    if reason.startswith("overflow") or "out of range" in reason:
        return "CAST to a wider type before: CAST(x AS DECIMAL(38, 0)), or DOUBLE"
    return None
