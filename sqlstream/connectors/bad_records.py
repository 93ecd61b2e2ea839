"""Malformed records as columns; and those that a batch query has left out of a table, as a table that is read behind it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import duckdb
import pyarrow as pa

from sqlstream.contracts import BadRecord, ScanRequest, Source

_names = itertools.count()


def columns_of(table: str, records: Sequence[BadRecord]) -> dict[str, pa.Array]:
    """What is known of malformed records of a table, by the names of their columns."""
    return {
        "bad_table": pa.array([table] * len(records), pa.string()),
        "bad_file": pa.array([b.file for b in records], pa.string()),
        "bad_line": pa.array([b.line for b in records], pa.int64()),
        "bad_reason": pa.array([b.reason for b in records], pa.string()),
        "bad_record": pa.array([b.record.decode("utf-8", "backslashreplace") for b in records], pa.string()),
        "bad_bytes": pa.array([b.record for b in records], pa.binary()),
    }


class FoundBad(Source):
    """`Source.found_bad` of `source`, which is `table`."""

    def __init__(self, table: str, source: Source) -> None:
        self._table, self._source = table, source

    def relation(self, connection: duckdb.DuckDBPyConnection, request: ScanRequest) -> str:
        found = [b for _, b in sorted(self._source.found_bad.items(), key=lambda kept: kept[0])]
        name = f"_bad_{next(_names)}"
        connection.register(name, pa.table(columns_of(self._table, found)))
        chosen = ", ".join(f"{c.path[0]} AS c{i}" for i, c in enumerate(request.columns))
        return f"(SELECT {chosen} FROM {name})"
