"""Lines to inputs: a meta-command is one line, a statement goes on until its `;`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

_META = re.compile(r"\s*(\\\S|\.[a-z]|!)", re.I)
# what psql, DuckDB and Flink's client take without `;`
_BARE = re.compile(r"\s*(quit|exit|help|clear|\?)\s*", re.I)


def is_meta(text: str) -> bool:
    """Whether a text is a meta-command: `\\d`, `.tables`, `!ls`."""
    return _META.match(text) is not None


def is_whole(text: str) -> bool:
    """Whether nothing is missing from a text: Enter runs it."""
    if not text.strip() or is_meta(text) or _BARE.fullmatch(text):
        return True
    return ";" in text and _is_complete(text)


def _is_complete(text: str) -> bool:
    from sqlstream.sql.splitter import (
        is_complete,  # with the grammar, which a shell has time for behind its first prompt
    )

    return is_complete(text)


def inputs(lines: Iterable[str]) -> Iterator[str]:
    """The meta-commands and texts of statements in lines, each as soon as it is whole; the last one also without `;`.

    A text of statements keeps the number of its first line: as many empty ones stand before it.
    """
    held: list[str] = []
    for number, line in enumerate(lines):
        line = line.rstrip("\r\n")
        if not held and (is_meta(line) or _BARE.fullmatch(line)):
            yield line
            continue
        if not held and (not line.strip() or line.lstrip().startswith("--")):
            continue
        if not held:
            held = [""] * number
        held.append(line)
        if ";" in line and _is_complete(text := "\n".join(held)):
            yield text
            held = []
    if held:
        yield "\n".join(held)
