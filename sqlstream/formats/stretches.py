"""Stretches of a file's rows, and which of them a scan has to read: its `Skip` asked of what is known of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from sqlstream.batches import NO_WATERMARK
from sqlstream.contracts import ScanRequest, Skip
from sqlstream.duck import Given
from sqlstream.formats.readers import METADATA


@dataclass(frozen=True)
class Stretch:
    """Rows `first` to `end` of a file; to its end, if that is None. Those that need not be read: their greatest watermark (µs),
    and how many row groups they are."""

    first: int = 0
    end: int | None = None
    skipped: bool = False
    mark: int = NO_WATERMARK
    row_groups: int = 1


@dataclass(frozen=True)
class Bounds:
    """SQL of what is known of a column in a stretch, as `contracts.Skip` has it."""

    least: str
    greatest: str
    may_be_null: str = "TRUE"
    unknown: str = "FALSE"

    @staticmethod
    def constant(sql: str) -> Bounds:
        """Of a column that has one value in all rows."""
        return Bounds(sql, sql, f"({sql}) IS NULL")

    @staticmethod
    def none(sql_type: str) -> Bounds:
        """Where nothing is known."""
        return Bounds(f"CAST(NULL AS {sql_type})", f"CAST(NULL AS {sql_type})", unknown="TRUE")


def constant_bounds(request: ScanRequest, skip: Skip, constants: Mapping[str, str]) -> dict[int, Bounds]:
    """What is known of the columns of a file that are the same in all of its rows."""
    paths = {i: request.columns[i].path for i in skip.columns}
    return {i: Bounds.constant(constants[p[1]]) for i, p in paths.items() if p[0] == METADATA}


@dataclass(frozen=True)
class Judged:
    """Of a stretch: whether a row of it may pass the filter; its greatest watermark, None where that is not known."""

    wanted: bool = True
    mark: int | None = None

    @property
    def skipped(self) -> bool:
        """It need not be read."""
        return not self.wanted and self.mark is not None


def judged(request: ScanRequest, skip: Skip, known: Mapping[int, Bounds], given: pa.RecordBatch) -> list[Judged]:
    """For each row of `given`, which `known` is SQL over."""
    # here: it brings fsspec along, which a query without tables does not need
    from sqlstream.formats.cursor import scan_cursor

    items = []
    for i in skip.columns:
        b = known.get(i) or Bounds.none(request.columns[i].type.duckdb())
        items += [f"{b.least} AS l{i}", f"{b.greatest} AS h{i}", f"{b.may_be_null} AS n{i}", f"{b.unknown} AS u{i}"]
    asked = f"SELECT {skip.wanted}, {skip.mark}, {skip.unmarked} FROM (SELECT {', '.join(items)} FROM given)"
    try:
        found = Given(scan_cursor(request), "given").run(asked, given)
    except duckdb.Error:  # the filter fails for a bound, which says nothing of the rows
        return [Judged()] * given.num_rows
    return [
        Judged(w is not False, None if u is not False else NO_WATERMARK if m is None else int(m))
        for w, m, u in zip(*(c.to_pylist() for c in found.columns), strict=True)
    ]


def skips_files(request: ScanRequest) -> bool:
    """Whether there may be files that are not wanted."""
    skip = request.skip
    return skip is not None and any(request.columns[i].path[0] == METADATA for i in skip.columns)


def is_wanted(request: ScanRequest, constants: Mapping[str, str]) -> bool:
    """Whether any row of a file may be, by what is the same in all of them."""
    skip = request.skip
    if skip is None or not skips_files(request):
        return True
    known = constant_bounds(request, skip, constants)
    one = pa.RecordBatch.from_arrays([pa.array([0])], names=["one"])
    return not judged(request, skip, known, one)[0].skipped
