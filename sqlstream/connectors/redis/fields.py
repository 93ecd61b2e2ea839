"""Fields of hashes, and of entries of streams, as objects of JSON, by whose format they are read and written: a text for a text, a number or a
time; JSON for what has parts."""

from __future__ import annotations

import json
from collections.abc import Mapping

from sqlstream.types import Schema

_PARTS = ("ARRAY", "MAP", "ROW", "MULTISET")


def with_parts(schema: Schema) -> frozenset[str]:
    """The columns whose texts are JSON."""
    return frozenset(c.name for c in schema if c.type.kind in _PARTS)


def object_of(fields: Mapping[str, str], parts: frozenset[str]) -> bytes:
    """An object with these fields."""
    found = (f"{json.dumps(k)}: {v if k in parts else json.dumps(v)}" for k, v in fields.items())
    return f"{{{', '.join(found)}}}".encode("utf-8", "surrogatepass")


def fields_of(value: bytes) -> dict[str, str | None]:
    """Of an object, in its order; None: NULL."""
    found = json.loads(value or b"{}", parse_float=str)
    return {k: v if v is None or isinstance(v, str) else json.dumps(v, ensure_ascii=False) for k, v in found.items()}
