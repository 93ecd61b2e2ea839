"""Where the parts of a text of JSON stand: they are taken as they are written there, so that numbers keep their digits."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

_WHITE = re.compile(r"[ \t\n\r]*")
_DECODER = json.JSONDecoder()


def whole(text: str) -> tuple[int, int]:
    """Where the value begins and ends that the text is. ValueError, RecursionError where it is no JSON."""
    begin, end = _bounds(text, _white(text, 0))
    if _white(text, end) != len(text):
        raise ValueError(f"something is behind it, at character {end}")
    return begin, end


def parts(text: str, at: int) -> Iterator[tuple[str, int, int]]:
    """The fields of an object that begins at a place, or the elements of an array by their numbers, and where each begins and ends; none
    of what is neither. The text is known to be JSON."""
    an_object = text[at] == "{"
    if text[at] not in "{[":
        return
    number, at = 0, _white(text, at + 1)
    while text[at] not in "}]":
        name = str(number)
        if an_object:
            name, at = _DECODER.raw_decode(text, at)
            at = _white(text, _white(text, at) + 1)
        begin, end = _bounds(text, at)
        yield name, begin, end
        at = _white(text, end)
        at, number = _white(text, at + 1) if text[at] == "," else at, number + 1


def one_line(text: str) -> str:
    """The same value: line ends stand between parts alone."""
    return text.replace("\n", " ").replace("\r", " ")


def _white(text: str, at: int) -> int:
    found = _WHITE.match(text, at)
    return at if found is None else found.end()


def _bounds(text: str, at: int) -> tuple[int, int]:
    return at, _DECODER.raw_decode(text, at)[1]
