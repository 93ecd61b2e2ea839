"""What the end of a Parquet file says of its row groups: how many rows, and the bounds of their columns.

Bounds are made of statistics as DuckDB makes rows of the file, so they are values of the table's types. Where there are none, or such as
say nothing sure (times of 96 bits, unsigned numbers, NaN), they are not known. Equality is asked of Bloom filters too.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

Leaves = dict[str, int]  # a column's path with points -> its number in the file
_BITS = {"tinyint": 8, "smallint": 16, "integer": 32, "bigint": 64}


def leaves(metadata: Any) -> Leaves:
    """The columns that values lie in; not those of which two are called alike."""
    paths = [metadata.schema.column(i).path for i in range(len(metadata.schema))]
    return {p: i for i, p in enumerate(paths) if paths.count(p) == 1}


def bounds(metadata: Any, leaf: int, kind: str) -> pa.RecordBatch | None:
    """For each row group of a column: least, greatest, may_be_null and unknown; None where this kind of DuckDB's has none."""
    column = metadata.schema.column(leaf)
    made = _made(column, kind)
    if made is None:
        return None
    of, arrow = made
    least, greatest, nulls, unknown = [], [], [], []
    for g in range(metadata.num_row_groups):
        chunk = metadata.row_group(g).column(leaf)
        s = chunk.statistics if chunk.is_stats_set else None
        none = s is not None and s.has_null_count and s.null_count == chunk.num_values
        low, high = (of(s, "min"), of(s, "max")) if s is not None and s.has_min_max else (None, None)
        least.append(low if high is not None else None)
        greatest.append(high if low is not None else None)
        nulls.append(s is None or not s.has_null_count or s.null_count > 0)
        unknown.append(not none and (low is None or high is None))
    return pa.RecordBatch.from_arrays(
        [arrow(least), arrow(greatest), pa.array(nulls), pa.array(unknown)],
        names=["least", "greatest", "may_be_null", "unknown"],
    )


_Value = Callable[[Any, str], Any]
_Array = Callable[[list[Any]], pa.Array]


def _made(column: Any, kind: str) -> tuple[_Value, _Array] | None:
    """How a bound is read of statistics, and an array of a type that DuckDB casts to the column's is made of them."""
    logical = json.loads(column.logical_type.to_json())
    physical = column.physical_type
    if kind in _BITS and logical.get("isSigned", True) and physical in ("INT32", "INT64"):
        return _plain, lambda values: pa.array(values, pa.int64())
    if kind == "date" and physical == "INT32":
        return _raw, lambda values: pa.array(values, pa.int32()).view(pa.date32())
    if kind.startswith("timestamp") and physical == "INT64" and "timeUnit" in logical:
        unit = {"milliseconds": "ms", "microseconds": "us", "nanoseconds": "ns"}[logical["timeUnit"]]
        zone = "UTC" if logical["isAdjustedToUTC"] else None
        return _raw, lambda values: pa.array(values, pa.int64()).view(pa.timestamp(unit, zone))
    if kind == "decimal" and "precision" in logical:
        return _plain, lambda values: pa.array(values, pa.decimal128(logical["precision"], logical["scale"]))
    if kind in ("varchar", "blob") and physical == "BYTE_ARRAY" and logical["Type"] in ("String", "None"):
        return (_text, pa.array) if kind == "varchar" else (_raw, lambda values: pa.array(values, pa.binary()))
    if kind == "boolean":
        return _plain, lambda values: pa.array(values, pa.bool_())
    if kind in ("float", "double") and physical in ("FLOAT", "DOUBLE"):
        return _number, lambda values: pa.array(values, pa.float64())
    return None


def _plain(statistics: Any, end: str) -> Any:
    return getattr(statistics, end)


def _raw(statistics: Any, end: str) -> Any:
    return getattr(statistics, f"{end}_raw")


def _number(statistics: Any, end: str) -> float | None:
    value = float(getattr(statistics, end))
    return None if math.isnan(value) else value


def _text(statistics: Any, end: str) -> str | None:
    raw = getattr(statistics, f"{end}_raw")
    try:
        return raw.decode() if isinstance(raw, bytes) else str(raw)
    except UnicodeDecodeError:  # cut short within a character
        return None


def ends(metadata: Any) -> pa.Array:
    """The row behind each row group."""
    return pa.array(np.cumsum([metadata.row_group(g).num_rows for g in range(metadata.num_row_groups)], dtype=np.int64))
