"""`sqlstream fmt`: what is written, and what is only said."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from cli_driver import sqlstream

from sqlstream.cli.main import main


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.sql").write_text("select 1;")
    (tmp_path / "b.sql").write_text("SELECT 2;\n")
    return tmp_path


def test_files_are_written_anew(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.chmod("a.sql", 0o640)
    (here / "link.sql").symlink_to("a.sql")
    before = os.stat("b.sql")
    assert main(["fmt", "link.sql", "b.sql"]) == 0
    assert capsys.readouterr() == ("", "formatted link.sql\n1 of 2 scripts formatted\n")
    assert (here / "a.sql").read_text() == "SELECT 1;\n" and (here / "link.sql").is_symlink()
    assert os.stat("a.sql").st_mode & 0o777 == 0o640
    assert (os.stat("b.sql").st_ino, os.stat("b.sql").st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert main(["fmt", "."]) == 0
    assert capsys.readouterr() == ("", "")


def test_check_and_diff_write_nothing(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fmt", ".", "--check"]) == 1
    assert capsys.readouterr() == ("a.sql\n", "1 of 2 scripts would be formatted\n")
    assert main(["fmt", "a.sql", "--diff"]) == 1
    out, _ = capsys.readouterr()
    assert out == (
        "--- a.sql\n+++ a.sql (formatted)\n@@ -1 +1 @@\n-select 1;\n\\ No newline at end of file\n+SELECT 1;\n"
    )
    assert (here / "a.sql").read_text() == "select 1;"
    assert main(["fmt", "b.sql", "--check"]) == 0
    assert main(["fmt", "b.sql", "--diff"]) == 0


def test_a_text_and_standard_input_go_to_standard_output(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fmt", "-c", "select a,b from t", "--width", "12"]) == 0
    assert capsys.readouterr() == ("SELECT a, b\nFROM t\n", "")
    done = sqlstream("fmt", "-", cwd=here, stdin=b"select 1 -- x")
    assert (done.status, done.out, done.err) == (0, "SELECT 1 -- x\n", "")


def test_what_cannot_be_read_stays(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "a.sql").write_text("select (1;")
    (here / "c.sql").write_text("select 3;")
    assert main(["fmt", "a.sql", "c.sql"]) == 1
    out, err = capsys.readouterr()
    assert err.startswith("error: a.sql:1:8: this ( is not closed\n") and "1 file cannot be read" in err
    assert (here / "a.sql").read_text() == "select (1;" and (here / "c.sql").read_text() == "SELECT 3;\n"
    assert main(["fmt", "nowhere.sql"]) == 2
    assert main(["fmt"]) == 2
