"""Columns of a table by the names that a file has for them.

A table of a lake may rename a column, or drop one and have a new one of the same name, and its files stay as they are: they know
columns by ids, or by names that never change.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from sqlstream.contracts import ScanColumn, ScanRequest
from sqlstream.formats.readers import METADATA
from sqlstream.types import Type

ABSENT = "sqlstream: absent"  # no file has a column of that name, so it is NULL


@dataclass(frozen=True)
class Names:
    """The names in a file, by those in the table: of a column, and of what is in it ("element", "key", "value" of what is no ROW).
    A name that is not there is that of no column of the file."""

    inner: Mapping[str, tuple[str, Names]] = field(default_factory=dict)


def physical(request: ScanRequest, names: Names) -> ScanRequest:
    """The request by the names in the file."""
    return replace(request, columns=tuple(_column(c, names) for c in request.columns))


def _column(c: ScanColumn, names: Names) -> ScanColumn:
    if c.path[0] == METADATA:
        return c
    path = []
    at: Names | None = names
    for name in c.path:
        found = None if at is None else at.inner.get(name)
        path.append(ABSENT if found is None else found[0])
        at = None if found is None else found[1]
    return ScanColumn(tuple(path), c.type if at is None else _type(c.type, at))


def _type(t: Type, names: Names) -> Type:
    if t.kind == "ROW":
        fields = []
        for f in t.fields:
            name, inner = names.inner.get(f.name, (ABSENT, Names()))
            fields.append(replace(f, name=name, type=_type(f.type, inner)))
        return replace(t, fields=tuple(fields))
    if t.kind in ("ARRAY", "MAP"):
        keys = ("element",) if t.kind == "ARRAY" else ("key", "value")
        inside = [names.inner.get(k, ("", Names()))[1] for k in keys]
        return replace(
            t, fields=tuple(replace(f, type=_type(f.type, n)) for f, n in zip(t.fields, inside, strict=True))
        )
    return t
