"""CSV files: dialects, empty and NULL fields, malformed records, headers, blocks cut between quotes."""

from __future__ import annotations

import datetime as dt
import random
from pathlib import Path

import pytest
from connector_cases import file_table, read, read_from, read_positions, relation, schema

from sqlstream.contracts import ScanColumn, ScanRequest
from sqlstream.errors import DataError, NotSupported
from sqlstream.types import BIGINT, INT, STRING, array, timestamp

AB = schema(("a", BIGINT), ("b", STRING))


@pytest.mark.parametrize(
    ("text", "options", "rows"),
    [
        ("", {}, []),
        ("1,x\n2,y", {}, [(1, "x"), (2, "y")]),
        ("1,x\r\n\r\n2,y\r\n", {}, [(1, "x"), (2, "y")]),
        ("\ufeff1,x\n", {}, [(1, "x")]),
        (',\n"",""\n', {}, [(None, ""), (None, "")]),
        (" 1 , x \n", {}, [(1, " x ")]),
        ('1,"a,b ""q""\nc"\n2,z\n', {}, [(1, 'a,b "q"\nc'), (2, "z")]),
        ("1,N\nN,x\n", {"csv_null__literal": "N"}, [(1, None), (None, "x")]),
        ("1;x\n", {"csv_field__delimiter": ";"}, [(1, "x")]),
        ('1\t"x"\n', {"csv_field__delimiter": "\\t", "csv_disable__quote__character": "true"}, [(1, '"x"')]),
        ("1,'x,y'\n", {"csv_quote__character": "'"}, [(1, "x,y")]),
        ('1,"x\\"y"\n', {"csv_escape__character": "\\"}, [(1, 'x"y')]),
        ("#c,d\n1,x#y\n# z\n2,#q\n", {"csv_allow__comments": "true"}, [(1, "x#y"), (2, "#q")]),
        ("a,b\n1,x\n", {"csv_header": "true"}, [(1, "x")]),
        ("\ufeffa,b\n1,x", {"csv_header": "true"}, [(1, "x")]),
        ("a,b", {"csv_header": "true"}, []),
    ],
)
def test_dialects(text: str, options: dict[str, str], rows: list[object], tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_bytes(text.encode())
    tab = file_table(path, AB, format="csv", **options)
    assert read(tab) == (rows, 0)
    assert relation(tab) == rows


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("1,x\n2\n3,y\n", 2, "it has 1 fields, the table 2 columns"),
        ("1,x\n2,3,4\n", 2, "it has 3 fields"),
        ("1,x\n\nq,y\n", 3, "field a: q is not a BIGINT"),
        ("1.7,x\n", 1, "field a: 1.7 is not a BIGINT"),
        ('1,"x\ny"\nz,"x"\n', 3, "field a: z is not a BIGINT"),
        ('1,"ab"c\n', 1, "only the delimiter or the end of the line may stand after"),
        ('1,x\n2,"y\n', 2, "its quote is not closed"),
    ],
)
def test_malformed(text: str, line: int, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_text(text)
    with pytest.raises(DataError) as e:
        read(file_table(path, AB, format="csv"))
    assert f"{path}, line {line}: malformed record" in e.value.message and reason in e.value.message
    _, skipped = read(file_table(path, AB, format="csv", csv_ignore__parse__errors="true"))
    assert skipped == 1


def test_columns_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_text("1,x,2020-01-01 00:00:00.1239\n2,y,\n")
    tab = file_table(path, schema(("a", BIGINT), ("b", STRING), ("t", timestamp(3))), format="csv")
    request = ScanRequest((ScanColumn(("t",), timestamp(3)), ScanColumn(("a",), BIGINT)), (("d", "c1 + 1"),))
    rows = [(dt.datetime(2020, 1, 1, 0, 0, 0, 123000), 1, 2), (None, 2, 3)]
    assert read(tab, request)[0] == relation(tab, request) == rows


def test_wrong_header(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_text("b,a\n1,x\n")
    with pytest.raises(DataError, match=r"f\.csv: the header is b, a"):
        read(file_table(path, AB, format="csv", csv_header="true"))


def test_nested_columns_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_text("1\n")
    with pytest.raises(NotSupported) as e:
        read(file_table(path, schema(("a", array(INT))), format="csv"))
    assert e.value.hint


@pytest.mark.parametrize("seed", range(2))
def test_blocks_and_resumption(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sqlstream.connectors.blocks.BLOCK", 300)
    rnd = random.Random(seed)
    text, rows = "", []
    for i in range(200):
        if rnd.random() < 0.1:
            text += rnd.choice(["bad\n", "x,y\n", "\n"])
        else:
            b = rnd.choice(["plain", "a,b", 'q"q', "two\nlines", ""])
            quoted = '"' + b.replace('"', '""') + '"'
            text += f"{i},{quoted}\n"
            rows.append((i, b))
    path = tmp_path / "f.csv"
    path.write_text(text)
    tab = file_table(path, AB, format="csv", csv_ignore__parse__errors="true")
    batches = read_positions(tab, 17)
    assert [r for _, _, part in batches for r in part] == rows
    for position, _, _ in batches[::3]:
        assert read_from(tab, position) == rows[position["row"] :]
