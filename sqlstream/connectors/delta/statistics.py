"""What Delta's log says of a file, so that readers can leave it out: rows, and each column's least, greatest and NULLs."""

from __future__ import annotations

import datetime
import json
import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pyarrow as pa

COLUMNS = 32  # of the first ones, as all writers do; the table's 'delta.dataSkippingNumIndexedCols' says another number
PREFIX = 32  # characters of a string


def statistics(metadata: Any, columns: int = COLUMNS) -> str:
    """JSON, of Parquet's own statistics of a file. `columns`: of so many leaves (-1: all)."""
    schema = metadata.schema
    arrow = schema.to_arrow_schema()
    out: dict[str, Any] = {"numRecords": metadata.num_rows, "minValues": {}, "maxValues": {}, "nullCount": {}}
    for i in range(len(schema) if columns < 0 else min(columns, len(schema))):
        leaf = schema.column(i)
        if leaf.max_repetition_level:  # of a list or a map
            continue
        path = leaf.path.split(".")
        parts = [metadata.row_group(g).column(i).statistics for g in range(metadata.num_row_groups)]
        if any(p is None or not p.has_null_count for p in parts):
            continue
        _put(out["nullCount"], path, sum(p.null_count for p in parts))
        found = [p for p in parts if p.has_min_max]
        t = _type(arrow, path)
        if t is None or len(found) < sum(p.num_values > 0 for p in parts) or not found:
            continue
        low, high = min(p.min for p in found), max(p.max for p in found)
        if pa.types.is_string(t):
            _put(out["minValues"], path, low[:PREFIX])
            if len(high) <= PREFIX:  # a prefix of it is less
                _put(out["maxValues"], path, high)
        elif (write := _writer(t)) is not None:
            _put(out["minValues"], path, write(low, -math.inf))
            _put(out["maxValues"], path, write(high, math.inf))
    return json.dumps(out, ensure_ascii=False, allow_nan=False)


def _put(into: dict[str, Any], path: list[str], value: Any) -> None:
    for name in path[:-1]:
        into = into.setdefault(name, {})
    into[path[-1]] = value


def _type(schema: pa.Schema, path: list[str]) -> pa.DataType | None:
    """None where a name has a dot in it, and the path does not say where."""
    at: Any = schema
    for name in path:
        try:
            at = at.field(name).type
        except (KeyError, AttributeError):
            return None
    return at


def _writer(t: pa.DataType) -> Callable[[Any, float], Any] | None:
    """How a bound is written; None: it is not. Of numbers with fractions in binary, NaN is no part of Parquet's statistics, and is
    more than all others to Delta."""
    if pa.types.is_integer(t):
        return lambda v, towards: v
    if pa.types.is_decimal(t):
        return _decimal
    if pa.types.is_date(t):
        return lambda v, towards: v.isoformat()
    if pa.types.is_timestamp(t):
        return _local if t.tz is None else _instant
    return None


def _decimal(v: Decimal, towards: float) -> float:
    """A number of JSON that is not on the wrong side of it."""
    near = float(v)
    wrong = Decimal(near) > v if towards < 0 else Decimal(near) < v
    return math.nextafter(near, towards) if wrong else near


def _local(v: datetime.datetime, towards: float) -> str:
    return v.replace(tzinfo=None).isoformat(timespec="microseconds")


def _instant(v: datetime.datetime, towards: float) -> str:
    return v.astimezone(datetime.UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
