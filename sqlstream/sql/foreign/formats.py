"""Patterns of dates and times: sqlglot holds strftime's, Flink takes Java's."""

from __future__ import annotations

import re

_JAVA = {
    "%Y": "yyyy", "%y": "yy", "%m": "MM", "%-m": "M", "%d": "dd", "%-d": "d", "%H": "HH", "%-H": "H", "%I": "hh",
    "%-I": "h", "%M": "mm", "%-M": "m", "%S": "ss", "%-S": "s", "%f": "SSSSSS", "%b": "MMM", "%B": "MMMM",
    "%a": "EEE", "%A": "EEEE", "%p": "a", "%j": "DDD", "%F": "yyyy-MM-dd", "%T": "HH:mm:ss", "%%": "%",
}  # fmt: skip
_PIECES = r"%-?[A-Za-z%]|[A-Za-z]+"


_TO_CHAR = {
    "YYYY": "yyyy", "YY": "yy", "MM": "MM", "MON": "MMM", "MMMM": "MMMM", "DD": "dd", "DY": "EEE", "HH24": "HH",
    "HH12": "hh", "MI": "mm", "SS": "ss", "FF3": "SSS", "FF6": "SSSSSS", "AM": "a", "PM": "a",
}  # fmt: skip
_TO_CHAR_WORD = re.compile("|".join(sorted(_TO_CHAR, key=len, reverse=True)) + "|[A-Za-z]+|'", re.IGNORECASE)


def of_to_char(pattern: str) -> str:
    """Java's pattern of Oracle's and Snowflake's; ValueError with the word that has none."""

    def one(m: re.Match[str]) -> str:
        word = m[0].upper()
        if word not in _TO_CHAR:
            raise ValueError(m[0])
        return _TO_CHAR[word]

    return _TO_CHAR_WORD.sub(one, pattern)


def java_pattern(strftime: str, quote: str | None = None) -> str:
    """Java's pattern of strftime's; ValueError with the code that has none. Letters of the text are quoted.

    `quote`: letters are codes in the pattern that this one was made of, unless they stand between two of it.
    """
    out, text = [], ""
    quoted = rf"|{quote}(?:[^{quote}]|{quote}{quote})*{quote}" if quote else ""
    # sqlglot marks Java's two-digit fields of a strict parser so
    for m in re.finditer(f"{_PIECES}{quoted}|.", strftime.replace("strict", ""), re.DOTALL):
        piece = m[0]
        if quote is not None and piece[0] == quote:
            text += piece[1:-1].replace(quote * 2, quote) if len(piece) > 2 else quote if len(piece) == 2 else ""
        elif piece in _JAVA and _JAVA[piece].isalpha() or piece in ("%F", "%T"):
            out.append(_quoted(text) + _JAVA[piece])
            text = ""
        elif piece == "%%":
            text += "%"
        elif piece[0] == "%" or (quote is not None and piece.isalpha()):
            raise ValueError(piece)
        else:
            text += piece
    return "".join(out) + _quoted(text)


def _quoted(text: str) -> str:
    """Text in a pattern of Java's."""
    if not re.search("[A-Za-z']", text):
        return text
    doubled = text.replace("'", "''")
    return f"'{doubled}'"
