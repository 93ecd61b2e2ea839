"""What a csv record is: one table of texts, read in every way; and any text, against the definition written plainly."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import duckdb
import pytest
from connector_cases import file_table, read, relation, schema, source_of, whole

from sqlstream.errors import DataError
from sqlstream.types import STRING

AB = schema(("a", STRING), ("b", STRING))
Rows = list[tuple[str, ...]]

RECORDS: list[tuple[bytes, Rows]] = [
    # a quote inside a field is data
    (b'1,5" nail\n2,x\n3,y\n', [("1", '5" nail'), ("2", "x"), ("3", "y")]),
    (b'1,5" nail\n2,6" x\n', [("1", '5" nail'), ("2", '6" x')]),
    (b'1,a""b\n2,a"\n', [("1", 'a""b'), ("2", 'a"')]),
    (b'1, "a"\n2, "b\n', [("1", ' "a"'), ("2", ' "b')]),
    (b'1,"a"  \n2,""\n', [("1", "a"), ("2", "")]),
    (b'"","a""b"\n"""",""""""\n', [("", 'a"b'), ('"', '""')]),
    # line ends of all kinds, mixed, and inside quotes
    (b'1,"a\nb"\r\n2,x\r\n', [("1", "a\nb"), ("2", "x")]),
    (b'1,"a\r\nb"\n2,x\n', [("1", "a\r\nb"), ("2", "x")]),
    (b'1,"a\rb"\n2,x\n', [("1", "a\rb"), ("2", "x")]),
    (b"1,a\r2,b\r3,c\r", [("1", "a"), ("2", "b"), ("3", "c")]),
    (b"1,a\r2,b", [("1", "a"), ("2", "b")]),
    (b"1,a\n2,b\r\n3,c\r4,d\n", [("1", "a"), ("2", "b"), ("3", "c"), ("4", "d")]),
    (b"1,a\r\n2,b\n3,c\r\n", [("1", "a"), ("2", "b"), ("3", "c")]),
    (b"\n1,a\r\n\r\n\r2,b\n\n", [("1", "a"), ("2", "b")]),
    (b"1,a\x00b\n", [("1", "a\x00b")]),
    (b"1,\xef\xbf\xbd\n", [("1", "\ufffd")]),  # U+FFFD is a character as others
]


def ways(tab: Any, data: bytes, path: Path) -> list[Rows]:
    """The rows by the reader, by one statement, with malformed records skipped, and of a file that grows."""
    path.write_bytes(data)
    return [read(tab)[0], relation(tab), grown(tab, data, path, random.Random(len(data)))]


def grown(tab: Any, data: bytes, path: Path, rnd: random.Random) -> Rows:
    source: Any = source_of(file_table(path, tab.schema, **{**plain(tab.options), "source_monitor__interval": "1 s"}))
    now = 0.0
    source.clock = lambda: now
    path.write_bytes(b"")
    (split,) = source.splits()
    reader = source.reader(split, None, whole(tab.schema))
    out: Rows = []
    data += b"" if not data or data.endswith(b"\n") else b"\n"
    at = 0
    while at < len(data):
        step = rnd.randrange(1, 5)
        with path.open("ab") as f:
            f.write(data[at : at + step])
        at += step
        now += 1
        position = None
        while (got := reader.poll(2)) is not None:
            out += [tuple(r.values()) for r in got.batch.to_pylist()]
            position = got.position
        if position is not None and rnd.random() < 0.3:
            reader = source.reader(split, position, whole(tab.schema))
    return out


def plain(options: Any) -> dict[str, str]:
    return {k.replace("-", "__").replace(".", "_"): v for k, v in options.items() if k not in ("path", "connector")}


@pytest.mark.parametrize(("data", "rows"), RECORDS)
def test_records(data: bytes, rows: Rows, tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    for extra in ({}, {"csv_ignore__parse__errors": "true"}):
        assert ways(file_table(path, AB, format="csv", **extra), data, path) == [rows] * 3


def test_empty_lines_of_one_column(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    tab = file_table(path, schema(("a", STRING)), format="csv")
    assert ways(tab, b'x\n\n""\r\ny\n', path) == [[("x",), ("",), ("",), ("y",)]] * 3


def test_escapes(tmp_path: Path) -> None:
    """Jackson's: the next character is data, inside quotes and outside; n, r, t and 0 are what they are in C."""
    path = tmp_path / "f.csv"
    tab = file_table(path, AB, format="csv", csv_escape__character="\\")
    rows = [('a"b', "c,d"), ("e\nf", "\\"), ('g"h', "i\nj")]
    assert ways(tab, b'"a\\"b",c\\,d\n"e\\nf",\\\\\n"g""h",i\\\nj\n', path) == [rows] * 3


def test_long_fields_beside_a_malformed_record(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    long = "x" * 300_000
    path.write_text(f"1,{long}\nbad\n2,y\n")
    assert read(file_table(path, AB, format="csv", csv_ignore__parse__errors="true")) == ([("1", long), ("2", "y")], 1)


@pytest.mark.parametrize(
    ("data", "line", "reason"),
    [
        (b'1,"a"b\r2,x\r', 1, "after a closing quote"),
        (b"1,a\r\n2\r3,c\n", 2, "1 fields"),
        (b'1,"a\rb"\r2,"x\n', 3, "not closed"),
        (b"1,a\r\n2,\xff\n", 2, "not UTF-8"),
    ],
)
def test_malformed(data: bytes, line: int, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_bytes(data)
    tab = file_table(path, AB, format="csv")
    with pytest.raises(DataError, match=f"line {line}: malformed record.*{reason}"):
        read(tab)


def test_a_record_that_is_malformed_ends_at_its_line(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_bytes(b'1,"a"b\n2,x\n3\xff,y\n4,z\n')
    assert read(file_table(path, AB, format="csv", csv_ignore__parse__errors="true")) == ([("2", "x"), ("4", "z")], 2)


def defined(text: str, width: int) -> Rows | None:
    """The definition in `csv_records.py`, a character at a time; None when a record is malformed."""
    rows: Rows = []
    row: list[str] = []
    at, begin = 0, True
    while at < len(text) or not begin:
        if begin and text[at] in "\r\n" and width > 1:
            at += 1
            continue
        begin = False
        cell = ""
        if text[at : at + 1] == '"':
            at += 1
            while True:
                if at >= len(text):
                    return None
                if text[at : at + 2] == '""':
                    cell, at = cell + '"', at + 2
                elif text[at] == '"':
                    break
                else:
                    cell, at = cell + text[at], at + 1
            at += 1
            while text[at : at + 1] == " ":
                at += 1
            if at < len(text) and text[at] not in ",\r\n":
                return None
        else:
            while at < len(text) and text[at] not in ",\r\n":
                cell, at = cell + text[at], at + 1
        row.append(cell)
        if text[at : at + 1] == ",":
            at += 1
            continue
        at += 2 if text[at : at + 2] == "\r\n" else 1
        if len(row) != width:
            return None
        rows.append(tuple(row))
        row, begin = [], True
    return rows


@pytest.mark.parametrize("seed", range(300))
def test_any_text(seed: int, tmp_path: Path) -> None:
    rnd = random.Random(seed)
    width = rnd.choice((1, 2, 2))
    pieces = ['"', '""', ",", ",", "\n", "\r\n", "\r", "a", " ", "bc", '"d"', "é"]
    if rnd.random() < 0.7:  # mostly well formed
        cells = ["a", '"b"', '"c\nd"', '"e\r\nf"', 'g"h', ' "i"', '"j""k"', "", '"l,m" ', "é", '"n\ro"']
        ends = rnd.choice((["\n"], ["\r\n"], ["\r"], ["\n", "\r\n", "\r"]))
        text = "".join(",".join(rnd.choices(cells, k=width)) + rnd.choice(ends) for _ in range(rnd.randrange(9)))
    else:
        text = "".join(rnd.choices(pieces, k=rnd.randrange(12)))
    expected = defined(text, width)
    path = tmp_path / "f.csv"
    path.write_bytes(text.encode())
    tab = file_table(path, schema(*((f"c{i}", STRING) for i in range(width))), format="csv")
    for way in (lambda: read(tab)[0], lambda: relation(tab)):
        try:
            got = way()
        except DataError:
            got = None
        except duckdb.Error:  # by statement, which the session explains
            got = None
        assert got == expected, text
    if expected is not None:
        assert grown(tab, text.encode(), path, rnd) == expected, text
