"""Tables of many columns, and records of many bytes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from connector_cases import file_table, read, relation, schema
from test_round_trips import written

from sqlstream.contracts import ScanColumn, ScanRequest
from sqlstream.types import DOUBLE, INT, STRING, timestamp

FORMATS = ("json", "csv", "debezium-json", "parquet")


@pytest.mark.parametrize("format", FORMATS)
def test_many_columns(format: str, tmp_path: Path) -> None:
    types = (STRING, INT, DOUBLE, timestamp(3))
    columns = schema(*((f"c{i}", types[i % 4]) for i in range(600)))
    rows = [[("x", i, i + 0.5, None)[i % 4] for i in range(600)]] * 2
    tab = written(columns, rows, tmp_path / "t", format=format)
    asked = [0, 1, 2, 3, *range(4, 600, 50), 598, 599]
    request = ScanRequest(tuple(ScanColumn((f"c{i}",), types[i % 4]) for i in asked))
    expected = [tuple(r[i] for i in asked) for r in rows]
    for got in (read(tab, request)[0], relation(tab, request)):
        assert [r[: len(asked)] for r in got] == expected


@pytest.mark.parametrize("format", ("json", "csv", "debezium-json"))
@pytest.mark.parametrize("size", [20])
def test_long_records(format: str, size: int, tmp_path: Path) -> None:
    text, after = "x" * (size * 2**20), {"id": 2, "s": "y"}
    lines = {
        "json": [json.dumps({"id": 1, "s": text}), json.dumps(after)],
        "csv": [f"1,{text}", "2,y"],
        "debezium-json": [
            json.dumps({"after": {"id": 1, "s": text}, "op": "c"}),
            json.dumps({"after": after, "op": "c"}),
        ],
    }
    (tmp_path / "f").write_text("\n".join(lines[format]) + "\n")
    tab = file_table(tmp_path / "f", schema(("id", INT), ("s", STRING)), format=format)
    for rows in (read(tab)[0], relation(tab)):
        assert [(r[0], len(r[1])) for r in rows] == [(1, len(text)), (2, 1)]
