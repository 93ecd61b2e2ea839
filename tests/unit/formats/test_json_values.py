"""What a JSON value gives as a value of a type: the streaming reader, the batch relation, and what is malformed."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
from connector_cases import file_table, read, relation, schema, source_of, whole

from sqlstream.connectors.relation import first_error
from sqlstream.errors import DataError
from sqlstream.types import (
    BIGINT,
    BOOLEAN,
    BYTES_TYPE,
    DATE,
    DOUBLE,
    FLOAT,
    INT,
    SMALLINT,
    STRING,
    TIME,
    TINYINT,
    Type,
    array,
    decimal,
    map_of,
    row,
    timestamp,
    timestamp_ltz,
)

UTC = dt.UTC
BAD = object()  # a malformed record

VALUES: list[tuple[Type, str, Any]] = [
    (BIGINT, "12", 12),
    (BIGINT, "-0", 0),
    (BIGINT, "9223372036854775807", 2**63 - 1),
    (BIGINT, "9223372036854775808", BAD),
    (BIGINT, "1.7", BAD),
    (BIGINT, "1.0", 1),
    (BIGINT, "100.00", 100),
    (BIGINT, "1e3", 1000),
    (BIGINT, "1e30", BAD),
    (BIGINT, '"12"', 12),
    (BIGINT, '"1.7"', BAD),
    (BIGINT, '"abc"', BAD),
    (BIGINT, '""', BAD),
    (BIGINT, '" 12 "', 12),
    (BIGINT, '"+12"', 12),
    (BIGINT, '"1_000"', BAD),
    (BIGINT, '"0x1F"', BAD),
    (BIGINT, '"-"', BAD),
    (BIGINT, '"infinity"', BAD),
    (BIGINT, "true", BAD),
    (BIGINT, "[1]", BAD),
    (BIGINT, '{"x": 1}', BAD),
    (BIGINT, "null", None),
    (INT, "2147483648", BAD),
    (INT, "-2147483648", -(2**31)),
    (SMALLINT, "40000", BAD),
    (TINYINT, "127", 127),
    (TINYINT, "128", BAD),
    (DOUBLE, "1", 1.0),
    (DOUBLE, "0.1", 0.1),
    (DOUBLE, "1e400", BAD),
    (DOUBLE, "true", BAD),
    (DOUBLE, '"1.5"', 1.5),
    (DOUBLE, '"Infinity"', float("inf")),
    (DOUBLE, '"-Infinity"', float("-inf")),
    (DOUBLE, '"1_0.5"', BAD),
    (DOUBLE, '"inf"', BAD),
    (DOUBLE, '"nan"', BAD),
    (DOUBLE, '""', BAD),
    (DOUBLE, '"1e400"', BAD),
    (DOUBLE, '"x"', BAD),
    (decimal(10, 2), '"1_0.5"', BAD),
    (decimal(10, 2), '"1e2"', Decimal("100.00")),
    (decimal(10, 2), '"NaN"', BAD),
    (DATE, '"epoch"', BAD),
    (DATE, '"infinity"', BAD),
    (timestamp(3), '"epoch"', BAD),
    (timestamp(3), '"-infinity"', BAD),
    (FLOAT, "3.5e38", BAD),
    (FLOAT, "0.5", 0.5),
    (BOOLEAN, "true", True),
    (BOOLEAN, '"FALSE"', False),
    (BOOLEAN, "1", BAD),
    (BOOLEAN, '"x"', BAD),
    (BOOLEAN, "null", None),
    (STRING, '"a\\"\\u00e9\\n"', 'a"é\n'),
    (STRING, "12", "12"),
    (STRING, "true", "true"),
    (STRING, '{"x":1}', '{"x":1}'),
    (STRING, '""', ""),
    (decimal(10, 2), "1234.5", Decimal("1234.50")),
    (decimal(38, 18), "1234.5", Decimal("1234.5")),
    (decimal(5, 2), "0.125", Decimal("0.13")),
    (decimal(9, 9), "0.000075006", Decimal("0.000075006")),
    (decimal(9, 9), "75.006e-6", Decimal("0.000075006")),
    (decimal(9, 9), '"-75006E-9"', Decimal("-0.000075006")),
    (decimal(38, 38), "0.00000000000000000000000000000000000001", Decimal("1e-38")),
    (decimal(38, 0), "12.5e36", Decimal("12500000000000000000000000000000000000")),
    (decimal(5, 2), "1e-400", Decimal("0.00")),
    (decimal(5, 2), "1e400", BAD),
    (decimal(5, 2), "1234.5", BAD),
    (decimal(5, 2), "true", BAD),
    (decimal(5, 2), '"1.5"', Decimal("1.50")),
    (timestamp(3), '"2020-01-01 00:00:00.123"', dt.datetime(2020, 1, 1, 0, 0, 0, 123000)),
    (timestamp(3), '"2020-01-01 00:00:00.123999"', dt.datetime(2020, 1, 1, 0, 0, 0, 123000)),
    (timestamp(3), '"1950-01-01 00:00:00.1239"', dt.datetime(1950, 1, 1, 0, 0, 0, 123000)),
    (timestamp(3), '"2020-01-01 00:00:00"', dt.datetime(2020, 1, 1)),
    (timestamp(3), '"2020-01-01T00:00:00"', BAD),
    (timestamp(3), '"2020-01-01 00:00:00Z"', BAD),
    (timestamp(3), '"2020-01-01 00:00:00+02:00"', BAD),
    (timestamp(3), '"2020-01-01"', BAD),
    (timestamp(3), '"2020-02-30 00:00:00"', BAD),
    (timestamp(3), "1577836800000", BAD),
    (timestamp(0), '"2020-01-01 00:00:01.9"', dt.datetime(2020, 1, 1, 0, 0, 1)),
    (timestamp(1), '"1969-12-31 23:59:59.99"', dt.datetime(1969, 12, 31, 23, 59, 59, 900000)),
    (timestamp(6), '"2020-01-01 00:00:00.123456789"', dt.datetime(2020, 1, 1, 0, 0, 0, 123456)),
    (timestamp_ltz(3), '"2020-01-01 00:00:00.5Z"', dt.datetime(2020, 1, 1, 0, 0, 0, 500000, UTC)),
    (timestamp_ltz(3), '"2020-01-01 02:00:00+02:00"', dt.datetime(2020, 1, 1, tzinfo=UTC)),
    (timestamp_ltz(3), '"2020-01-01 00:00:00"', BAD),
    (DATE, '"2020-01-31"', dt.date(2020, 1, 31)),
    (DATE, '"2020-1-1"', BAD),
    (DATE, '"2020/01/01"', BAD),
    (TIME, '"12:13:14"', dt.time(12, 13, 14)),
    (TIME, '"12:13:14.9"', dt.time(12, 13, 14)),
    (TIME, '"12:13"', BAD),
    (TIME, '"24:00:00"', dt.time(0)),
    (TIME, '"24:00:00.000"', dt.time(0)),
    (TIME, '"24:00:01"', BAD),
    (TIME, '"25:00:00"', BAD),
    (BYTES_TYPE, '"aGk="', b"hi"),
    (BYTES_TYPE, '"%%"', BAD),
    (array(INT), "[1, null, 3]", [1, None, 3]),
    (array(INT), "[1.5]", BAD),
    (array(INT), "5", BAD),
    (array(timestamp(3)), '["2020-01-01 00:00:00.1239"]', [dt.datetime(2020, 1, 1, 0, 0, 0, 123000)]),
    (map_of(STRING, INT), '{"k": 1, "l": null}', [("k", 1), ("l", None)]),
    (map_of(STRING, INT), '{"k": true}', BAD),
    (row(("x", INT), ("y", row(("z", STRING)))), '{"x": 1, "y": {"z": "q"}}', {"f0": 1, "f1": {"f0": "q"}}),
    (row(("x", INT), ("y", STRING)), '{"y": "q"}', {"f0": None, "f1": "q"}),
    (row(("x", INT)), "null", None),
    (row(("x", INT)), '"s"', BAD),
    (row(("x", INT)), '{"x": "s"}', BAD),
    (array(row(("x", INT))), '[{"x": 1}, null]', [{"f0": 1}, None]),
    (STRING.null(False), "null", BAD),
    (INT.null(False), "7", 7),
]


@pytest.mark.parametrize(("t", "text", "value"), VALUES, ids=[f"{t}-{x}" for t, x, _ in VALUES])
def test_value(t: Type, text: str, value: Any, tmp_path: Path) -> None:
    path = tmp_path / "f.json"
    path.write_text(f'{{"k": 1, "v": {text}}}\n')
    tab = file_table(path, schema(("k", INT), ("v", t)), format="json")
    if value is BAD:
        with pytest.raises(DataError, match=r"f\.json, line 1: malformed record"):
            read(tab)
        with pytest.raises(duckdb.Error):
            relation(tab)
        found = first_error(source_of(tab), whole(tab.schema))
        assert isinstance(found, DataError) and "line 1" in str(found)
        skipping = file_table(path, tab.schema, format="json", json_ignore__parse__errors="true")
        assert read(skipping) == ([], 1)
        assert relation(skipping) == []
    else:
        assert read(tab) == ([(1, value)], 0)
        assert relation(tab) == [(1, value)]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2020-01-01T00:00:00.123", dt.datetime(2020, 1, 1, 0, 0, 0, 123000)),
        ("2020-01-01T00:00", dt.datetime(2020, 1, 1)),
        ("2020-01-01 00:00:00", BAD),
        ("2020-01-01T00:00:00Z", BAD),
    ],
)
def test_iso_timestamps(text: str, value: Any, tmp_path: Path) -> None:
    path = tmp_path / "f.json"
    path.write_text(f'{{"v": "{text}"}}\n')
    tab = file_table(path, schema(("v", timestamp(3))), format="json", json_timestamp__format_standard="ISO-8601")
    if value is BAD:
        with pytest.raises(DataError, match="is not a TIMESTAMP"):
            read(tab)
    else:
        assert read(tab)[0] == relation(tab) == [(value,)]


def test_nan(tmp_path: Path) -> None:
    path = tmp_path / "f.json"
    path.write_text('{"v": "NaN"}\n')
    ((value,),), _ = read(file_table(path, schema(("v", DOUBLE)), format="json"))
    assert value != value
