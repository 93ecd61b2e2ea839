"""What is in the body of an answer or a request: messages of a format, one or many."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sqlstream.errors import DataError

JSON, LINES, WHOLE = "json", "lines", "whole"


def messages_in(body: bytes, kind: str, path: Sequence[str], where: str) -> list[bytes]:
    """`kind`: JSON: an object is a message, and each element of an array is one, at `path`; LINES: each line that is not empty is one; WHOLE:
    all of it is. DataError where there is no such thing."""
    if kind == WHOLE:
        return [body] if body else []
    if kind == LINES:
        return [line for line in body.replace(b"\r\n", b"\n").split(b"\n") if line.strip()]
    if not body.strip():
        return []
    found = at_path(parsed(body, where), path, where)
    if found is None:
        return []
    elements = found if isinstance(found, list) else [found]
    return [json.dumps(e, ensure_ascii=False).encode("utf-8", "surrogatepass") for e in elements]


def parsed(body: bytes, where: str) -> Any:
    """A text of JSON; its numbers with a point stay as they are written. DataError where it is none."""
    try:
        return json.loads(body, parse_float=_Digits)
    except (ValueError, RecursionError) as e:
        shown = body[:100].decode("utf-8", "replace")
        raise DataError(f"{where}: what came is no JSON: {e}: {shown}") from None


def _Digits(text: str) -> Any:
    """A number that is a text becomes the same number: format json reads both."""
    return text


def at_path(value: Any, path: Sequence[str], where: str) -> Any:
    """What stands at a path of fields, and of numbers of elements. DataError where it is not there."""
    for i, name in enumerate(path):
        if isinstance(value, dict) and name in value:
            value = value[name]
        elif isinstance(value, list) and name.isdigit() and int(name) < len(value):
            value = value[int(name)]
        else:
            raise DataError(
                f"{where}: what came has nothing at '{'.'.join(path[: i + 1])}'",
                hint="'response.path' says where its rows stand",
            )
    return value


def kind_of(form: str) -> str:
    """How bodies of a format hold messages."""
    return WHOLE if form == "raw" else LINES if form == "csv" else JSON
