"""A shell without a terminal: plain, up to the first mistake."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_driver import sqlstream


def test_statements_and_commands(tmp_path: Path) -> None:
    text = b".mode csv\nCREATE VIEW v AS SELECT 1 AS a;\nSELECT * FROM v;\n\\dt\nHELP QUIT;\nQUIT;\nSELECT 2;\n"
    done = sqlstream(cwd=tmp_path, stdin=text)
    assert done.status == 0 and done.out.startswith("a\n1\ntable name\nv\nQUIT: leaves"), done.err
    assert "\x1b" not in done.out + done.err


def test_it_ends_at_the_first_mistake(tmp_path: Path) -> None:
    done = sqlstream("shell", cwd=tmp_path, stdin=b"SELECT 1 AS a;\n\nSELECT nothing;\nSELECT 2 AS b;\n")
    assert done.status == 1 and "| a |" in done.out and "b" not in done.out
    assert "error: line 3:8: " in done.err and "Traceback" not in done.err


def test_an_insert_ends_first(tmp_path: Path) -> None:
    sql = (
        "CREATE TABLE t (a INT) WITH ('connector' = 'filesystem', 'path' = 'out', 'format' = 'json');"
        "CREATE TABLE n (a INT) WITH ('connector' = 'datagen', 'number-of-rows' = '5');"
        "INSERT INTO t SELECT a FROM n; SELECT COUNT(*) AS c FROM t;"
    )
    done = sqlstream("shell", "--output", "jsonl", cwd=tmp_path, stdin=sql.encode())
    assert (done.status, done.out) == (0, '{"c":5}\n'), done.err


def test_the_catalog_is_kept(tmp_path: Path) -> None:
    assert sqlstream("shell", "db", cwd=tmp_path, stdin=b"CREATE VIEW v AS SELECT 7 AS a;").status == 0
    done = sqlstream("shell", "db", "--output", "csv", cwd=tmp_path, stdin=b"SELECT * FROM v;")
    assert done.out == "a\n7\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"\\tables\n", "hint: "),
        (b".tabels\n", "did you mean .tables"),
        (b"\\timing maybe\n", "expected on or off, not 'maybe'"),
        (b".mode tabel\n", "did you mean"),
        (b"\\watch\n", "there was no statement yet"),
        (b"\\h selct\n", "did you mean SELECT"),
        (b"\\i\n", "which file?"),
        (b"SELECT 'a';\n\\chart\n", "the query has no numbers"),
    ],
)
def test_mistakes_are_answered(text: bytes, says: str, tmp_path: Path) -> None:
    done = sqlstream("shell", cwd=tmp_path, stdin=text)
    assert says in done.err and "Traceback" not in done.err
    assert done.status == 1


def test_a_file_that_reads_itself(tmp_path: Path) -> None:
    (tmp_path / "a.sql").write_text("\\i a.sql\n")
    done = sqlstream("shell", "-i", "a.sql", cwd=tmp_path)
    assert done.status == 1 and "does it read itself?" in done.err


def test_wrong_options(tmp_path: Path) -> None:
    done = sqlstream("shell", "-D", "paralelism.default=2", cwd=tmp_path, stdin=b"SELECT 1;")
    assert done.status == 2 and "parallelism.default" in done.err


def test_a_file_is_read_as_it_is(tmp_path: Path) -> None:
    """Characters that end lines for Python, but not in SQL, stay in strings."""
    (tmp_path / "odd.sql").write_text("SELECT 'a\x0cb\x1cc\x85d\u2028e' AS s;\n", encoding="utf-8")
    done = sqlstream("shell", "--output", "jsonl", cwd=tmp_path, stdin=b"\\i odd.sql\n")
    assert json.loads(done.out) == {"s": "a\x0cb\x1cc\x85d\u2028e"}, done.err


def test_a_catalog_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = sqlstream("shell", "file", cwd=tmp_path, stdin=b"SELECT 1;")
    assert done.status == 1 and done.err.startswith("error: catalog cannot be read: ") and done.out == ""
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "catalog.sql").write_text("nonsense")
    done = sqlstream("shell", "torn", cwd=tmp_path, stdin=b"SELECT 1;")
    assert done.status == 1 and "catalog.sql:1:1: nonsense begins no statement" in done.err
    assert "Traceback" not in done.err
