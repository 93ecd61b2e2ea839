"""Every statement has help, and its example runs; every meta-command has one entry."""

from __future__ import annotations

from pathlib import Path

import pytest

from sqlstream.session import Session
from sqlstream.shell.commands import BY_NAME, BY_WORD, COMMANDS
from sqlstream.shell.help import STATEMENTS, find
from sqlstream.sql import parser

ELSEWHERE = ("HELP", "SOURCE", "CLEAR", "QUIT", "CREATE SAVEPOINT", "STOP JOB")  # the shell's words, and those of jobs


def test_every_statement_has_help() -> None:
    firsts = {s.name.split()[0] for s in STATEMENTS}
    assert set(parser._RULES) | set(parser._QUERIES[:-1]) <= firsts
    assert {word for word in BY_WORD if word.isalpha()} <= firsts | {"EXIT", "RUN"}


def test_the_examples_run_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "words.py").write_text("def loud(text: str) -> str:\n    return text.upper()\n")
    monkeypatch.syspath_prepend(tmp_path)
    session = Session()
    for statement in STATEMENTS:
        if statement.name not in ELSEWHERE:
            for result in session.execute(statement.example):
                for _ in result.batches():
                    pass
        else:
            assert statement.name.split()[0] in (*BY_WORD, *parser._RULES)


def test_names_of_commands_are_used_once() -> None:
    names = [n for c in COMMANDS for n in c.names]
    assert len(names) == len(set(names)) == len(BY_NAME)
    assert all(c.help and n[0] in "\\." for c in COMMANDS for n in c.names)


@pytest.mark.parametrize(
    ("name", "first"), [("select", "SELECT"), ("show", "SHOW TABLES"), ("create  table", "CREATE TABLE")]
)
def test_help_is_found(name: str, first: str) -> None:
    assert find(name)[0].name == first


def test_no_help() -> None:
    assert find("frobnicate") == []
