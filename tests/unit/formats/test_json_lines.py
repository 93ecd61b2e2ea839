"""Lines of JSON files: blank ones, marks and ends, names, and malformed records found and skipped."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path

import pytest
from connector_cases import file_table, read, read_from, read_positions, relation, schema

from sqlstream.contracts import ScanColumn, ScanRequest
from sqlstream.errors import DataError
from sqlstream.types import BIGINT, INT, STRING, Type, array, row, timestamp, timestamp_ltz

AB = schema(("a", BIGINT), ("b", STRING))


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("", []),
        ("\n\n", []),
        ('{"a":1,"b":"x"}', [(1, "x")]),
        ('{"a":1}\n\n  \n\t\n{"b":"y"}\n', [(1, None), (None, "y")]),
        ('{"a":1}\r\n{"a":2}\r\n', [(1, None), (2, None)]),
        ('\ufeff{"a":1}\n{"a":2}', [(1, None), (2, None)]),
        ("\ufeff", []),
        ('{"A":1,"B":"x"}\n', [(None, None)]),
        ('{}\n{"zzz":[1,2]}\n', [(None, None), (None, None)]),
        ('null\n{"a":1}\n', [(None, None), (1, None)]),
        ('{"b":"{\\"a\\":1}\\n"}\n', [(None, '{"a":1}\n')]),
        ('  {"a":1}  \n', [(1, None)]),
    ],
)
def test_lines(text: str, rows: list[tuple[object, ...]], tmp_path: Path) -> None:
    path = tmp_path / "f.json"
    path.write_bytes(text.encode())
    tab = file_table(path, AB, format="json")
    assert read(tab) == (rows, 0)
    assert relation(tab) == rows


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ('{"a":1}\n\n{"a":1.7}\n', 3, "field a: 1.7 is not a BIGINT"),
        ('{"a":1}\n{"a":2', 2, "not valid JSON"),
        ('{"a":1}\n{"a":2\n{"a":3}\n', 2, "not valid JSON"),
        ('{"a":1} {"a":2}\n', 1, "not valid JSON"),
        ('{"a":1}\nhello\n', 2, "not valid JSON"),
        ('{"a":1}\n[1]\n', 2, "not a JSON object"),
        ('{"a":1}\n"x"\n', 2, "not a JSON object"),
        ('5\n{"a":1}\n', 1, "not a JSON object"),
        ('\ufeff{"a":1}\n{"a":"q"}\n', 2, "field a: q is not a BIGINT"),
        ('{"a":1}\n{"a":1,"a":2}\n', 2, "duplicate key"),
    ],
)
def test_malformed(text: str, line: int, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "f.json"
    path.write_bytes(text.encode())
    with pytest.raises(DataError) as e:
        read(file_table(path, AB, format="json"))
    assert f"{path}, line {line}: malformed record" in e.value.message
    assert reason in e.value.message
    assert "json.ignore-parse-errors" in (e.value.hint or "")
    assert "Traceback" not in str(e.value)
    rows, skipped = read(file_table(path, AB, format="json", json_ignore__parse__errors="true"))
    good = [t for t in text.lstrip("\ufeff").splitlines() if t.strip()]
    assert (skipped, len(rows)) == (1, len(good) - 1)


def test_invalid_utf8(tmp_path: Path) -> None:
    path = tmp_path / "f.json"
    path.write_bytes(b'{"b":"x"}\n{"b":"\xff"}\n{"b":"y"}\n')
    with pytest.raises(DataError, match="line 2"):
        read(file_table(path, AB, format="json"))
    assert read(file_table(path, AB, format="json", json_ignore__parse__errors="true")) == (
        [(None, "x"), (None, "y")],
        1,
    )


@pytest.mark.parametrize("nested", [True, False])
def test_a_duplicate_key_is_malformed_whatever_else_is(nested: bool, tmp_path: Path) -> None:
    """DuckDB shows the object up to some byte, in the middle of a character; it is malformed among other malformed ones, too."""
    path = tmp_path / "f.json"
    columns = schema(("a", STRING), ("b", INT), *[("l", array(INT))] * nested)
    for n in range(4):
        text = json.dumps("x" * n + "é" * 80, ensure_ascii=False)
        path.write_text(f'{{"a":"good"}}\n{{"a":{text},"b":1,"b":2}}\n')
        with pytest.raises(DataError, match="line 2: malformed record: .*duplicate key"):
            read(file_table(path, columns, format="json"))
        path.write_text(f'{{"a":"good"}}\n{{"a":{text},"b":1,"b":2}}\n{{"b":"x"}}\n{{"b":3}}\n')
        rows, skipped = read(file_table(path, columns, format="json", json_ignore__parse__errors="true"))
        assert [r[:2] for r in rows] == [("good", None), (None, 3)] and skipped == 2


def test_times_beside_malformed_lines_looked_at_one_by_one(tmp_path: Path) -> None:
    """DuckDB has several names for UTC, by how the values of a block were made."""
    path = tmp_path / "f.json"
    lines = [
        "2020-01-01 00:00:00.123+14",
        "bad",
        "2020-01-01 00:00:00.123Z",
        "2020-01-01 00:00:00.123+14",
        "bad",
        "2020-01-01 00:00:00.1239Z",
    ]
    path.write_text("".join(f'{{"t":"{t}","l":[]}}\n' for t in lines))
    tab = file_table(
        path, schema(("t", timestamp_ltz(0)), ("l", array(INT))), format="json", json_ignore__parse__errors="true"
    )
    assert len(read(tab)[0]) == 4


def test_an_error_of_a_filter_is_no_malformed_record(tmp_path: Path) -> None:
    """Also where a malformed one stands beside it, and records are looked at one by one."""
    path = tmp_path / "f.json"
    path.write_text('{"a":0,"l":[1]}\n{"a":1,"l":5}\n')
    tab = file_table(path, schema(("a", INT), ("l", array(INT))), format="json", json_ignore__parse__errors="true")
    request = ScanRequest(
        (ScanColumn(("a",), INT), ScanColumn(("l",), array(INT))), (("_keep", "flink_mod(7, c0) = 1"),)
    )
    with pytest.raises(DataError, match="division by zero"):
        read(tab, request)


def test_long_record_is_cut_in_the_error(tmp_path: Path) -> None:
    path = tmp_path / "f.json"
    path.write_text('{"a": "' + "z" * 5000 + '"}\n')
    with pytest.raises(DataError) as e:
        read(file_table(path, AB, format="json"))
    assert len(e.value.message) < 600


def test_names_that_differ_by_case(tmp_path: Path) -> None:
    path = tmp_path / "f.json"
    path.write_text('{"a":1,"A":2,"r":{"x":"q","X":4}}\n{"A":3}\n')
    tab = file_table(path, schema(("a", INT), ("A", INT), ("r", row(("x", STRING), ("X", INT)))), format="json")
    rows = [(1, 2, {"f0": "q", "f1": 4}), (None, 3, None)]
    assert read(tab)[0] == relation(tab) == rows
    leaves = ScanRequest((ScanColumn(("r", "X"), INT), ScanColumn(("r", "x"), STRING)))
    assert read(tab, leaves)[0] == relation(tab, leaves) == [(4, "q"), (None, None)]


def test_odd_names(tmp_path: Path) -> None:
    path = tmp_path / "f.json"
    path.write_text('{"a \\"b/~.\'c`": 1, "select": "s", "": 2}\n')
    tab = file_table(path, schema(("a \"b/~.'c`", INT), ("select", STRING), ("", INT)), format="json")
    assert read(tab)[0] == relation(tab) == [(1, "s", 2)]
    strict = file_table(path, tab.schema, format="json", json_fail__on__missing__field="true")
    assert read(strict)[0] == [(1, "s", 2)]


@pytest.mark.parametrize("neighbour", ["", '{"s":nul}\n'])
def test_a_number_is_one_text(neighbour: str, tmp_path: Path) -> None:
    """Whether or not another line of the block is looked into."""
    path = tmp_path / "f.json"
    path.write_text('{"s":92e17}\n{"s":1e-7}\n{"s":12345678901234567890}\n' + neighbour)
    tab = file_table(path, schema(("s", STRING)), format="json", json_ignore__parse__errors="true")
    assert read(tab)[0] == [("9.2e+18",), ("1e-07",), ("12345678901234567890",)]


@pytest.mark.parametrize("leaf", [ScanColumn(("r", "x"), STRING), ScanColumn(("r",), row(("x", STRING)))], ids=str)
@pytest.mark.parametrize("neighbour", ["", '{"r":nul}\n'])
def test_a_row_is_an_object_by_document_too(leaf: ScanColumn, neighbour: str, tmp_path: Path) -> None:
    """And that does not depend on whether another line of the block is looked into."""
    path = tmp_path / "f.json"
    path.write_text('{"r":{"x":"a"}}\n{"r":7}\n{"r":null}\n' + neighbour)
    options = {"json_fail__on__missing__field": "true", "json_ignore__parse__errors": "true"}
    tab = file_table(path, schema(("r", row(("x", STRING)))), format="json", **options)
    rows, skipped = read(tab, ScanRequest((leaf,)))
    assert (len(rows), skipped) == (2, 1 + (neighbour != ""))


def test_fail_on_missing_field(tmp_path: Path) -> None:
    path = tmp_path / "f.json"
    path.write_text('{"a":null,"b":"x","r":null}\n{"a":1,"b":"y","r":{}}\n')
    tab = file_table(
        path, schema(("a", INT), ("b", STRING), ("r", row(("x", INT)))), format="json",
        json_fail__on__missing__field="true",
    )  # fmt: skip
    flat = ScanRequest((ScanColumn(("a",), INT), ScanColumn(("b",), STRING)))
    assert read(tab, flat)[0] == relation(tab, flat) == [(None, "x"), (1, "y")]
    with pytest.raises(DataError, match=r"line 2.*r\.x is missing"):
        read(tab, ScanRequest((ScanColumn(("r", "x"), INT),)))


def test_parent_that_is_no_object(tmp_path: Path) -> None:
    path = tmp_path / "f.json"
    path.write_text('{"r":{"x":1}}\n{"r":null}\n{}\n{"r":5}\n')
    tab = file_table(path, schema(("r", row(("x", INT)))), format="json")
    request = ScanRequest((ScanColumn(("r", "x"), INT),))
    with pytest.raises(DataError, match="line 4.*field r is not an object"):
        read(tab, request)
    ignoring = file_table(path, tab.schema, format="json", json_ignore__parse__errors="true")
    assert read(ignoring, request) == ([(1,), (None,), (None,)], 1)


def test_whole_column_beside_its_field_and_derived(tmp_path: Path) -> None:
    path = tmp_path / "f.json"
    path.write_text('{"r":{"x":1,"y":"q"}}\n{}\n')
    tab = file_table(path, schema(("r", row(("x", INT), ("y", STRING)))), format="json")
    request = ScanRequest(
        (ScanColumn(("r",), tab.schema[0].type), ScanColumn(("r", "x"), INT)), (("d0", "c1 * 2"), ("d1", "c0.f1"))
    )
    rows = [({"f0": 1, "f1": "q"}, 1, 2, "q"), (None, None, None, None)]
    assert read(tab, request)[0] == relation(tab, request) == rows


def test_no_columns_of_which_some_are_malformed(tmp_path: Path) -> None:
    path = tmp_path / "f.json"
    path.write_text('{"a":1}\n{\n{"a":2}\n')
    tab = file_table(path, schema(("a", INT)), format="json", json_ignore__parse__errors="true")
    assert read(tab, ScanRequest(())) == ([(1,), (1,)], 1)


def test_no_columns_counts_rows(tmp_path: Path) -> None:
    path = tmp_path / "f.json"
    path.write_text('{"a":1}\n{}\n\n{"b":2}\n')
    tab = file_table(path, AB, format="json")
    assert len(read(tab, ScanRequest(()))[0]) == 3
    assert len(relation(tab, ScanRequest(()))) == 3


def mixed(seed: int, lines: int = 300) -> tuple[str, list[tuple[object, ...]]]:
    """A file with malformed and blank lines, and the rows of its good ones."""
    rnd = random.Random(seed)
    text, rows = [], []
    for i in range(lines):
        kind = rnd.random()
        if kind < 0.1:
            text.append(rnd.choice(["", "  ", "\t"]))
        elif kind < 0.2:
            text.append(rnd.choice(['{"a":1.5}', "{", "oops", '{"a":"x"}', "[1]"]))
        else:
            text.append(f'{{"a":{i},"b":"{"z" * rnd.randrange(50)}"}}')
            rows.append((i, text[-1].split('"')[-2]))
    return "\n".join(text) + rnd.choice(["", "\n"]), rows


@pytest.mark.parametrize("seed", range(2))
def test_resume_from_every_position_with_malformed_records(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sqlstream.connectors.blocks.BLOCK", 700)
    text, rows = mixed(seed)
    path = tmp_path / "f.json"
    path.write_text(text)
    tab = file_table(path, AB, format="json", json_ignore__parse__errors="true")
    batches = read_positions(tab, 11)
    assert [r for _, _, part in batches for r in part] == rows
    done = 0
    for position, first, part in batches:
        assert first == done
        done += len(part)
        assert position["row"] == done
    for position, _, _ in batches[::5]:
        assert read_from(tab, position) == rows[position["row"] :]
        # a position of the fast way, which has no place in bytes, goes on as well
        assert read_from(tab, {"row": position["row"]}) == rows[position["row"] :]


@pytest.mark.parametrize("scanner", ["on", "off"])
def test_resume_of_the_fast_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scanner: str) -> None:
    """Also from a position of the other one: a statement counts rows alone."""
    monkeypatch.setenv("SQLSTREAM_SCANNER", scanner)
    path = tmp_path / "f.json"
    path.write_text("".join(f'{{"a":{i}}}\n\n' for i in range(50)))
    tab = file_table(path, schema(("a", INT)), format="json")
    batches = read_positions(tab, 4)
    assert batches[0][0] == ({"row": 4} if scanner == "off" else {"row": 4, "byte": 0, "line": 1, "skip": 4})
    for after in ("on", "off"):
        monkeypatch.setenv("SQLSTREAM_SCANNER", after)
        for position, _, _ in batches:
            assert read_from(tab, position) == [(i,) for i in range(position["row"], 50)]


def test_batch_sizes_do_not_matter(tmp_path: Path) -> None:
    rnd = random.Random(5)
    path = tmp_path / "f.json"
    path.write_text("".join(f'{{"a":{i}}}\n' for i in range(1000)))
    tab = file_table(path, schema(("a", INT)), format="json")
    assert read(tab, batch=lambda: rnd.randrange(1, 200))[0] == [(i,) for i in range(1000)]


def test_malformed_after_many_good_blocks(tmp_path: Path) -> None:
    """The fast statement has delivered rows when it fails; none is lost or given twice."""
    path = tmp_path / "f.json"
    good = [f'{{"a":{i},"b":"{"x" * 200}"}}' for i in range(200_000)]
    path.write_text("\n".join([*good, '{"a":true}', '{"a":7}']))
    tab = file_table(path, AB, format="json", json_ignore__parse__errors="true")
    request = ScanRequest((ScanColumn(("a",), BIGINT),))
    rows, skipped = read(tab, request, batch=65_536)
    assert skipped == 1
    assert [a for (a,) in rows] == [*range(200_000), 7]
    with pytest.raises(DataError, match="line 200001.*field a: true is not a BIGINT"):
        read(file_table(path, AB, format="json"), request, batch=65_536)


@pytest.mark.parametrize("suffix", ["gz", "bz2", "zst"])
def test_compressed(suffix: str, tmp_path: Path) -> None:
    import pyarrow as pa

    data = "".join(f'{{"a":{i}}}\n' for i in range(1000)).encode()
    path = tmp_path / f"f.json.{suffix}"
    if suffix == "gz":
        path.write_bytes(gzip.compress(data))
    else:
        codec = {"bz2": "bz2", "zst": "zstd"}[suffix]
        with pa.OSFile(str(path), "wb") as out, pa.CompressedOutputStream(out, codec) as file:
            file.write(data)
    tab = file_table(path, schema(("a", INT)), format="json")
    rows = [(i,) for i in range(1000)]
    assert read(tab)[0] == rows
    assert relation(tab) == rows
    position = read_positions(tab, 300)[1][0]
    assert read_from(tab, position) == rows[position["row"] :]


def test_damaged_archive(tmp_path: Path) -> None:
    from sqlstream.errors import RunError, SqlStreamError

    path = tmp_path / "f.json.gz"
    path.write_bytes(gzip.compress(b'{"a":1}\n' * 10_000)[:-20])
    with pytest.raises(SqlStreamError) as e:
        read(file_table(path, schema(("a", INT)), format="json"))
    assert isinstance(e.value, RunError | DataError)
    assert str(path) in str(e.value)


SKIPS = "'json.ignore-parse-errors' = 'true' skips such records, and 'source.bad-records' = 'a table' writes them there"


@pytest.mark.parametrize(
    ("t", "standard", "text", "hint"),
    [
        (
            timestamp(3),
            "SQL",
            "2020-12-30T12:13:14.123",
            "'json.timestamp-format.standard' = 'ISO-8601' reads such times",
        ),
        (
            timestamp_ltz(3),
            "SQL",
            "2020-12-30T12:13:14Z",
            "'json.timestamp-format.standard' = 'ISO-8601' reads such times",
        ),
        (timestamp(3), "ISO-8601", "2020-12-30 12:13:14", "'json.timestamp-format.standard' = 'SQL' reads such times"),
        (timestamp(3), "ISO-8601", "2020-12-30T12:13:14Z", "a time with a zone is a TIMESTAMP_LTZ(3)"),
        (timestamp_ltz(3), "SQL", "2020-12-30 12:13:14", "a time without a zone is a TIMESTAMP(3)"),
        (timestamp(3), "SQL", "soon", SKIPS),
        (BIGINT, "SQL", "2020-12-30T12:13:14", SKIPS),
    ],
)
@pytest.mark.parametrize("nested", [False, True])
def test_what_the_hint_names(t: Type, standard: str, text: str, hint: str, nested: bool, tmp_path: Path) -> None:
    (tmp_path / "f.json").write_text(json.dumps({"v": [text] if nested else text}) + "\n")
    columns = schema(("v", array(t) if nested else t))
    tab = file_table(tmp_path / "f.json", columns, format="json", json_timestamp__format_standard=standard)
    with pytest.raises(DataError) as e:
        read(tab)
    assert e.value.hint == hint
