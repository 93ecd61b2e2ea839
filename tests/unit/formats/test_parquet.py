"""Parquet files: columns by name, types that fit and that do not, resumption."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from connector_cases import file_table, read, read_from, relation, schema

from sqlstream.connectors.file_reader import BATCH, FileReader
from sqlstream.contracts import ScanColumn, ScanRequest
from sqlstream.errors import DataError
from sqlstream.types import (
    BIGINT,
    BYTES_TYPE,
    DATE,
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
TIME3 = Type("TIME", 3)


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
        (
            timestamp_ltz(3),
            pa.array([1_999_999], pa.timestamp("ns", "UTC")),
            [dt.datetime(1970, 1, 1, 0, 0, 0, 1000, UTC)],
        ),
        (
            timestamp_ltz(6),
            pa.array([-1], pa.timestamp("ns", "Asia/Tokyo")),
            [dt.datetime(1969, 12, 31, 23, 59, 59, 999999, UTC)],
        ),
        (timestamp_ltz(3), pa.array([1], pa.timestamp("s", "UTC")), [dt.datetime(1970, 1, 1, 0, 0, 1, 0, UTC)]),
        (TIME3, pa.array([3_999_999_999], pa.time64("ns")), [dt.time(0, 0, 3, 999000)]),
        (TIME3, pa.array([1_999], pa.time64("us")), [dt.time(0, 0, 0, 1000)]),
        (TIME3, pa.array([1_999], pa.time32("ms")), [dt.time(0, 0, 1, 999000)]),
        (INT, pa.nulls(2), [None, None]),
        (timestamp(3), pa.nulls(1), [None]),
        (array(INT), pa.array([[None]], pa.list_(pa.null())), [[None]]),
        (INT, pa.array([5, None]).dictionary_encode(), [5, None]),
        (BIGINT, pa.array([2**63 - 1], pa.uint64()), [2**63 - 1]),
        (decimal(20, 0), pa.array([2**64 - 1], pa.uint64()), [Decimal(2**64 - 1)]),
        (DOUBLE, pa.array([np.float16(1.5)], pa.float16()), [1.5]),
        (STRING, pa.array(["ü"], pa.large_string()), ["ü"]),
        (STRING, pa.array(["ü".encode()]), ["ü"]),
        (BYTES_TYPE, pa.array(["ü"]), ["ü".encode()]),
        (BYTES_TYPE, pa.array([b"xy"], pa.binary(2)), [b"xy"]),
        (BYTES_TYPE, pa.array([b"xy"], pa.large_binary()), [b"xy"]),
        (decimal(38, 10), pa.array([Decimal("1.5")], pa.decimal128(5, 2)), [Decimal("1.5000000000")]),
        (array(BIGINT), pa.array([[1, 2]], pa.list_(pa.int32(), 2)), [[1, 2]]),
        (array(BIGINT), pa.array([[1, 2]], pa.large_list(pa.int32())), [[1, 2]]),
        (
            map_of(STRING, array(row(("x", INT)))),
            pa.array([[("k", [{"x": 1}])]], pa.map_(pa.string(), pa.list_(pa.struct([("x", pa.int64())])))),
            [[("k", [{"f0": 1}])]],
        ),
        (DATE, pa.array([86_400_000], pa.date64()), [dt.date(1970, 1, 2)]),
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
        (BIGINT, pa.array([2**63], pa.uint64())),
        (DOUBLE, pa.array([Decimal("1.5")], pa.decimal256(50, 2))),
        (decimal(38, 2), pa.array([Decimal("1.5")], pa.decimal256(50, 2))),
        (STRING, pa.array([b"\xff"])),
    ],
)
def test_types_that_do_not_fit(t: Type, values: pa.Array, tmp_path: Path) -> None:
    path = tmp_path / "f.parquet"
    pq.write_table(pa.table({"v": values}), path)
    with pytest.raises(DataError, match="column v"):
        read(file_table(path, schema(("v", t)), format="parquet"))


def test_null_in_a_column_that_is_not_null(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1, 2], "b": [1, None]}), tmp_path / "f.parquet")
    tab = file_table(tmp_path / "f.parquet", schema(("a", INT), ("b", INT.null(False))), format="parquet")
    with pytest.raises(DataError, match=r"f.parquet: column b: its column is NOT NULL: NULL"):
        read(tab)


def test_int96(tmp_path: Path) -> None:
    """As Spark and Hive write timestamps."""
    stamps = pa.array([-62_135_596_800_000_000 + 1, 0, 253_402_300_799_999_999], pa.timestamp("us"))
    pq.write_table(pa.table({"v": stamps}), tmp_path / "f.parquet", use_deprecated_int96_timestamps=True)
    for t, zone in ((timestamp(6), None), (timestamp_ltz(6), UTC)):
        tab = file_table(tmp_path / "f.parquet", schema(("v", t)), format="parquet")
        expected = [(dt.datetime(1, 1, 1, 0, 0, 0, 1, zone),), (dt.datetime(1970, 1, 1, tzinfo=zone),),
                    (dt.datetime(9999, 12, 31, 23, 59, 59, 999999, zone),)]  # fmt: skip
        assert read(tab)[0] == relation(tab) == expected


def test_files_of_other_types_side_by_side(tmp_path: Path) -> None:
    """Each file's types are its own, and rows come in the order of the files."""
    for i, values in enumerate([pa.array([1], pa.int32()), pa.array([2], pa.uint8()), pa.nulls(1), pa.array([4])]):
        pq.write_table(pa.table({"A": ["q"], "a": values} if i % 2 else {"a": values}), tmp_path / f"{i}.parquet")
    tab = file_table(tmp_path, schema(("a", BIGINT), ("A", STRING)), format="parquet")
    assert read(tab)[0] == relation(tab) == [(1, None), (2, "q"), (None, None), (4, "q")]


def test_columns_with_the_names_of_readers(tmp_path: Path) -> None:
    names = ("file_row_number", "filename", "_file", "one")
    pq.write_table(pa.table({n: [1, 2, 3] for n in names}), tmp_path / "f.parquet")
    tab = file_table(tmp_path / "f.parquet", schema(*((n, INT) for n in names)), format="parquet")
    assert read(tab)[0] == relation(tab) == [(i,) * 4 for i in (1, 2, 3)]
    assert read_from(tab, {"row": 2}) == [(3,) * 4]


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

    def limited(self: FileReader, row: int, end: int | None, rows: int) -> Iterator[pa.RecordBatch]:
        sizes.append(rows)
        for batch in statement(self, row, end, 100):
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
