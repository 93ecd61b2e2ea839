"""Values in a form in which equal ones are equal, changelogs folded, results compared as multisets.

Numbers compare as decimals (1, 1.0 and 1.00 are equal), doubles to 1e-9 relative (FLOAT to 1e-6), timestamps as
instants, maps without order, rows by position. Row kinds are checked on the way: what is taken back must be there.
"""

from __future__ import annotations

import base64
import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa

from sqlstream.batches import Kind
from sqlstream.types import Schema, Type

Row = tuple[Any, ...]
TRUE, FALSE = ("BOOLEAN", True), ("BOOLEAN", False)  # apart from 1 and 0


def value(v: Any, t: Type) -> Any:
    """`v` (Python's, or as written in JSON) as a hashable value of type `t`."""
    if v is None:
        return None
    kind = t.kind
    if kind == "BOOLEAN":
        assert isinstance(v, bool), f"{v!r} is no BOOLEAN"
        return TRUE if v else FALSE
    if kind in ("FLOAT", "DOUBLE"):
        number = float(v)
        return "NaN" if math.isnan(number) else number + 0.0
    if t.is_numeric:
        assert not isinstance(v, (bool, str)), f"{v!r} is no {t.text()}"
        number = v if isinstance(v, Decimal) else Decimal(repr(v))
        return number.normalize() if number else Decimal(0)
    if kind in ("TIMESTAMP", "TIMESTAMP_LTZ"):
        stamp = datetime.fromisoformat(v) if isinstance(v, str) else v
        return stamp if stamp.tzinfo is None else stamp.astimezone(UTC).replace(tzinfo=None)
    if kind == "DATE":
        return date.fromisoformat(v) if isinstance(v, str) else v
    if kind == "TIME":
        return time.fromisoformat(v) if isinstance(v, str) else v
    if kind in ("BINARY", "VARBINARY"):
        return v if isinstance(v, bytes) else base64.b64decode(v)
    if kind == "ARRAY":
        return tuple(value(x, t.element) for x in v)
    if kind in ("MAP", "MULTISET"):
        pairs = v.items() if isinstance(v, dict) else v
        of = (t.fields[0].type, t.fields[1].type if kind == "MAP" else Type("INT"))
        return tuple(sorted(((_key(k, of[0]), value(x, of[1])) for k, x in pairs), key=repr))
    if kind == "ROW":
        parts = v.values() if isinstance(v, dict) else v
        return tuple(value(x, f.type) for x, f in zip(parts, t.fields, strict=True))
    return v


def _key(k: Any, t: Type) -> Any:
    """A map's key: JSON has it as text."""
    if isinstance(k, str) and t.kind == "BOOLEAN":
        k = {"true": True, "false": False}[k]
    return value(Decimal(k) if isinstance(k, str) and t.is_numeric else k, t)


def expected_row(text: str, schema: Schema) -> Row:
    """A row as written in a test: a JSON array."""
    given = json.loads(text, parse_float=Decimal, parse_int=Decimal)
    assert isinstance(given, list), f"a row is a JSON array: {text}"
    assert len(given) == len(schema), f"{len(given)} values for {len(schema)} columns: {text}"
    return tuple(value(v, c.type) for v, c in zip(given, schema, strict=True))


def rows_of(batch: pa.RecordBatch, schema: Schema) -> list[Row]:
    columns = [batch.column(i).to_pylist() for i in range(len(schema))]
    return [tuple(value(v, c.type) for v, c in zip(r, schema, strict=True)) for r in zip(*columns, strict=True)]


class Fold:
    """The rows that a changelog leaves. `add` checks each change in order: nothing is taken back that is not there."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self.rows: Counter[Row] = Counter()
        self.changes = 0

    def add(self, batch: pa.RecordBatch, kinds: np.ndarray | None) -> None:
        self.apply(rows_of(batch, self.schema), None if kinds is None else [int(k) for k in kinds])

    def apply(self, rows: Sequence[Row], kinds: Sequence[int] | None) -> None:
        self.changes += len(rows)
        if kinds is None:
            self.rows.update(rows)
            return
        for i, (row, kind) in enumerate(zip(rows, kinds, strict=True)):
            if kind == Kind.UPDATE_BEFORE:
                assert i + 1 < len(kinds) and kinds[i + 1] == Kind.UPDATE_AFTER, f"-U without its +U: {shown(row)}"
            if kind == Kind.UPDATE_AFTER:
                assert i and kinds[i - 1] == Kind.UPDATE_BEFORE, f"+U without its -U: {shown(row)}"
            if kind in (Kind.INSERT, Kind.UPDATE_AFTER):
                self.rows[row] += 1
                continue
            assert self.rows[row] > 0, f"{Kind(kind).text} of a row that is not there: {shown(row)}"
            self.rows[row] -= 1
            if not self.rows[row]:
                del self.rows[row]


def difference(actual: Counter[Row], expected: Counter[Row], schema: Schema, limit: int = 6) -> str | None:
    """None when equal, else a text that says what is missing and what is extra."""
    if actual == expected:
        return None
    missing, extra = expected - actual, actual - expected
    floating = [i for i, c in enumerate(schema) if _floats(c.type)]
    if floating and _alike(missing, extra, floating, schema):
        return None
    lines = [f"{actual.total()} rows, expected {expected.total()}"]
    for title, part in (("missing", missing), ("extra", extra)):
        if part:
            lines.append(f"{title} ({part.total()}):")
            lines += [f"  {shown(r)}" for r in sorted(part.elements(), key=repr)[:limit]]
    return "\n".join(lines)


def _floats(t: Type) -> bool:
    return t.kind in ("FLOAT", "DOUBLE") or any(_floats(f.type) for f in t.fields)


def _alike(a: Counter[Row], b: Counter[Row], floating: list[int], schema: Schema) -> bool:
    """Whether rows differ in their doubles' last digits only: grouped by the rest, in the doubles' order."""

    def groups(rows: Counter[Row]) -> dict[Row, list[Row]]:
        out: dict[Row, list[Row]] = {}
        for r in rows.elements():
            rest = tuple(_rough(v) if i in floating else v for i, v in enumerate(r))
            out.setdefault(rest, []).append(tuple(r[i] for i in floating))
        return {k: sorted(v, key=_flat) for k, v in out.items()}

    x, y = groups(a), groups(b)
    tolerance = 1e-6 if any("FLOAT" in str(schema[i].type) for i in floating) else 1e-9
    return x.keys() == y.keys() and all(
        len(x[k]) == len(y[k])
        and all(
            math.isclose(p, q, rel_tol=tolerance, abs_tol=1e-12)
            for r, s in zip(x[k], y[k], strict=True)
            for p, q in zip(_flat(r), _flat(s), strict=True)
        )
        for k in x
    )


def _rough(v: Any) -> Any:
    """A value without its doubles."""
    if isinstance(v, tuple):
        return tuple(_rough(x) for x in v)
    return "double" if isinstance(v, float) else v


def _flat(v: Any) -> list[float]:
    if isinstance(v, tuple):
        return [y for x in v for y in _flat(x)]
    return [v] if isinstance(v, float) else []


def shown(row: Iterable[Any]) -> str:
    return "[" + ", ".join(_shown(v) for v in row) + "]"


def _shown(v: Any) -> str:
    if isinstance(v, tuple) and v in (TRUE, FALSE):
        return str(v[1]).lower()
    if isinstance(v, tuple):
        return shown(v)
    if isinstance(v, Decimal):
        return f"{v:f}"
    return "null" if v is None else f'"{v}"' if isinstance(v, (str, date, time)) else str(v)
