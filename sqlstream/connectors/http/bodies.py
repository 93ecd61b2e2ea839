"""What is in the body of an answer or a request: messages of a format, one or many."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sqlstream.connectors.json_parts import one_line, parts, whole
from sqlstream.errors import DataError

JSON, LINES, WHOLE = "json", "lines", "whole"


def messages_in(body: bytes, kind: str, path: Sequence[str], where: str, charset: str | None = None) -> list[bytes]:
    """`kind`: JSON: an object is a message, and each element of an array is one, at `path`, as it is written there; LINES: each line that
    is not empty is one; WHOLE: all of it is. `charset`: of the body, if it is said. DataError where there is no such thing."""
    if kind == WHOLE:
        return [body] if body else []
    if kind == LINES:
        lines = _in_utf8(body, charset, where).removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").split(b"\n")
        return [line for line in lines if line.strip()]
    if not body.strip():
        return []
    try:
        found = _elements(_text(body, charset), path, where)
        return [one_line(text).encode("utf-8", "surrogatepass") for text in found]
    except (ValueError, RecursionError) as e:
        raise _no_json(body, e, where) from None


def parsed(body: bytes, where: str, charset: str | None = None) -> Any:
    """A text of JSON. DataError where it is none."""
    try:
        return json.loads(_text(body, charset))
    except (ValueError, RecursionError) as e:
        raise _no_json(body, e, where) from None


def _no_json(body: bytes, e: Exception, where: str) -> DataError:
    return DataError(f"{where}: what came is no JSON: {e}: {body[:100].decode('utf-8', 'replace')}")


def _in_utf8(body: bytes, charset: str | None, where: str) -> bytes:
    if charset is None or charset.lower() in ("utf-8", "utf8", "us-ascii", "ascii"):
        return body
    try:
        return body.decode(charset).encode()
    except (ValueError, LookupError) as e:
        raise DataError(f"{where}: what came is not in {charset}, as it says: {e}") from None


def _text(body: bytes, charset: str | None) -> str:
    """JSON says itself which form of Unicode it has; ValueError where it has none."""
    found = json.detect_encoding(body)
    if found == "utf-8" and charset is not None:
        try:
            return body.decode(charset)
        except LookupError:
            raise ValueError(f"nobody knows charset {charset}") from None
    return body.decode(found)


def _elements(text: str, path: Sequence[str], where: str) -> list[str]:
    begin, end = whole(text)
    for i, name in enumerate(path):
        inside = None
        for key, at, behind in parts(text, begin):
            if key == name:
                inside = at, behind
        if inside is None:
            raise DataError(
                f"{where}: what came has nothing at '{'.'.join(path[: i + 1])}'",
                hint="'response.path' says where its rows stand",
            )
        begin, end = inside
    if text[begin] == "[":
        return [text[at:behind] for _, at, behind in parts(text, begin)]
    return [] if text[begin:end] == "null" else [text[begin:end]]


def at_path(value: Any, path: Sequence[str], where: str) -> Any:
    """What stands at a path of fields, and of numbers of elements. DataError where it is not there."""
    for i, name in enumerate(path):
        if isinstance(value, dict) and name in value:
            value = value[name]
        elif isinstance(value, list) and name.isdecimal() and int(name) < len(value):
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
