"""Statements from one shell to the next, without secrets."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from sqlstream.shell.history import StatementHistory


def test_entries_come_back_newest_first(tmp_path: Path) -> None:
    file = tmp_path / "state" / "history"
    first = StatementHistory(file)
    for text in ("SELECT 1;", "SELECT\n  2;", "SELECT\n  2;", "", "\\d"):
        first.append_string(text)
    assert list(StatementHistory(file).load_history_strings()) == ["\\d", "SELECT\n  2;", "SELECT 1;"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_secrets_are_not_kept(tmp_path: Path) -> None:
    file = tmp_path / "history"
    history = StatementHistory(file)
    history.append_string("SET 's3.secret-key' = 'hunter22';")
    history.append_string(
        "CREATE TABLE t (a INT) WITH ('connector' = 'x', 'password' = 'geheim', 'url' = 'http://u:pw1@h/');"
    )
    text = file.read_text()
    assert not [s for s in ("hunter22", "geheim", "pw1") if s in text] and "s3.secret-key" in text
    assert "hunter22" in history.get_strings()[0]  # of this run they are as they were typed


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("\\! curl --token 'a b' url", "\\! curl --token ****** url"),
        ('! curl -H "Authorization: Bearer xyz" url', '! curl -H "Authorization: Bearer ******" url'),
        ("\\! API_KEY=abc run --flag", "\\! API_KEY=****** run --flag"),
        ('.shell x --password="a b" -u me:pw z', ".shell x --password=****** -u ****** z"),
        ("\\! sort -u tokens.txt", "\\! sort -u tokens.txt"),
    ],
)
def test_secrets_of_programs_are_not_kept(typed: str, kept: str, tmp_path: Path) -> None:
    history = StatementHistory(tmp_path / "h")
    history.append_string(typed)
    assert list(StatementHistory(tmp_path / "h").load_history_strings()) == [kept]


def test_a_place_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    history = StatementHistory(tmp_path / "file" / "history")
    history.append_string("SELECT 1;")
    assert list(history.load_history_strings()) == []


def test_lines_that_are_no_entries_are_skipped(tmp_path: Path) -> None:
    file = tmp_path / "history"
    file.write_text('"SELECT 1;"\ntorn "\n42\n')
    assert list(StatementHistory(file).load_history_strings()) == ["SELECT 1;"]


def test_whatever_was_typed_comes_back(tmp_path: Path) -> None:
    """Bytes that are no UTF-8 reach the shell as surrogates; U+2028 and others end lines for some."""
    file = tmp_path / "history"
    history = StatementHistory(file)
    texts = ["SELECT 'a\udcffb';", "SELECT 'x\u2028y\x85z\x0c';"]
    for text in texts:
        history.append_string(text)
    assert list(StatementHistory(file).load_history_strings()) == texts[::-1]
    file.write_bytes(b'"SELECT \xff;"\n' + file.read_bytes())
    assert list(StatementHistory(file).load_history_strings())[:2] == texts[::-1]
