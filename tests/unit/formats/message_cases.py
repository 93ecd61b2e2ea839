"""Messages of a format whose records are no lines, decoded for tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlstream.contracts import ScanColumn
from sqlstream.formats.base import Decoder
from sqlstream.formats.messages import Texts
from sqlstream.types import Type


def rows_of(
    decoder: Decoder, wanted: Sequence[ScanColumn], messages: Sequence[bytes | None]
) -> tuple[list[tuple[Any, ...]], dict[int, str]]:
    """The rows, and why the others are malformed, by their numbers."""
    found = decoder.messages()
    assert found is not None
    records = found(Texts.of(messages))
    records.records.validate(full=True)
    rows = [
        tuple(plain(v, c.type) for c, v in zip(wanted, r.values(), strict=True)) for r in records.records.to_pylist()
    ]
    return rows, {r.message: r.reason for r in records.refused}


def plain(value: Any, t: Type) -> Any:
    """Without the names of fields: a ROW is a tuple, a MAP a dictionary."""
    if value is None:
        return None
    if t.kind == "ROW":
        return tuple(plain(v, f.type) for f, v in zip(t.fields, value.values(), strict=True))
    if t.kind == "ARRAY":
        return [plain(v, t.element) for v in value]
    if t.kind == "MAP":
        return {plain(k, t.fields[0].type): plain(v, t.element) for k, v in value}
    return value
