"""The Python function of q14."""

from __future__ import annotations


def count_char(text: str | None, char: str) -> int | None:
    """How often `char` occurs in `text`; NULL gives NULL."""
    return None if text is None else text.count(char)
