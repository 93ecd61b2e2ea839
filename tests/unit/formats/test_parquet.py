"""Parquet files: columns by name, types that fit and that do not, resumption."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from connector_cases import file_table, read, read_from, relation, schema

from sqlstream.connectors.base import ScanColumn, ScanRequest
from sqlstream.connectors.file_reader import BATCH, FileReader
from sqlstream.errors import DataError
from sqlstream.types import (
    BIGINT,
    BYTES_TYPE,
    DOUBLE,
    INT,
    STRING,
    Type,
    array,
    decimal,
    map_of,
    row,
    timestamp,
    timestamp_ltz,
)

UTC = dt.UTC


@pytest.mark.parametrize(
    ("t", "values", "expected"),
    [
        (INT, pa.array([1, None], pa.int64()), [1, None]),
        (BIGINT, pa.array([1], pa.uint8()), [1]),
        (DOUBLE, pa.array([0.5], pa.float32()), [0.5]),
        (decimal(10, 3), pa.array([Decimal("1.50")]), [Decimal("1.500")]),
        (decimal(10, 3), pa.array([2]), [Decimal("2.000")]),
        (STRING, pa.array(["x"]).dictionary_encode(), ["x"]),
        (BYTES_TYPE, pa.array([b"x"]), [b"x"]),
        (timestamp(3), pa.array([1_999_999], pa.timestamp("us")), [dt.datetime(1970, 1, 1, 0, 0, 1, 999000)]),
        (timestamp(3), pa.array([-1], pa.timestamp("ns")), [dt.datetime(1969, 12, 31, 23, 59, 59, 999000)]),
        (timestamp_ltz(6), pa.array([1], pa.timestamp("us")), [dt.datetime(1970, 1, 1, 0, 0, 0, 1, UTC)]),
        (timestamp_ltz(3), pa.array([1], pa.timestamp("us", "UTC")), [dt.datetime(1970, 1, 1, tzinfo=UTC)]),
        (array(INT), pa.array([[1, None], None]), [[1, None], None]),
        (map_of(STRING, INT), pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())), [[("k", 1)]]),
        (row(("y", STRING), ("z", INT)), pa.array([{"x": 1, "y": "q"}, None]), [{"f0": "q", "f1": None}, None]),
    ],
)
def test_types(t: Type, values: pa.Array, expected: list[Any], tmp_path: Path) -> None:
    path = tmp_path / "f.parquet"
    pq.write_table(pa.table({"v": values}), path)
    tab = file_table(path, schema(("v", t)), format="parquet")
    assert read(tab)[0] == relation(tab) == [(v,) for v in expected]


@pytest.mark.parametrize(
    ("t", "values"),
    [
        (BIGINT, pa.array([1.5])),
        (INT, pa.array([2**40])),
        (INT, pa.array(["1"])),
        (STRING, pa.array([1])),
        (decimal(5, 1), pa.array([Decimal("1.55")])),
        (timestamp(3), pa.array([1], pa.timestamp("us", "UTC"))),
        (INT.null(False), pa.array([1, None])),
    ],
)
def test_types_that_do_not_fit(t: Type, values: pa.Array, tmp_path: Path) -> None:
    path = tmp_path / "f.parquet"
    pq.write_table(pa.table({"v": values}), path)
    with pytest.raises(DataError):
        read(file_table(path, schema(("v", t)), format="parquet"))


def test_missing_columns_and_names_by_case(tmp_path: Path) -> None:
    path = tmp_path / "f.parquet"
    pq.write_table(pa.table({"a": [1], "A": ["q"]}), path)
    tab = file_table(path, schema(("A", STRING), ("a", INT), ("b", INT)), format="parquet")
    assert read(tab)[0] == [("q", 1, None)]


def test_nested_leaves_derived_and_resumption(tmp_path: Path) -> None:
    path = tmp_path / "f.parquet"
    data = pa.table({"r": [{"x": i, "y": "q"} for i in range(1000)]})
    pq.write_table(data, path, row_group_size=100)
    tab = file_table(path, schema(("r", row(("x", BIGINT), ("y", STRING)))), format="parquet")
    request = ScanRequest((ScanColumn(("r", "x"), BIGINT),), (("d", "c0 + 1"),))
    rows = [(i, i + 1) for i in range(1000)]
    assert read(tab, request)[0] == relation(tab, request) == rows
    for n in (0, 1, 99, 100, 555, 1000):
        assert read_from(tab, {"row": n}, request) == rows[n:]


def test_long_strings_come_in_smaller_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DuckDB gives up when the strings of a batch have more than 2 GiB; here after 500 rows."""
    path, sizes, statement = tmp_path / "f.parquet", list[int](), FileReader._statement
    pq.write_table(pa.table({"a": list(range(1000))}), path, row_group_size=100)

    def limited(self: FileReader, row: int, rows: int) -> Iterator[pa.RecordBatch]:
        sizes.append(rows)
        for batch in statement(self, row, 100):
            yield batch
            if rows > 2048 and batch.column(0)[-1].as_py() == 499:
                raise duckdb.InvalidInputException(
                    "Arrow Appender: The maximum total string size for regular string buffers is 2147483647 but …"
                )

    monkeypatch.setattr(FileReader, "_statement", limited)
    assert read(file_table(path, schema(("a", INT)), format="parquet"))[0] == [(i,) for i in range(1000)]
    assert sizes == [BATCH, 2048]


def test_not_a_parquet_file(tmp_path: Path) -> None:
    path = tmp_path / "f.parquet"
    path.write_text("hello")
    with pytest.raises(DataError, match="f.parquet"):
        read(file_table(path, schema(("a", INT)), format="parquet"))
