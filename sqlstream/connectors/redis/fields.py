"""Fields of hashes, and of entries of streams, as objects of JSON, by whose format they are read and written: a text for a text, a number or a
time; JSON for what has parts."""

from __future__ import annotations

import json
from collections.abc import Mapping

from sqlstream.connectors.json_parts import one_line, parts, whole
from sqlstream.types import Schema

_PARTS = ("ARRAY", "MAP", "ROW", "MULTISET")


def with_parts(schema: Schema) -> frozenset[str]:
    """The columns whose texts are JSON."""
    return frozenset(c.name for c in schema if c.type.kind in _PARTS)


def object_of(fields: Mapping[str, str], nested: frozenset[str]) -> bytes:
    """An object with these fields. `nested`: those whose texts are JSON."""
    found = (f"{json.dumps(k)}: {_part(v) if k in nested else json.dumps(v)}" for k, v in fields.items())
    return f"{{{', '.join(found)}}}".encode("utf-8", "surrogatepass")


def _part(text: str) -> str:
    """A text that is no JSON does not fit the column, and must not change what is beside it."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return json.dumps(text)
    return one_line(text)


def fields_of(value: bytes) -> dict[str, str | None]:
    """Of an object, in its order; None: NULL."""
    text = (value or b"{}").decode("utf-8", "surrogatepass")
    found = {k: text[begin:end] for k, begin, end in parts(text, whole(text)[0])}
    return {k: None if v == "null" else json.loads(v) if v.startswith('"') else v for k, v in found.items()}
