"""Derived columns are evaluated in the request's zone, whatever reads the file and by which way."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from connector_cases import file_table, read, relation, schema, source_of

from sqlstream.connectors.growing import GrowingReader
from sqlstream.contracts import ScanColumn, ScanRequest, TableContext
from sqlstream.types import timestamp_ltz

COLUMNS = schema(("ts", timestamp_ltz(3)))
NOON = datetime(2024, 7, 1, 12, tzinfo=UTC)
LOCAL = {"America/New_York": 8, "UTC": 12, "Asia/Tokyo": 21}


def _json(path: Path) -> None:
    path.write_text('{"ts": "2024-07-01 12:00:00Z"}\n')


def _marked_json(path: Path) -> None:
    path.write_bytes(b'\xef\xbb\xbf{"ts": "2024-07-01 12:00:00Z"}\n')


def _csv(path: Path) -> None:
    path.write_text("2024-07-01 12:00:00Z\n")


def _debezium(path: Path) -> None:
    path.write_text('{"before": null, "after": {"ts": "2024-07-01 12:00:00Z"}, "op": "c"}\n')


def _parquet(path: Path) -> None:
    pq.write_table(pa.table({"ts": pa.array([NOON], pa.timestamp("us", "UTC"))}), path)


CASES: list[tuple[Any, dict[str, str]]] = [
    (_json, {"format": "json"}),
    (_marked_json, {"format": "json"}),  # decoded in blocks
    (_csv, {"format": "csv"}),
    (_csv, {"format": "csv", "csv_allow__comments": "true"}),  # decoded in blocks
    (_debezium, {"format": "debezium-json"}),
    (_parquet, {"format": "parquet"}),
]


def _table(tmp_path: Path, case: tuple[Any, dict[str, str]], **more: str) -> TableContext:
    write, options = case
    write(tmp_path / "f")
    return file_table(tmp_path / "f", COLUMNS, **options, **more)


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c[0].__name__}{len(c[1])}")
@pytest.mark.parametrize("zone", LOCAL)
def test_readers(case: tuple[Any, dict[str, str]], zone: str, tmp_path: Path) -> None:
    tab = _table(tmp_path, case)
    request = ScanRequest((ScanColumn(("ts",), timestamp_ltz(3)),), (("h", "hour(CAST(c0 AS TIMESTAMP))"),), zone)
    assert [row[:2] for row in read(tab, request)[0]] == [(NOON, LOCAL[zone])]
    (plain,) = relation(tab, ScanRequest(request.columns))  # batch: the connection has the session's zone
    assert plain[0] == NOON


@pytest.mark.parametrize("case", CASES[:5], ids=lambda c: f"{c[0].__name__}{len(c[1])}")
@pytest.mark.parametrize("zone", LOCAL)
def test_growing(case: tuple[Any, dict[str, str]], zone: str, tmp_path: Path) -> None:
    source = source_of(_table(tmp_path, case, source_monitor__interval="1 s"))
    request = ScanRequest((ScanColumn(("ts",), timestamp_ltz(3)),), (("h", "hour(CAST(c0 AS TIMESTAMP))"),), zone)
    reader = source.reader(source.splits()[0], None, request)
    assert isinstance(reader, GrowingReader)
    got = reader.poll(10)
    assert got is not None and got.batch.column("h").to_pylist() == [LOCAL[zone]]
    reader.close()
