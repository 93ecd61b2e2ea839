"""Tables of many columns, and records of many bytes."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from connector_cases import file_table, read, relation, schema, source_of, whole
from test_round_trips import written

from sqlstream.connectors import blocks
from sqlstream.contracts import ScanColumn, ScanRequest
from sqlstream.formats.scan.loading import SWITCH
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


@pytest.mark.parametrize("scanner", ("on", "off"))
@pytest.mark.parametrize("format", ("json", "csv"))
def test_few_fields_of_many(format: str, scanner: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks are parted by the room that their rows take, and not by their bytes alone; dense lines stand before sparse ones."""
    monkeypatch.setenv(SWITCH, scanner)
    monkeypatch.setattr(blocks, "MOST_VALUES", 1 << 16)
    wide, dense, sparse = 60, 300, 20_000
    full, few = ["x" * 200] * wide, [""] * (wide - 1) + ["y"]
    if format == "json":
        full_line, line = (json.dumps({f"c{i}": x for i, x in enumerate(r) if x}) for r in (full, few))
    else:
        full_line, line = ",".join(full), ",".join(few)
    text = f"{full_line}\n" * dense + f"{line}\n" * sparse
    (tmp_path / "f.gz").write_bytes(gzip.compress(text.encode(), 1))  # which no statement reads
    columns = schema(*((f"c{i}", STRING) for i in range(wide)))
    source = source_of(file_table(tmp_path / "f.gz", columns, format=format))
    (split,) = source.splits()
    reader = source.reader(split, None, whole(columns))
    rows, largest = 0, 0
    while not reader.finished:
        if (got := reader.poll(1 << 30)) is not None:
            rows, largest = rows + got.batch.num_rows, max(largest, got.batch.num_rows)
            byte, lines = got.position["byte"], got.position["line"] - 1
            assert text[:byte].count("\n") == lines == got.position["row"] == rows
    reader.close()
    assert rows == dense + sparse and largest * wide < 2 << 16
