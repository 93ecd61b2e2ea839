"""Files that a filter leaves nothing of, told by what the log says of their columns: they are not even opened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from sqlstream.contracts import ScanRequest
from sqlstream.formats.readers import METADATA
from sqlstream.formats.stretches import Bounds, Judged, judged
from sqlstream.types import Type


@dataclass(frozen=True)
class Known:
    """Of a column of some files: its least and greatest values (None: not known), and how many NULLs it has in each."""

    least: pa.Array
    greatest: pa.Array
    nulls: pa.Array


def judge(request: ScanRequest, known: Mapping[str, Known], constants: Sequence[Mapping[str, str]]) -> list[Judged]:
    """Each of the files. `known`: by the names of columns; `constants`: of each file, SQL of columns that have one value in it."""
    skip = request.skip
    files = len(constants)
    if skip is None or not files:
        return [Judged()] * files
    bounds, arrays = dict[int, Bounds](), dict[str, pa.Array]()
    for i in skip.columns:
        c = request.columns[i]
        kind = c.type.duckdb()
        if c.path[0] == METADATA:
            if any(c.path[1] not in k for k in constants):
                continue
            by_file = " ".join(f"WHEN {n} THEN {k[c.path[1]]}" for n, k in enumerate(constants))
            bounds[i] = Bounds.constant(f"(CASE file {by_file} END)")
        elif len(c.path) == 1 and (k := known.get(c.path[0])) is not None and _comparable(c.type):
            arrays |= {f"least{i}": k.least, f"greatest{i}": k.greatest, f"nulls{i}": k.nulls}
            low, high = f"CAST(least{i} AS {kind})", f"CAST(greatest{i} AS {kind})"
            bounds[i] = Bounds(
                low, high, f"(nulls{i} IS NULL OR nulls{i} > 0)", f"(least{i} IS NULL OR greatest{i} IS NULL)"
            )
    if not bounds:
        return [Judged()] * files
    given = pa.RecordBatch.from_arrays(
        [pa.array(range(files), pa.int64()), *arrays.values()], names=["file", *arrays]
    )  # fmt: skip
    return judged(request, skip, bounds, given)


def _comparable(t: Type) -> bool:
    """Whether bounds that are cut, or of another precision there, are bounds still."""
    return t.is_integer or t.is_string or t.kind in ("DATE", "DECIMAL")


def looked_at(request: ScanRequest) -> set[str]:
    """The columns whose bounds matter."""
    return set() if request.skip is None else {request.columns[i].path[0] for i in request.skip.columns}


def sql_constant(value: Any, t: Type) -> str:
    """SQL of a value that all rows of a file have."""
    from sqlstream.formats.conversion import literal

    if value is None:
        return f"CAST(NULL AS {t.duckdb()})"
    return f"CAST({literal(str(value))} AS {t.duckdb()})"
