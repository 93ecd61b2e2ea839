"""A listed file is opened as that file, and nothing but its bytes is read, whatever its name and its directories' are."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from connector_cases import file_table, read, relation, schema

from sqlstream.connectors.registry import connector
from sqlstream.contracts import ScanColumn, ScanRequest, TableContext
from sqlstream.errors import OptionError
from sqlstream.types import BIGINT, STRING

COLUMNS = schema(("id", BIGINT), ("v", STRING))
FORMATS = ("json", "csv", "debezium-json", "parquet")


def write(path: Path | bytes, format: str, v: str) -> None:
    texts = {
        "json": f'{{"id": 1, "v": "{v}"}}\n',
        "csv": f"1,{v}\n",
        "debezium-json": f'{{"before": null, "after": {{"id": 1, "v": "{v}"}}, "op": "c"}}\n',
    }
    if format == "parquet":
        with open(path, "wb") as file:
            pq.write_table(pa.table({"id": [1], "v": [v]}), file)
    else:
        Path(os.fsdecode(path)).write_text(texts[format])


def values(rows: list[Any]) -> list[Any]:
    return [row[1] for row in rows]


@pytest.mark.parametrize("format", FORMATS)
def test_directories_named_as_partitions(format: str, tmp_path: Path) -> None:
    place = tmp_path / "v=other" / "id=7" / "w=2024-01-01"
    place.mkdir(parents=True)
    write(place / "f", format, "own")
    write(place / "g", format, "own")
    for path in (place / "f", tmp_path):
        tab = file_table(path, COLUMNS, format=format)
        n = 1 if path != tmp_path else 2
        assert [row[:2] for row in read(tab)[0]] == [row[:2] for row in relation(tab)] == [(1, "own")] * n
    with_path = ScanRequest((ScanColumn(("v",), STRING), ScanColumn(("$metadata", "file.name"), STRING)))
    tab = file_table(tmp_path, COLUMNS, format=format)
    assert [r[:2] for r in read(tab, with_path)[0]] == [r[:2] for r in relation(tab, with_path)] == [("own", "f"), ("own", "g")]  # fmt: skip


@pytest.mark.parametrize("format", ["json", "csv", "parquet"])
def test_no_column_of_a_directory_is_inferred(format: str, tmp_path: Path) -> None:
    (tmp_path / "w=2024-01-01").mkdir()
    write(tmp_path / "w=2024-01-01" / "f", format, "own")
    t = TableContext("t", schema(), {"path": str(tmp_path), "format": format})
    names = "f0 f1" if format == "csv" else "id v"
    assert connector(t, "filesystem").ddl_columns(t) == "`{}` BIGINT, `{}` STRING".format(*names.split())


NAMES = [
    "a[1]",
    "a[!1]",
    "b*",
    "c?",
    "[",
    "d'q",
    'e"q',
    "%41",
    "f{x,y}",
    "ü😀",
    "back\\slash",
    " s ",
    "**",
    "-n",
    "~x",
    "$HOME",
]
DECOYS = ["a1", "a2", "bb", "cc", "fx", "A"]


@pytest.mark.parametrize("format", FORMATS)
def test_names_are_no_patterns(format: str, tmp_path: Path) -> None:
    for n in (*NAMES, *DECOYS):
        write(tmp_path / n, format, str(NAMES.index(n)) if n in NAMES else "decoy")
    for i, n in enumerate(NAMES):
        tab = file_table(tmp_path / n, COLUMNS, format=format)
        assert values(read(tab)[0]) == values(relation(tab)) == [str(i)], n
    everything = file_table(tmp_path, COLUMNS, format=format)
    listed = [str(NAMES.index(n)) if n in NAMES else "decoy" for n in sorted((*NAMES, *DECOYS))]
    assert values(read(everything)[0]) == values(relation(everything)) == listed
    named = ScanRequest((ScanColumn(("$metadata", "file.name"), STRING),))
    assert [r[0] for r in relation(everything, named)] == sorted((*NAMES, *DECOYS))


@pytest.mark.parametrize("format", FORMATS)
def test_names_that_are_no_utf8(format: str, tmp_path: Path) -> None:
    write(os.fsencode(tmp_path) + b"/a\xff", format, "x")
    tab = file_table(tmp_path, COLUMNS, format=format)
    assert values(read(tab)[0]) == values(relation(tab)) == ["x"]
    named = ScanRequest((ScanColumn(("$metadata", "file.name"), STRING),))
    assert [r[0] for r in read(tab, named)[0]] == [r[0] for r in relation(tab, named)] == ["a\ufffd"]


def test_nul_in_a_path() -> None:
    with pytest.raises(OptionError, match="NUL"):
        read(file_table("/tmp/a\0b", COLUMNS, format="json"))
